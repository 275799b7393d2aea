//! What is known of the machine in its cloud (pure).

use std::net::Ipv4Addr;

/// Longest value that is taken, in bytes.
const LONGEST: usize = 255;

/// A cloud whose metadata can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Amazon Web Services.
    Aws,
    /// Google Cloud.
    Gcp,
    /// Microsoft Azure.
    Azure,
    /// `DigitalOcean`.
    DigitalOcean,
    /// Hetzner.
    Hetzner,
    /// Oracle Cloud.
    Oracle,
    /// Alibaba Cloud.
    Alibaba,
}

impl Provider {
    /// Every provider.
    pub const ALL: &[Self] =
        &[Self::Aws, Self::Gcp, Self::Azure, Self::DigitalOcean, Self::Hetzner, Self::Oracle, Self::Alibaba];

    /// As the configuration has it.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Oracle => "oracle",
            Self::Alibaba => "alibaba",
            other => other.word(),
        }
    }

    /// Value of `cloud.provider` (semantic conventions, as far as they have one).
    pub const fn word(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Gcp => "gcp",
            Self::Azure => "azure",
            Self::DigitalOcean => "digitalocean",
            Self::Hetzner => "hetzner",
            Self::Oracle => "oracle_cloud",
            Self::Alibaba => "alibaba_cloud",
        }
    }

    /// Value of `cloud.platform`, where the semantic conventions have one.
    pub const fn platform(self) -> Option<&'static str> {
        match self {
            Self::Aws => Some("aws_ec2"),
            Self::Gcp => Some("gcp_compute_engine"),
            Self::Azure => Some("azure_vm"),
            Self::Oracle => Some("oracle_cloud_compute"),
            Self::Alibaba => Some("alibaba_cloud_ecs"),
            Self::DigitalOcean | Self::Hetzner => None,
        }
    }

    /// As coroot-node-agent calls it.
    pub const fn classic(self) -> &'static str {
        match self {
            Self::Aws => "AWS",
            Self::Gcp => "GCP",
            Self::Azure => "Azure",
            Self::DigitalOcean => "DigitalOcean",
            Self::Hetzner => "Hetzner",
            Self::Oracle => "Oracle",
            Self::Alibaba => "Alibaba",
        }
    }
}

/// What is known of the machine; `None` where that is not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Instance {
    /// The cloud that it is in.
    pub provider: Option<Provider>,
    /// What the configuration says instead.
    pub given_provider: Option<String>,
    /// Account, project or subscription.
    pub account_id: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// Availability zone.
    pub availability_zone: Option<String>,
    /// Id of the zone, which is the same in every account.
    pub availability_zone_id: Option<String>,
    /// Id of the machine.
    pub id: Option<String>,
    /// Type of the machine.
    pub kind: Option<String>,
    /// How it is paid for: `on-demand`, `spot`, `preemptible`.
    pub life_cycle: Option<String>,
    /// Image that it was started from.
    pub image_id: Option<String>,
    /// Its first address.
    pub local_ipv4: Option<String>,
    /// The address that it has in the Internet.
    pub public_ipv4: Option<String>,
}

impl Instance {
    /// The attributes of the resource that are known.
    pub fn attributes(&self) -> Vec<(&'static str, String)> {
        let found = |text: &'static str| text.to_owned();
        let provider = self.given_provider.clone().or(self.provider.map(|one| found(one.word())));
        // The platform of another provider than the one that is named says nothing.
        let named = self.given_provider.as_deref();
        let platform = self.provider.filter(|one| named.is_none_or(|named| named == one.word()));
        let all = [
            ("cloud.provider", provider),
            ("cloud.platform", platform.and_then(Provider::platform).map(found)),
            ("cloud.account.id", self.account_id.clone()),
            ("cloud.region", self.region.clone()),
            ("cloud.availability_zone", self.availability_zone.clone()),
            ("host.id", self.id.clone()),
            ("host.type", self.kind.clone()),
            ("host.image.id", self.image_id.clone()),
        ];
        all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }

    /// The provider as coroot-node-agent calls it; empty where there is none.
    pub fn classic_provider(&self) -> &str {
        let found = || self.provider.map_or("", Provider::classic);
        self.given_provider.as_deref().unwrap_or_else(found)
    }
}

/// A value as it was answered or written: at most 255 letters, digits and signs that ids, names and paths have. A page in
/// HTML is none, nor is JSON.
pub fn value(text: &str) -> Option<String> {
    let text = text.trim();
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/@+=~-".contains(&byte);
    let valid = !text.is_empty() && text.len() <= LONGEST && text.bytes().all(known);
    valid.then(|| text.to_owned())
}

/// An IPv4 address.
pub fn address(text: &str) -> Option<String> {
    text.trim().parse().ok().map(|address: Ipv4Addr| address.to_string())
}

/// The last part of a path: `projects/1/zones/europe-west1-b`.
pub fn last(text: &str) -> Option<String> {
    value(text.trim().rsplit('/').next()?)
}
