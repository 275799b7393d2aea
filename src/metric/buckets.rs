//! Bucket bounds that histograms of several parts have, and the quantiles of their buckets (pure).

/// Bucket bounds of round trips in seconds: from a loopback's to a satellite's, each about 2.3 times the one before.
pub const ROUND_TRIPS: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1,
    0.25, 0.5, 1.0, 2.5,
];

/// The value below which this fraction of the values is, interpolated within its bucket as `histogram_quantile` of
/// Prometheus does it; `None` without values. `buckets` are upper bounds, ascending, with cumulative counts; the last bound
/// is infinite, and a value beyond the one before it is that one.
pub fn quantile(buckets: &[(f64, f64)], fraction: f64) -> Option<f64> {
    let count = buckets.last()?.1;
    if count <= 0.0 {
        return None;
    }
    let rank = fraction * count;
    let mut below = (0.0, 0.0);
    for &(bound, cumulative) in buckets {
        if cumulative >= rank {
            if bound.is_infinite() || cumulative <= below.1 {
                return Some(below.0);
            }
            let part = (rank - below.1) / (cumulative - below.1);
            return Some(below.0 + (bound - below.0) * part);
        }
        below = (bound, cumulative);
    }
    None
}
