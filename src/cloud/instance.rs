//! What is known of the machine in its cloud (pure).

use super::provider::Provider;
use std::net::Ipv4Addr;

/// Longest value that is taken, in bytes.
const LONGEST: usize = 255;

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
    /// The attributes of the resource that are known, where `named` is the provider that was named elsewhere, if any was.
    pub fn attributes(&self, named: Option<&str>) -> Vec<(&'static str, String)> {
        let found = |text: &'static str| text.to_owned();
        let named = named.or(self.given_provider.as_deref());
        let names = self.provider.map(Provider::names);
        let provider = named.map(str::to_owned).or(names.map(|names| found(names.word)));
        // The platform of another provider than the one that is named says nothing.
        let platform = names.filter(|names| named.is_none_or(|named| named == names.word));
        let all = [
            ("cloud.provider", provider),
            ("cloud.platform", platform.and_then(|names| names.platform).map(found)),
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
        let found = || self.provider.map_or("", |provider| provider.names().classic);
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
