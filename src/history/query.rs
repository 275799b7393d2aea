//! What a request to `/api/history` asks for (pure).

use super::{OF_A_METRIC, WINDOW};
use std::fmt::Write;
use std::ops::RangeInclusive;

/// Most names in a request.
const MOST_NAMES: usize = 64;
/// Most cycles in a request that limits them.
const MOST_CYCLES: u64 = 360;
/// Longest name of a metric.
const LONGEST_NAME: usize = 100;

/// The parameters of a request, checked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Query {
    /// Names of metrics; all if empty.
    pub names: Vec<String>,
    /// Which of the two histories.
    pub of: Of,
    /// Cycles of the last so many seconds.
    pub seconds: u64,
    /// At most so many cycles.
    pub cycles: Option<u64>,
    /// Of each metric only so many series: those of a counter that have grown most, the greatest of a gauge.
    pub top: Option<u64>,
}

/// The two histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Of {
    /// Each metric over all of its series.
    All,
    /// The series.
    Series,
}

impl Of {
    /// Its name in the request and in the response.
    pub fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Series => "series",
        }
    }
}

impl Query {
    /// Checks the decoded parameters of a request. The error is a sentence for whoever sent it.
    pub fn parse(parameters: &[(String, String)]) -> Result<Self, String> {
        let mut query =
            Self { names: Vec::new(), of: Of::Series, seconds: WINDOW.as_secs(), cycles: None, top: None };
        for (key, value) in parameters {
            match key.as_str() {
                "names" => query.names = names(value)?,
                "of" => {
                    query.of = [Of::All, Of::Series]
                        .into_iter()
                        .find(|of| of.word() == value)
                        .ok_or("of is all or series")?;
                }
                "seconds" => query.seconds = whole(key, value, 1..=WINDOW.as_secs())?,
                "cycles" => query.cycles = Some(whole(key, value, 2..=MOST_CYCLES)?),
                "top" => query.top = Some(whole(key, value, 1..=u64::from(OF_A_METRIC))?),
                _ => return Err("the parameters are names, of, seconds, cycles and top".to_owned()),
            }
        }
        Ok(query)
    }

    /// The query as text; equal queries have the same.
    pub fn canonical(&self) -> String {
        let mut text =
            format!("of={}&seconds={}&names={}", self.of.word(), self.seconds, self.names.join(","));
        for (key, value) in [("cycles", self.cycles), ("top", self.top)] {
            if let Some(value) = value {
                let _infallible = write!(text, "&{key}={value}");
            }
        }
        text
    }
}

fn names(value: &str) -> Result<Vec<String>, String> {
    let mut names: Vec<String> =
        value.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let wrong = |name: &&String| {
        name.len() > LONGEST_NAME
            || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte))
    };
    if names.iter().any(|name| wrong(&name)) {
        return Err("names is a list of names of metrics, as METRICS.md has them, with commas between them"
            .to_owned());
    }
    names.sort_unstable();
    names.dedup();
    if names.len() > MOST_NAMES {
        return Err(format!("at most {MOST_NAMES} names"));
    }
    Ok(names)
}

fn whole(key: &str, value: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    let number = value.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("{key} is a whole number from {} to {}", range.start(), range.end()))
}

#[cfg(test)]
mod tests {
    use super::{Of, Query};

    fn parse(text: &str) -> Result<Query, String> {
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        Query::parse(&pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect::<Vec<_>>())
    }

    #[test]
    fn parameters_are_checked_and_their_order_does_not_matter() {
        let query = parse("names=tcp.rtt,conntrack.drop&of=all&seconds=60&top=5").unwrap();
        assert_eq!(query.names, ["conntrack.drop", "tcp.rtt"]);
        assert_eq!((query.of, query.seconds, query.top), (Of::All, 60, Some(5)));
        let same = parse("top=5&seconds=60&names=conntrack.drop,tcp.rtt,tcp.rtt&of=all").unwrap();
        assert_eq!(same.canonical(), query.canonical());
        assert_eq!(parse("").unwrap().canonical(), "of=series&seconds=1800&names=");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, why) in [
            ("of=each", "of is all or series"),
            ("seconds=0", "seconds is a whole number from 1 to 1800"),
            ("seconds=1801", "seconds is a whole number from 1 to 1800"),
            ("top=100000", "top is a whole number from 1 to 512"),
            ("names=<script>", "names is a list"),
            ("window=1", "the parameters are"),
        ] {
            assert!(parse(text).unwrap_err().contains(why), "{text}");
        }
        let many = (0..65).map(|number| format!("a{number}")).collect::<Vec<_>>().join(",");
        assert!(parse(&format!("names={many}")).unwrap_err().contains("64"));
    }
}
