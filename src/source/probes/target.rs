//! A target with everything that its probes need, created from its settings.

use super::attempt::{Attempt, Options, Route};
use super::fault::Fault;
use super::kind::Prober;
use super::kind::tls::Tls;
use super::origin::Origin;
use super::resolve::Resolver;
use super::result::ProbeResult;
use crate::metric::Label;
use crate::metric::Labels;
use crate::metric::label::ConfiguredKey;
use crate::metric::label::key::KEYS;
use crate::source::probes::config::Probes;
use crate::source::probes::config::kind::Protocol;
use crate::source::probes::config::single::split_zone;
use crate::source::probes::config::{ADDRESSES, Family, Target as Settings, TcpClose};
use crate::source::probes::labels::ProbeError;
use crate::text::{LONGEST_NAME, bounded_unique};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A target with everything that its probes need.
#[derive(Debug)]
pub struct Target {
    /// Its settings.
    pub settings: Arc<Settings>,
    /// Address, source and network namespace of the target's probes.
    pub route: Route,
    /// Attributes of its series that never change.
    pub labels: Labels,
    /// Attributes of its series in the `classic` profile.
    pub classic: Labels,
    /// Interval of its probes.
    pub interval: Duration,
    /// Number of consecutive failures after which it is down.
    pub failures_before_down: u32,
    /// Number of consecutive successes after which it is up.
    pub successes_before_up: u32,
    /// Address family that is fixed by the kind or the address.
    pub family: Option<Family>,
    prober: Prober,
}

impl Target {
    /// Creates it. The error is a sentence about the target.
    pub fn new(settings: &Arc<Settings>, common: &Probes) -> Result<Self, String> {
        settings.check()?;
        let (host, port) = settings.server();
        let source = settings.source.map(Family::of);
        let family = settings.kind.family().or(settings.literal_family()).or(source);
        let prefer = settings.prefer.unwrap_or(common.prefer);
        let either = settings.all || settings.fallback.unwrap_or(common.fallback);
        let families = match family {
            // A redirect may lead to a host of the other family, unless the source address has a family.
            Some(family) if either && source.is_none() && settings.kind.protocol() == Protocol::Http => {
                vec![family, family.other()]
            }
            Some(family) => vec![family],
            None if either => vec![prefer, prefer.other()],
            None => vec![prefer],
        };
        let timeout = settings.timeout.unwrap_or(common.timeout);
        let prober = Prober::new(settings, timeout).map_err(|why| format!("`{}` {why}", settings.name))?;
        let origin = Origin {
            source: settings.source,
            interface: settings.interface.clone(),
            netns: (!settings.netns.is_empty()).then(|| settings.netns.clone()),
            reset: settings.close == Some(TcpClose::Reset),
        };
        Ok(Self {
            labels: labels(settings, &host, port)?,
            classic: classic(settings, &host, port),
            interval: settings.interval.unwrap_or(common.interval),
            failures_before_down: settings.failures_before_down.unwrap_or(common.failures_before_down),
            successes_before_up: settings.successes_before_up.unwrap_or(common.successes_before_up),
            family: family.filter(|_| settings.kind.protocol() != Protocol::Unix),
            route: Route { host, absolute: settings.absolute, families, origin, timeout },
            prober,
            settings: Arc::clone(settings),
        })
    }

    /// The TLS client, if it may use TLS.
    pub fn tls(&self) -> Option<&Tls> {
        self.prober.tls()
    }

    /// Every address of the name, of both families. Addresses `known` so far stay if only the other family was
    /// answered: the family may be gone, or only its name server.
    pub async fn addresses(
        &self,
        resolver: &Resolver,
        known: &[Option<IpAddr>],
    ) -> Result<Vec<IpAddr>, Fault> {
        let mut addresses = Vec::new();
        let mut untold = Vec::new();
        let mut failed = None;
        // If only one family is answered, waiting for the other takes half of the time, and the rest is for the probes.
        let within = self.route.timeout / 2;
        let Route { families, origin, .. } = &self.route;
        let (host, _) = split_zone(&self.route.host);
        let name = self.route.full(host);
        for (family, found) in resolver.by_family(&name, families, origin, within).await? {
            match found {
                Ok(found) => addresses.extend(found),
                Err(fault) => {
                    if fault.error != ProbeError::DnsNotFound {
                        untold.push(family);
                    }
                    // An unknown family makes the name unknown.
                    failed = failed.take().filter(|_| !fault.local).or(Some(fault));
                }
            }
        }
        if !addresses.is_empty() {
            let known = known.iter().flatten().copied();
            addresses.extend(known.filter(|address| untold.contains(&Family::of(*address))));
        }
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(ADDRESSES);
        match failed {
            Some(fault) if addresses.is_empty() => Err(fault),
            _ => Ok(addresses),
        }
    }

    /// Probes the target once, within its time-out.
    pub async fn probe(&self, resolver: &Resolver, options: Options<'_>) -> ProbeResult {
        let mut attempt = Attempt::new(&self.route, resolver, options);
        let deadline = attempt.deadline.into();
        let ended = tokio::time::timeout_at(deadline, self.prober.run(&mut attempt)).await;
        attempt.finish(ended.ok())
    }
}

fn labels(settings: &Settings, host: &str, port: Option<u16>) -> Result<Labels, String> {
    let mut labels: Vec<(Label, Arc<str>)> =
        vec![(Label::ProbeName, bounded(&settings.name)), (Label::ServerAddress, bounded(host))];
    labels.extend(port.map(|port| (Label::ServerPort, port.to_string().into())));
    labels.extend(settings.kind.protocol().transport().map(|word| (Label::Transport, word.into())));
    for (key, value) in &*settings.labels {
        let known = ConfiguredKey::of(key).ok_or_else(|| {
            format!("`{}` has the label `{key}`, which exceeds the limit of {} labels", settings.name, KEYS)
        })?;
        labels.push((Label::Configured(known), Arc::clone(value)));
    }
    Ok(Labels::new(labels))
}

/// A label value from a target file, truncated.
fn bounded(value: &str) -> Arc<str> {
    bounded_unique(value, LONGEST_NAME).into()
}

/// The classic labels, as in connection-status-exporter: the configured texts, unchanged.
fn classic(settings: &Settings, host: &str, port: Option<u16>) -> Labels {
    let (host, port) = match settings.kind.protocol() {
        Protocol::Unix if settings.path.is_empty() => (settings.host.as_str(), settings.port),
        Protocol::Icmp => (host, settings.port),
        _ => (host, port),
    };
    Labels::new(vec![
        (Label::ClassicHost, bounded(host)),
        (Label::ClassicName, bounded(&settings.name)),
        (Label::ClassicPort, port.map_or_else(String::new, |port| port.to_string()).into()),
        (Label::ClassicProtocol, settings.kind.word().into()),
    ])
}
