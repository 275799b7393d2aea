//! The state of a target: up or down, and its counts (pure: times come with the result).

use super::result::ProbeResult;
use super::target::Target;
use crate::metric::Label;
use crate::metric::Labels;
use crate::reading::Readings;
use crate::source::probes::config::Family;
use crate::source::probes::config::Probes;
use crate::source::probes::labels::Outcome;
use crate::source::probes::metrics;
use counts::Counts;
use history::HistoryEntry;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub mod counts;
pub mod history;

/// The state of a target, or of one of its addresses.
#[derive(Debug)]
pub struct TargetState {
    /// Address, if all addresses of the name are probed.
    pub address: Option<IpAddr>,
    /// Whether the target is up; `None` before the first probe.
    pub up: Option<bool>,
    /// The last results, the oldest first.
    pub history: VecDeque<HistoryEntry>,
    /// What the agent lacked for the last probe; `None` if the probe could be made.
    pub local_fault: Option<String>,
    family: Option<Family>,
    /// Number of consecutive probes that contradict `up`.
    against: u32,
    changes: u64,
    last_success: Option<SystemTime>,
    last_change: Option<SystemTime>,
    /// End of the first and of the last probe.
    observed: Option<(Instant, Instant)>,
    up_for: Duration,
    expiry: Option<i64>,
    status: Option<u16>,
    loss: Option<f64>,
    /// Counts by address family.
    families: Vec<Counts>,
}

impl TargetState {
    /// The state before the first probe.
    pub fn new(address: Option<IpAddr>) -> Self {
        Self {
            address,
            up: None,
            history: VecDeque::new(),
            local_fault: None,
            family: address.map(Family::of),
            against: 0,
            changes: 0,
            last_success: None,
            last_change: None,
            observed: None,
            up_for: Duration::ZERO,
            expiry: None,
            status: None,
            loss: None,
            families: Vec::new(),
        }
    }

    /// Records the result of a probe.
    pub fn take(&mut self, target: &Target, result: ProbeResult, settings: &Probes) {
        self.local_fault =
            result.fault.as_ref().filter(|fault| fault.local).map(|fault| fault.message.clone());
        if self.local_fault.is_none() {
            self.learn(target, &result, settings);
        }
        history::remember(&mut self.history, result, settings.history);
    }

    fn learn(&mut self, target: &Target, result: &ProbeResult, settings: &Probes) {
        let (now, at) = (result.began + result.took, result.began_at + result.took);
        let (first, last) = self.observed.unwrap_or((at, at));
        if self.up == Some(true) {
            self.up_for += at.saturating_duration_since(last);
        }
        self.observed = Some((first, at));
        // A name that cannot be resolved has no family: the series keep the earlier one.
        self.family = target.family.or(result.family()).or(self.family);
        let outcome = result.outcome();
        if outcome == Outcome::Success {
            self.last_success = Some(now);
        }
        self.decide(target, outcome == Outcome::Success, now);
        self.expiry = result.certificate_expiry().or(self.expiry);
        self.status = result.http.map(|response| response.status);
        self.loss = result.echoes.as_ref().filter(|echoes| echoes.sent > 0).map(|echoes| {
            1.0 - f64::from(u32::try_from(echoes.round_trips.len()).unwrap_or(0)) / f64::from(echoes.sent)
        });
        self.count(target, result, outcome, settings.phases);
    }

    fn decide(&mut self, target: &Target, success: bool, now: SystemTime) {
        match self.up {
            None => {
                // One success of a target that tolerates failures does not prove that it was up before.
                self.up = Some(success);
                self.against = 0;
            }
            Some(up) if up == success => self.against = 0,
            Some(up) => {
                self.against += 1;
                let needed = if up { target.failures_before_down } else { target.successes_before_up };
                if self.against >= needed {
                    self.up = Some(success);
                    self.against = 0;
                    self.changes += 1;
                    self.last_change = Some(now);
                }
            }
        }
    }

    fn count(&mut self, target: &Target, result: &ProbeResult, outcome: Outcome, phases: bool) {
        let family = self.family;
        let known = self.families.iter().position(|counts| counts.family == family);
        let index = known.unwrap_or_else(|| {
            self.families.reserve_exact(1);
            self.families.push(Counts::new(family, self.labels(target, family)));
            self.families.len() - 1
        });
        if let Some(counts) = self.families.get_mut(index) {
            counts.take(result, outcome, phases);
        }
    }

    /// Observes the state.
    pub fn observe(&self, now: Instant, out: &mut Readings) {
        let counts = self.families.iter().find(|counts| counts.family == self.family);
        let (Some(up), Some(observed), Some(counts)) = (self.up, self.observed, counts) else { return };
        let labels = &counts.labels;
        out.observe(metrics::PROBE_UP, labels, u64::from(up));
        out.observe(metrics::PROBE_STATE_CHANGES, labels, self.changes);
        if let Some(at) = self.last_success {
            out.observe(metrics::PROBE_LAST_SUCCESS_TIME, labels, seconds(at));
        }
        if let Some(at) = self.last_change {
            out.observe(metrics::PROBE_LAST_CHANGE_TIME, labels, seconds(at));
        }
        out.observe(metrics::PROBE_AVAILABILITY, labels, self.availability(up, observed, now));
        if let Some(expiry) = self.expiry {
            #[expect(clippy::cast_precision_loss, reason = "a time stays far below 2^53 seconds")]
            out.observe(metrics::PROBE_TLS_CERTIFICATE_EXPIRY, labels, expiry as f64);
        }
        if let Some(status) = self.status {
            out.observe(metrics::PROBE_HTTP_STATUS, labels, status.into());
        }
        if let Some(loss) = self.loss {
            out.observe(metrics::PROBE_ICMP_LOSS, labels, loss);
        }
        for counts in &self.families {
            counts.observe(out);
        }
    }

    /// Computed by the monotonic clock: the wall clock of a device without a battery jumps by decades when it is set.
    fn availability(&self, up: bool, (first, last): (Instant, Instant), now: Instant) -> f64 {
        let since = |from: Instant| now.saturating_duration_since(from);
        let up_for = self.up_for + if up { since(last) } else { Duration::ZERO };
        let all = since(first);
        if all.is_zero() {
            f64::from(u8::from(up))
        } else {
            (up_for.as_secs_f64() / all.as_secs_f64()).min(1.0)
        }
    }

    fn labels(&self, target: &Target, family: Option<Family>) -> Labels {
        let mut labels = Vec::with_capacity(target.labels.len() + 2);
        labels.extend_from_slice(&target.labels);
        labels.extend(family.map(|family| (Label::NetworkType, word(family))));
        labels.extend(self.address.map(|address| (Label::PeerAddress, address.to_string().into())));
        Labels::new(labels)
    }
}

fn word(family: Family) -> Arc<str> {
    static WORDS: LazyLock<[Arc<str>; 2]> =
        LazyLock::new(|| [Family::Ipv4.word().into(), Family::Ipv6.word().into()]);
    let [ipv4, ipv6] = &*WORDS;
    Arc::clone(if family == Family::Ipv4 { ipv4 } else { ipv6 })
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
