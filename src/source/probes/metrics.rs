//! The metrics of the probes.

use super::labels::{CLASSIC_TARGET, ERROR, NETWORK_TYPE, OUTCOME, PHASE, TARGET};
use crate::metric::buckets::ROUND_TRIPS;

/// Bucket bounds of probe durations, seconds: from a Unix socket to a slow modem. There are few, because every target
/// has them.
const PROBES: &[f64] = &[0.000_25, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];

crate::metrics! {
    /// 1 if the target is up, 0 if down, after failures_before_down and successes_before_up.
    PROBE_UP: Gauge<u64> = "probe.up" in "", by [TARGET, NETWORK_TYPE], history [listed, low_is_bad];
    /// Duration of probes from name lookup to the last byte; failed probes have error.type.
    PROBE_DURATION: Histogram = "probe.duration" in "s", by [TARGET, NETWORK_TYPE, ERROR], buckets PROBES, history [listed];
    /// Duration of the completed phases of probes.
    PROBE_PHASE_DURATION: Histogram = "probe.phase.duration" in "s", by [TARGET, NETWORK_TYPE, PHASE], buckets PROBES;
    /// Probes by outcome: success, failure, or no_answer for a datagram without a response.
    PROBE_RUNS: Counter<u64> = "probe.runs" in "{run}", by [TARGET, NETWORK_TYPE, OUTCOME], history [from_zero];
    /// Unix time of the last successful probe; absent before the first.
    PROBE_LAST_SUCCESS_TIME: Gauge<f64> = "probe.last_success.time" in "s", by [TARGET, NETWORK_TYPE];
    /// Unix time at which the target last went up or down; absent before the first change.
    PROBE_LAST_CHANGE_TIME: Gauge<f64> = "probe.last_change.time" in "s", by [TARGET, NETWORK_TYPE];
    /// Number of times the target went up or down.
    PROBE_STATE_CHANGES: Counter<u64> = "probe.state_changes" in "{change}", by [TARGET, NETWORK_TYPE], history [from_zero];
    /// Fraction of the time since its first probe in which the target was up.
    PROBE_AVAILABILITY: Gauge<f64> = "probe.availability" in "1", by [TARGET, NETWORK_TYPE], history [low_is_bad];
    /// Unix time at which the first certificate of the chain expires, also if the chain was rejected.
    PROBE_TLS_CERTIFICATE_EXPIRY: Gauge<f64> = "probe.tls.certificate.expiry" in "s", by [TARGET, NETWORK_TYPE];
    /// HTTP status code of the last response, after redirects; absent if there was none.
    PROBE_HTTP_STATUS: Gauge<u64> = "probe.http.status" in "", by [TARGET, NETWORK_TYPE];
    /// Round-trip time of ICMP echoes, by kernel timestamps where available.
    PROBE_ICMP_RTT: Histogram = "probe.icmp.rtt" in "s", by [TARGET, NETWORK_TYPE], buckets ROUND_TRIPS;
    /// Fraction of the echo requests of the last probe that were not answered.
    PROBE_ICMP_LOSS: Gauge<f64> = "probe.icmp.loss" in "1", by [TARGET, NETWORK_TYPE];
    /// 1 if the target is reachable, 0 if not.
    PROBE_CONNECTION_STATUS: Gauge<u64> = "probe.connection_status" in "", by [CLASSIC_TARGET],
        only classic "connection_status_up" "Connection status of the socket.";
    /// Targets that are probed.
    CONNSCOPE_PROBES_TARGETS: UpDownCounter = "connscope.probes.targets" in "{target}";
    /// Targets from files or DNS that are not probed: over sources.probes.limit, or with the same series as another target.
    CONNSCOPE_PROBES_LEFT_OUT: Gauge<u64> = "connscope.probes.left_out" in "{target}";
    /// Probes in flight.
    CONNSCOPE_PROBES_RUNNING: UpDownCounter = "connscope.probes.running" in "{probe}";
    /// Delay of probes after their scheduled time, jitter subtracted; above 0 if sources.probes.concurrency is too low.
    CONNSCOPE_PROBES_DELAY: Histogram = "connscope.probes.delay" in "s", buckets PROBES;
}
