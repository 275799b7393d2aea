//! Numbers as people read them, in at most ten characters (pure).

use std::fmt::Write;

#[cfg(test)]
mod tests;

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Things, or nothing.
    Count,
    /// Bytes, shown with binary prefixes.
    Bytes,
    /// Seconds.
    Seconds,
    /// A fraction, shown in percent.
    Ratio,
}

impl Unit {
    /// Of a metric with this UCUM unit in the table.
    pub(super) fn of(metric: &str, ucum: &str) -> Self {
        match ucum {
            "s" | "ms" => Self::Seconds,
            "By" | "By/s" => Self::Bytes,
            // So many for each, which is no part of a whole.
            "1" if metric.rsplit('.').next() == Some("load") => Self::Count,
            "1" => Self::Ratio,
            _ => Self::Count,
        }
    }

    /// A value in this unit.
    pub(super) fn show(self, value: f64) -> String {
        if !value.is_finite() {
            let text = if value.is_nan() {
                "–"
            } else if value > 0.0 {
                "inf"
            } else {
                "-inf"
            };
            return text.to_owned();
        }
        // Without the sign of a zero.
        let value = value + 0.0;
        match self {
            Self::Count => count(value),
            Self::Bytes => bytes(value),
            Self::Seconds => seconds(value),
            Self::Ratio => format!("{} %", count(value * 100.0)),
        }
    }
}

/// Up to three digits that matter, without zeros at the end.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        size if !(0.000_5..99.95).contains(&size) => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.995 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn scaled(value: f64, step: f64, prefixes: &[&str]) -> String {
    let mut value = value;
    let mut prefix = "";
    for next in prefixes {
        if value.abs() < step * 0.9995 {
            break;
        }
        value /= step;
        prefix = next;
    }
    format!("{}{prefix}", short(value))
}

fn count(value: f64) -> String {
    // Whole numbers stay whole as long as they are easily read.
    if value.abs() < 1e7 && value.fract() == 0.0 {
        return format!("{value:.0}");
    }
    if value.abs() < 1000.0 {
        return short(value);
    }
    scaled(value, 1000.0, &["k", "M", "G", "T", "P", "E"])
}

fn bytes(value: f64) -> String {
    if value.abs() < 1024.0 {
        return format!("{}B", short(value));
    }
    scaled(value, 1024.0, &["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

/// A time; those over a minute in two units.
fn seconds(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        return "0s".to_owned();
    }
    if size < 0.001 {
        return format!("{}µs", short(value * 1e6));
    }
    if size < 0.9995 {
        return format!("{}ms", short(value * 1e3));
    }
    if size < 59.95 {
        return format!("{}s", short(value));
    }
    let mut text = if value < 0.0 { "-".to_owned() } else { String::new() };
    let rest = size.round();
    let (long, short) = match rest {
        rest if rest < 3600.0 => ((60.0, 'm'), (1.0, 's')),
        rest if rest < 86_400.0 => ((3600.0, 'h'), (60.0, 'm')),
        _ => ((86_400.0, 'd'), (3600.0, 'h')),
    };
    let _infallible = write!(
        text,
        "{:.0}{}{:.0}{}",
        (rest / long.0).floor(),
        long.1,
        (rest % long.0 / short.0).floor(),
        short.1
    );
    text
}
