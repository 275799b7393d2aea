//! The metadata of clouds of which the region and the id of the machine are enough (pure).

use super::instance::value;
use super::plan::{LINK_LOCAL, Plan, Question, Token, json, put};

/// `docs.digitalocean.com/reference/api/metadata`
pub const DIGITAL_OCEAN: Plan = Plan {
    endpoint: LINK_LOCAL,
    token: None,
    header: None,
    questions: &[
        Question { path: "/metadata/v1/id", read: |text, to| put(&mut to.id, value(text)) },
        Question { path: "/metadata/v1/region", read: |text, to| put(&mut to.region, value(text)) },
    ],
};

/// `docs.hetzner.cloud/reference/cloud#server-metadata`
pub const HETZNER: Plan = Plan {
    endpoint: LINK_LOCAL,
    token: None,
    header: None,
    questions: &[
        Question { path: "/hetzner/v1/metadata/instance-id", read: |text, to| put(&mut to.id, value(text)) },
        Question { path: "/hetzner/v1/metadata/region", read: |text, to| put(&mut to.region, value(text)) },
    ],
};

/// `docs.oracle.com/iaas/Content/Compute/Tasks/gettingmetadata.htm`; the second version only, as with AWS.
pub const ORACLE: Plan = Plan {
    endpoint: LINK_LOCAL,
    token: None,
    header: Some(("authorization", "Bearer Oracle")),
    questions: &[Question {
        path: "/opc/v2/instance/",
        read: |text, to| {
            let Ok(answer) = serde_json::from_str::<serde_json::Value>(text) else { return false };
            let text = |pointer| json(&answer, pointer).and_then(|text| value(&text));
            put(&mut to.region, text("/canonicalRegionName").or_else(|| text("/region")));
            put(&mut to.id, text("/id"))
        },
    }],
};

/// `alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata`; an instance may answer without a token or refuse to.
pub const ALIBABA: Plan = Plan {
    endpoint: "http://100.100.100.200",
    token: Some(Token {
        path: "/latest/api/token",
        validity: ("x-aliyun-ecs-metadata-token-ttl-seconds", "21600"),
        header: "x-aliyun-ecs-metadata-token",
        required: false,
    }),
    header: None,
    questions: &[
        Question { path: "/latest/meta-data/instance-id", read: |text, to| put(&mut to.id, value(text)) },
        Question { path: "/latest/meta-data/region-id", read: |text, to| put(&mut to.region, value(text)) },
    ],
};
