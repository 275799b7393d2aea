//! Clouds of which the region and the id of the machine are enough.

use super::plan::{LINK_LOCAL, Plan, Row, Token};

/// `docs.digitalocean.com/reference/api/metadata`
pub(super) const DIGITAL_OCEAN: Plan = Plan {
    endpoint: LINK_LOCAL,
    token: None,
    header: None,
    rows: &[
        Row::text("/metadata/v1/id", |to| &mut to.id),
        Row::text("/metadata/v1/region", |to| &mut to.region),
    ],
};

/// `docs.hetzner.cloud/reference/cloud#server-metadata`
pub(super) const HETZNER: Plan = Plan {
    endpoint: LINK_LOCAL,
    token: None,
    header: None,
    rows: &[
        Row::text("/hetzner/v1/metadata/instance-id", |to| &mut to.id),
        Row::text("/hetzner/v1/metadata/region", |to| &mut to.region),
    ],
};

/// `docs.oracle.com/iaas/Content/Compute/Tasks/gettingmetadata.htm`; the second version only, as with AWS. `region` is a short
/// word, in the first regions at least.
pub(super) const ORACLE: Plan = Plan {
    endpoint: LINK_LOCAL,
    token: None,
    header: Some(("authorization", "Bearer Oracle")),
    rows: &[
        Row::json("/opc/v2/instance/", "/id", |to| &mut to.id),
        Row::json("/opc/v2/instance/", "/region", |to| &mut to.region),
        Row::json("/opc/v2/instance/", "/canonicalRegionName", |to| &mut to.region),
    ],
};

/// `alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata`; an instance may answer without a token or refuse to.
pub(super) const ALIBABA: Plan = Plan {
    endpoint: "http://100.100.100.200",
    token: Some(Token {
        path: "/latest/api/token",
        validity: ("x-aliyun-ecs-metadata-token-ttl-seconds", "21600"),
        header: "x-aliyun-ecs-metadata-token",
        required: false,
    }),
    header: None,
    rows: &[
        Row::text("/latest/meta-data/instance-id", |to| &mut to.id),
        Row::text("/latest/meta-data/region-id", |to| &mut to.region),
    ],
};
