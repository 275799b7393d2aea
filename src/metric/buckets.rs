//! Bucket bounds that histograms of several parts have.

/// Bucket bounds of round trips in seconds: from a loopback's to a satellite's, each about 2.3 times the one before.
pub const ROUND_TRIPS: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1,
    0.25, 0.5, 1.0, 2.5,
];
