//! Severity of a message (pure).

use crate::metric::label::closed_set;

pub mod structured;
pub mod text;

closed_set! {
    /// The closed set of values of the label `severity`.
    Severity {
        /// `debug`, `trace`.
        Debug = "debug",
        /// `info`, `notice`.
        Info = "info",
        /// `warning`.
        Warning = "warning",
        /// `error`.
        Error = "error",
        /// `critical`, `fatal`, `alert`, `emergency`, `panic`.
        Critical = "critical",
        /// The message does not say.
        Unknown = "unknown",
    }
}

/// The severity that a word stands for where nothing else can be meant, in any case; a longer word counts by how it begins
/// (`WARNING`, `errors`).
fn of_word(word: &[u8]) -> Option<Severity> {
    let begins =
        |short: &[u8]| word.get(..short.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(short));
    let is = |whole: &[u8]| word.len() == whole.len() && begins(whole);
    Some(match word.first()?.to_ascii_lowercase() {
        b'd' if is(b"dbg") || begins(b"debu") => Severity::Debug,
        b't' if is(b"trc") => Severity::Debug,
        b'i' if is(b"inf") || begins(b"info") => Severity::Info,
        b'n' if begins(b"noti") => Severity::Info,
        b'w' if is(b"wrn") || begins(b"warn") => Severity::Warning,
        b'e' if is(b"err") || begins(b"erro") => Severity::Error,
        b'f' if is(b"ftl") || begins(b"fatal") => Severity::Critical,
        b'c' if begins(b"crit") => Severity::Critical,
        b'e' if begins(b"emerg") => Severity::Critical,
        b'a' if begins(b"alert") => Severity::Critical,
        _ => return None,
    })
}

/// The severity that the value of a field stands for, which has more words than a text can be believed.
fn of_value(value: &str) -> Severity {
    let value = value.trim();
    let is = |word: &str| value.eq_ignore_ascii_case(word);
    let letter = || match value.as_bytes() {
        [b'D' | b'T'] => Some(Severity::Debug),
        [b'I'] => Some(Severity::Info),
        [b'W'] => Some(Severity::Warning),
        [b'E'] => Some(Severity::Error),
        [b'F' | b'C'] => Some(Severity::Critical),
        _ => None,
    };
    of_word(value.as_bytes()).or_else(letter).unwrap_or_else(|| match value.parse() {
        Ok(number) => of_number(number),
        _ if ["trace", "verbose", "fine", "finer", "finest"].into_iter().any(is) => Severity::Debug,
        _ if is("severe") => Severity::Error,
        _ if ["panic", "dpanic", "emergency"].into_iter().any(is) => Severity::Critical,
        _ => Severity::Unknown,
    })
}

/// The severity of a number: 0 to 7 are those of syslog (RFC 5424), 10 to 60 those of bunyan and pino.
pub fn of_number(number: u64) -> Severity {
    match number {
        0..=2 | 60 => Severity::Critical,
        3 | 50..60 => Severity::Error,
        4 | 40..50 => Severity::Warning,
        5 | 6 | 30..40 => Severity::Info,
        7 | 10..30 => Severity::Debug,
        _ => Severity::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::{Severity, of_number, of_value};

    #[test]
    fn numbers_are_those_of_syslog_bunyan_and_pino() {
        let words =
            |numbers: &[u64]| numbers.iter().map(|number| of_number(*number).word()).collect::<Vec<_>>();
        let syslog = ["critical", "critical", "critical", "error", "warning", "info", "info", "debug"];
        assert_eq!(words(&[0, 1, 2, 3, 4, 5, 6, 7]), syslog);
        assert_eq!(
            words(&[10, 20, 30, 40, 50, 60]),
            ["debug", "debug", "info", "warning", "error", "critical"]
        );
        assert_eq!(words(&[8, 9, 61, 200]), ["unknown"; 4]);
    }

    #[test]
    fn values_of_fields_are_words_of_many_libraries() {
        let cases = [
            ("TRACE", Severity::Debug),
            ("debug", Severity::Debug),
            ("Information", Severity::Info),
            ("NOTICE", Severity::Info),
            ("WARNING", Severity::Warning),
            ("W", Severity::Warning),
            ("SEVERE", Severity::Error),
            ("err", Severity::Error),
            ("50", Severity::Error),
            ("CRITICAL", Severity::Critical),
            ("EMERGENCY", Severity::Critical),
            ("dpanic", Severity::Critical),
            ("", Severity::Unknown),
            ("high", Severity::Unknown),
            ("-1", Severity::Unknown),
        ];
        for (value, severity) in cases {
            assert_eq!(of_value(value), severity, "{value}");
        }
    }
}
