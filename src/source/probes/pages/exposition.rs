//! What one probe says to Prometheus, under the names of `blackbox_exporter` (pure): whoever has its dashboards and alerts
//! keeps them. The reason of a failure, which it does not tell, is a metric of ours.

use crate::config::probes::Family;
use crate::config::probes::kind::Protocol;
use crate::metric::label::Phase;
use crate::source::probes::attempt::Run;
use crate::source::probes::target::Target;
use std::fmt::Write;

/// The exposition of one probe.
pub fn exposition(target: &Target, run: &Run) -> String {
    let mut text = String::new();
    let mut one = |name: &str, help: &str, value: f64| family(&mut text, name, help, &[("", value)]);
    one("probe_success", "Whether the probe succeeded", f64::from(u8::from(run.fault.is_none())));
    one("probe_duration_seconds", "How long the probe took in seconds", run.took.as_secs_f64());
    let phase = |phase: Phase| {
        run.phases.iter().find(|(known, _)| *known == phase).map_or(0.0, |(_, took)| took.as_secs_f64())
    };
    one("probe_dns_lookup_time_seconds", "How long the name look-up took in seconds", phase(Phase::Resolve));
    if let Some(family) = run.family() {
        let number = if family == Family::Ipv4 { 4.0 } else { 6.0 };
        one("probe_ip_protocol", "Whether the address that was probed is IPv4 or IPv6", number);
    }
    if let Some(expiry) = run.expiry {
        #[allow(clippy::cast_precision_loss, reason = "a time stays far below 2^53 seconds")]
        let expiry = expiry as f64;
        one(
            "probe_ssl_earliest_cert_expiry",
            "When the first certificate expires, in seconds since 1970",
            expiry,
        );
    }
    match target.settings.kind.protocol() {
        Protocol::Http => {
            let status = run.status.map_or(0.0, f64::from);
            one("probe_http_status_code", "Status of the last answer, 0 where there was none", status);
            let tls = run.phases.iter().any(|(known, _)| *known == Phase::Tls);
            one("probe_http_ssl", "Whether TLS was spoken", f64::from(u8::from(tls)));
            let phases = [
                ("{phase=\"resolve\"}", phase(Phase::Resolve)),
                ("{phase=\"connect\"}", phase(Phase::Connect)),
                ("{phase=\"tls\"}", phase(Phase::Tls)),
                ("{phase=\"processing\"}", phase(Phase::Request)),
                ("{phase=\"transfer\"}", phase(Phase::Transfer)),
            ];
            let help = "How long each phase took in seconds, the redirects added up";
            family(&mut text, "probe_http_duration_seconds", help, &phases);
        }
        Protocol::Icmp => {
            let round_trip = run.echoes.as_ref().and_then(|echoes| echoes.round_trips.first());
            let phases = [
                ("{phase=\"resolve\"}", phase(Phase::Resolve)),
                ("{phase=\"rtt\"}", round_trip.map_or(0.0, std::time::Duration::as_secs_f64)),
            ];
            family(&mut text, "probe_icmp_duration_seconds", "How long each phase took in seconds", &phases);
        }
        _ => {}
    }
    if let Some(fault) = &run.fault {
        let label = format!("{{error_type=\"{}\"}}", fault.error.word());
        family(&mut text, "probe_failed", "Why the probe failed; always 1", &[(&label, 1.0)]);
    }
    text
}

fn family(text: &mut String, name: &str, help: &str, samples: &[(&str, f64)]) {
    let _infallible = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
    for (labels, value) in samples {
        let _infallible = writeln!(text, "{name}{labels} {value}");
    }
}
