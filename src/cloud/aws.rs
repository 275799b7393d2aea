//! Amazon Web Services: the second version of its metadata only, since the first is open to whoever can make the machine send a
//! request (`docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html`).

use super::instance::address;
use super::plan::{LINK_LOCAL, Plan, Row, Token};

/// The requests to its metadata service, and the value that each answer has.
pub(super) const PLAN: Plan = Plan {
    endpoint: LINK_LOCAL,
    token: Some(Token {
        path: "/latest/api/token",
        validity: ("x-aws-ec2-metadata-token-ttl-seconds", "21600"),
        header: "x-aws-ec2-metadata-token",
        required: true,
    }),
    header: None,
    rows: &[
        Row::text("/latest/meta-data/instance-id", |to| &mut to.id),
        Row::text("/latest/meta-data/placement/region", |to| &mut to.region),
        Row::text("/latest/meta-data/placement/availability-zone", |to| &mut to.availability_zone),
        Row::text("/latest/meta-data/instance-type", |to| &mut to.kind),
        Row::json("/latest/meta-data/identity-credentials/ec2/info", "/AccountId", |to| &mut to.account_id),
        Row::text("/latest/meta-data/ami-id", |to| &mut to.image_id),
        Row::text("/latest/meta-data/instance-life-cycle", |to| &mut to.life_cycle),
        Row::text("/latest/meta-data/placement/availability-zone-id", |to| &mut to.availability_zone_id),
        Row::text("/latest/meta-data/local-ipv4", |to| &mut to.local_ipv4).read_by(address),
        Row::text("/latest/meta-data/public-ipv4", |to| &mut to.public_ipv4).read_by(address),
    ],
};
