//! The metadata of EC2 (pure): the second version only, since the first is open to whoever can make the machine send a request
//! (`docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html`).

use super::instance::{address, value};
use super::plan::{LINK_LOCAL, Plan, Question, Token, json, put};

const TOKEN: Token = Token {
    path: "/latest/api/token",
    validity: ("x-aws-ec2-metadata-token-ttl-seconds", "21600"),
    header: "x-aws-ec2-metadata-token",
    required: true,
};

/// The questions.
pub const PLAN: Plan = Plan {
    endpoint: LINK_LOCAL,
    token: Some(TOKEN),
    header: None,
    questions: &[
        Question { path: "/latest/meta-data/instance-id", read: |text, to| put(&mut to.id, value(text)) },
        Question {
            path: "/latest/meta-data/placement/region",
            read: |text, to| put(&mut to.region, value(text)),
        },
        Question {
            path: "/latest/meta-data/placement/availability-zone",
            read: |text, to| put(&mut to.availability_zone, value(text)),
        },
        Question { path: "/latest/meta-data/instance-type", read: |text, to| put(&mut to.kind, value(text)) },
        Question {
            path: "/latest/meta-data/identity-credentials/ec2/info",
            read: |text, to| {
                let answer = serde_json::from_str::<serde_json::Value>(text).unwrap_or_default();
                put(&mut to.account_id, json(&answer, "/AccountId").and_then(|id| value(&id)))
            },
        },
        Question { path: "/latest/meta-data/ami-id", read: |text, to| put(&mut to.image_id, value(text)) },
        Question {
            path: "/latest/meta-data/instance-life-cycle",
            read: |text, to| put(&mut to.life_cycle, value(text)),
        },
        Question {
            path: "/latest/meta-data/placement/availability-zone-id",
            read: |text, to| put(&mut to.availability_zone_id, value(text)),
        },
        Question {
            path: "/latest/meta-data/local-ipv4",
            read: |text, to| put(&mut to.local_ipv4, address(text)),
        },
        Question {
            path: "/latest/meta-data/public-ipv4",
            read: |text, to| put(&mut to.public_ipv4, address(text)),
        },
    ],
};
