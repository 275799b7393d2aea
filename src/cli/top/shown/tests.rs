//! Numbers of every size.

use super::Unit;

#[test]
fn numbers_are_short_and_say_their_unit() {
    for (unit, value, text) in [
        (Unit::Count, 0.0, "0"),
        (Unit::Count, -0.0, "0"),
        (Unit::Count, 1_234_567.0, "1234567"),
        (Unit::Count, 12_345_678.0, "12.3M"),
        (Unit::Count, 0.333_333, "0.333"),
        (Unit::Count, 1.5, "1.5"),
        (Unit::Count, 999.96, "1000"),
        (Unit::Count, 1234.5, "1.23k"),
        (Unit::Count, 1e19, "10E"),
        (Unit::Bytes, 512.0, "512B"),
        (Unit::Bytes, 1536.0, "1.5KiB"),
        (Unit::Bytes, 3e9, "2.79GiB"),
        (Unit::Seconds, 0.0, "0s"),
        (Unit::Seconds, 0.000_25, "250µs"),
        (Unit::Seconds, 0.0123, "12.3ms"),
        (Unit::Seconds, 1.0, "1s"),
        (Unit::Seconds, 59.99, "1m0s"),
        (Unit::Seconds, 3725.0, "1h2m"),
        (Unit::Seconds, 200_000.0, "2d7h"),
        (Unit::Ratio, 0.123_45, "12.3 %"),
        (Unit::Ratio, 1.0, "100 %"),
        (Unit::Count, f64::INFINITY, "inf"),
        (Unit::Seconds, f64::NEG_INFINITY, "-inf"),
        (Unit::Bytes, f64::NAN, "–"),
        (Unit::Ratio, f64::INFINITY, "inf"),
    ] {
        assert_eq!(unit.show(value), text, "{value}");
    }
    for exponent in -12..19 {
        for unit in [Unit::Count, Unit::Bytes, Unit::Seconds, Unit::Ratio] {
            let text = unit.show(1.234_567 * 10f64.powi(exponent));
            assert!(text.chars().count() <= 20, "{text}");
        }
    }
    assert_eq!(Unit::of("tcp.rtt", "ms"), Unit::Seconds);
    assert_eq!(Unit::of("conntrack.table.utilization", "1"), Unit::Ratio);
    assert_eq!(
        Unit::of("conntrack.table.load", "1"),
        Unit::Count,
        "entries for each bucket are no part of a whole"
    );
}
