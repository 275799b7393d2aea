//! The metadata of Compute Engine (pure; `cloud.google.com/compute/docs/metadata/predefined-metadata-keys`).

use super::instance::{address, last, value};
use super::plan::{LINK_LOCAL, Plan, Question, put};

/// The questions.
pub const PLAN: Plan = Plan {
    endpoint: LINK_LOCAL,
    token: None,
    header: Some(("metadata-flavor", "Google")),
    questions: &[
        Question { path: "/computeMetadata/v1/instance/id", read: |text, to| put(&mut to.id, value(text)) },
        Question {
            path: "/computeMetadata/v1/project/project-id",
            read: |text, to| put(&mut to.account_id, value(text)),
        },
        // `projects/NUMBER/zones/europe-west1-b`; the region is what is before the last dash.
        Question {
            path: "/computeMetadata/v1/instance/zone",
            read: |text, to| {
                let zone = last(text);
                let region = zone.as_deref().and_then(|zone| value(zone.rsplit_once('-')?.0));
                put(&mut to.availability_zone, zone) & put(&mut to.region, region)
            },
        },
        // `projects/NUMBER/machineTypes/e2-small`
        Question {
            path: "/computeMetadata/v1/instance/machine-type",
            read: |text, to| put(&mut to.kind, last(text)),
        },
        Question {
            path: "/computeMetadata/v1/instance/image",
            read: |text, to| put(&mut to.image_id, value(text)),
        },
        Question {
            path: "/computeMetadata/v1/instance/scheduling/preemptible",
            read: |text, to| {
                let word = match text.trim() {
                    text if text.eq_ignore_ascii_case("true") => Some("preemptible"),
                    text if text.eq_ignore_ascii_case("false") => Some("on-demand"),
                    _ => None,
                };
                put(&mut to.life_cycle, word.map(str::to_owned))
            },
        },
        Question {
            path: "/computeMetadata/v1/instance/network-interfaces/0/ip",
            read: |text, to| put(&mut to.local_ipv4, address(text)),
        },
        Question {
            path: "/computeMetadata/v1/instance/network-interfaces/0/access-configs/0/external-ip",
            read: |text, to| text.trim().is_empty() || put(&mut to.public_ipv4, address(text)),
        },
    ],
};
