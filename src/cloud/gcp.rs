//! Google Cloud (`cloud.google.com/compute/docs/metadata/predefined-metadata-keys`).

use super::instance::{address, last, value};
use super::plan::{LINK_LOCAL, Plan, Row};

/// `projects/NUMBER/zones/europe-west1-b`
const ZONE: &str = "/computeMetadata/v1/instance/zone";
/// `projects/NUMBER/machineTypes/e2-small`
const TYPE: &str = "/computeMetadata/v1/instance/machine-type";
/// `TRUE` or `FALSE`
const PREEMPTIBLE: &str = "/computeMetadata/v1/instance/scheduling/preemptible";
const LOCAL: &str = "/computeMetadata/v1/instance/network-interfaces/0/ip";
/// Empty where it has none.
const PUBLIC: &str = "/computeMetadata/v1/instance/network-interfaces/0/access-configs/0/external-ip";

/// The requests to its metadata service, and the value that each answer has.
pub(super) const PLAN: Plan = Plan {
    endpoint: LINK_LOCAL,
    token: None,
    header: Some(("metadata-flavor", "Google")),
    rows: &[
        Row::text("/computeMetadata/v1/instance/id", |to| &mut to.id),
        Row::text("/computeMetadata/v1/project/project-id", |to| &mut to.account_id),
        Row::text(ZONE, |to| &mut to.availability_zone).read_by(last),
        Row::text(ZONE, |to| &mut to.region).read_by(region),
        Row::text(TYPE, |to| &mut to.kind).read_by(last),
        Row::text("/computeMetadata/v1/instance/image", |to| &mut to.image_id),
        Row::text(PREEMPTIBLE, |to| &mut to.life_cycle).read_by(life_cycle),
        Row::text(LOCAL, |to| &mut to.local_ipv4).read_by(address),
        Row::text(PUBLIC, |to| &mut to.public_ipv4).read_by(address),
    ],
};

/// The region of a zone is what is before its last dash.
fn region(text: &str) -> Option<String> {
    value(last(text)?.rsplit_once('-')?.0)
}

fn life_cycle(text: &str) -> Option<String> {
    let words = [("true", "preemptible"), ("false", "on-demand")];
    let known = words.iter().find(|(word, _)| text.trim().eq_ignore_ascii_case(word));
    known.map(|(_, life_cycle)| (*life_cycle).to_owned())
}
