//! The measurements of a probe, with the metric names of `blackbox_exporter` (pure), for its dashboards and alerts. The
//! error type, which it does not report, is an additional metric.

use crate::source::probes::config::Family;
use crate::source::probes::config::kind::Protocol;
use crate::source::probes::labels::Phase;
use crate::source::probes::result::ProbeResult;
use crate::source::probes::target::Target;
use crate::source::report::Gauge;

/// The gauges of one probe.
pub fn gauges(target: &Target, result: &ProbeResult) -> Vec<Gauge> {
    let mut gauges = Vec::new();
    let mut one = |name, help, value| gauges.push(Gauge::single(name, help, value));
    one("probe_success", "Whether the probe succeeded", f64::from(u8::from(result.fault.is_none())));
    one("probe_duration_seconds", "How long the probe took in seconds", result.took.as_secs_f64());
    let phase = |phase: Phase| {
        result.phases.iter().find(|(known, _)| *known == phase).map_or(0.0, |(_, took)| took.as_secs_f64())
    };
    one("probe_dns_lookup_time_seconds", "Duration of the name lookup in seconds", phase(Phase::Resolve));
    if let Some(family) = result.family() {
        let number = if family == Family::Ipv4 { 4.0 } else { 6.0 };
        one("probe_ip_protocol", "Whether the address that was probed is IPv4 or IPv6", number);
    }
    if let Some(tls) = &result.tls {
        #[expect(clippy::cast_precision_loss, reason = "a time stays far below 2^53 seconds")]
        let mut at = |name, help, expiry: Option<i64>| {
            if let Some(expiry) = expiry {
                one(name, help, expiry as f64);
            }
        };
        at(
            "probe_ssl_earliest_cert_expiry",
            "When the first certificate that the peer sent expires, in seconds since 1970",
            tls.expiry.sent,
        );
        at(
            "probe_ssl_last_chain_expiry_timestamp_seconds",
            "When the certificate chain that was verified expires, in seconds since 1970",
            tls.expiry.verified,
        );
        if let Some(version) = tls.version {
            gauges.push(Gauge {
                name: "probe_tls_version_info",
                help: "Version of TLS; always 1",
                samples: vec![(Some(("version", version.into())), 1.0)],
            });
        }
    }
    let mut one = |name, help, value| gauges.push(Gauge::single(name, help, value));
    match target.settings.kind.protocol() {
        Protocol::Http => {
            let response = result.http;
            let status = response.map_or(0.0, |response| response.status.into());
            one("probe_http_status_code", "Status of the last response, 0 where there was none", status);
            let version = response.map_or(0.0, |response| response.version);
            one(
                "probe_http_version",
                "Version of HTTP of the last response, 0 where there was none",
                version,
            );
            let redirects = response.map_or(0.0, |response| response.redirects.into());
            one("probe_http_redirects", "Redirects that were followed", redirects);
            let tls = result.phases.iter().any(|(known, _)| *known == Phase::Tls);
            one("probe_http_ssl", "Whether TLS was spoken", f64::from(u8::from(tls)));
            let phases = [
                ("resolve", phase(Phase::Resolve)),
                ("connect", phase(Phase::Connect)),
                ("tls", phase(Phase::Tls)),
                ("processing", phase(Phase::Request)),
                ("transfer", phase(Phase::Transfer)),
            ];
            let help = "How long each phase took in seconds, the redirects added up";
            gauges.push(by_phase("probe_http_duration_seconds", help, &phases));
        }
        Protocol::Icmp => {
            let round_trip = result.echoes.as_ref().and_then(|echoes| echoes.round_trips.first());
            let phases = [
                ("resolve", phase(Phase::Resolve)),
                ("rtt", round_trip.map_or(0.0, std::time::Duration::as_secs_f64)),
            ];
            let help = "How long each phase took in seconds";
            gauges.push(by_phase("probe_icmp_duration_seconds", help, &phases));
        }
        _ => {}
    }
    if let Some(fault) = &result.fault {
        gauges.push(Gauge {
            name: "probe_failed",
            help: "Why the probe failed; always 1",
            samples: vec![(Some(("error_type", fault.error.word().into())), 1.0)],
        });
    }
    gauges
}

fn by_phase(name: &'static str, help: &'static str, phases: &[(&'static str, f64)]) -> Gauge {
    let samples = phases.iter().map(|(phase, took)| (Some(("phase", (*phase).into())), *took));
    Gauge { name, help, samples: samples.collect() }
}
