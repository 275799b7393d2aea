//! Microsoft Azure: one answer in JSON (`learn.microsoft.com/azure/virtual-machines/instance-metadata-service`).

use super::instance::address;
use super::plan::{LINK_LOCAL, Plan, Row};

const INSTANCE: &str = "/metadata/instance?format=json&api-version=2021-05-01";
const LOCAL: &str = "/network/interface/0/ipv4/ipAddress/0/privateIpAddress";
const PUBLIC: &str = "/network/interface/0/ipv4/ipAddress/0/publicIpAddress";

/// The requests to its metadata service, and the value that each answer has.
pub(super) const PLAN: Plan = Plan {
    endpoint: LINK_LOCAL,
    token: None,
    header: Some(("metadata", "True")),
    rows: &[
        Row::json(INSTANCE, "/compute/vmId", |to| &mut to.id),
        Row::json(INSTANCE, "/compute/subscriptionId", |to| &mut to.account_id),
        Row::json(INSTANCE, "/compute/vmSize", |to| &mut to.kind),
        Row::json(INSTANCE, "/compute/location", |to| &mut to.region),
        Row::json(INSTANCE, "/compute/zone", |to| &mut to.availability_zone),
        Row::json(INSTANCE, "/compute/storageProfile/imageReference/id", |to| &mut to.image_id),
        Row::json(INSTANCE, LOCAL, |to| &mut to.local_ipv4).read_by(address),
        Row::json(INSTANCE, PUBLIC, |to| &mut to.public_ipv4).read_by(address),
    ],
};
