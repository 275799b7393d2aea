//! The single values of the configuration: what they look like, what range they have, how a bad one is explained.

use crate::text::bounded;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Range of the time-out of a source.
pub const SOURCE_TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_mins(1);

/// A section, or a list, that may be there with nothing in it: whoever comments out all its keys has said nothing.
pub fn section<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A list of words, or one alone: `netns: all` and `netns: [all]` are the same. `expected` is for the error.
pub fn one_or_many<'de, D: Deserializer<'de>>(
    deserializer: D,
    expected: &'static str,
) -> Result<Vec<String>, D::Error> {
    struct Entries(&'static str);
    impl<'de> serde::de::Visitor<'de> for Entries {
        type Value = Vec<String>;
        fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
            formatter.write_str(self.0)
        }
        fn visit_str<E: Error>(self, entry: &str) -> Result<Self::Value, E> {
            Ok(vec![entry.to_owned()])
        }
        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = list.next_element()? {
                entries.push(entry);
            }
            Ok(entries)
        }
    }
    deserializer.deserialize_any(Entries(expected))
}

/// Maximum number of bytes of any text of a configuration: of a value or a key in a file, or of a variable. Some have a
/// lower limit of their own.
pub const LONGEST_TEXT: usize = 64 * 1024;

/// Refuses a list with an entry of more than `most` bytes.
pub fn short<E: Error>(entries: &[String], most: usize) -> Result<(), E> {
    entries.iter().find_map(|entry| too_long(entry, most)).map_or(Ok(()), |message| Err(E::custom(message)))
}

/// What is wrong with an entry of a list that has more than `most` bytes; `None` if it has not.
pub fn too_long(entry: &str, most: usize) -> Option<String> {
    let (start, length) = (bounded(entry, 32), entry.len());
    (length > most).then(|| format!("`{start}` has {length} bytes; an entry takes {most} at most"))
}

/// JSON Schema of a duration.
#[cfg(test)]
pub fn duration_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "string", "pattern": "^([0-9]+ *[a-z]+ *)+$"})
}

/// A duration with its unit (`10s`, `1m 30s`) within a range.
pub fn duration(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    let value = humantime::parse_duration(text)
        .map_err(|_| "is not a duration with a unit, such as 10s or 500ms".to_owned())?;
    in_range(value, range)
}

/// A duration in milliseconds, as the `OTEL_*` variables have it.
pub fn milliseconds(text: &str, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    let value = text.trim().parse().map_err(|_| "is not a number of milliseconds".to_owned())?;
    in_range(Duration::from_millis(value), range)
}

fn in_range(value: Duration, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (least, most) =
        (humantime::format_duration(*range.start()), humantime::format_duration(*range.end()));
    Err(format!("is out of range: {least} to {most}"))
}

/// A whole number within a range.
pub fn number<'de, D: Deserializer<'de>, T: TryFrom<i64> + PartialOrd + fmt::Display>(
    deserializer: D,
    range: &RangeInclusive<T>,
) -> Result<T, D::Error> {
    let number = i64::deserialize(deserializer)?;
    let within = T::try_from(number).ok().filter(|number| range.contains(number));
    within.ok_or_else(|| {
        D::Error::custom(format!("`{number}` is out of range: {} to {}", range.start(), range.end()))
    })
}

/// A duration within a range.
pub fn ranged<'de, D: Deserializer<'de>>(
    deserializer: D,
    range: RangeInclusive<Duration>,
) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    duration(&text, range).map_err(|message| D::Error::custom(format!("`{text}` {message}")))
}

/// `sources.*.timeout`
pub fn source_timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    ranged(deserializer, SOURCE_TIMEOUT)
}

/// A duration as it was written.
pub fn print<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*value))
}

/// What `connscope config` prints instead of what may be secret.
pub const HIDDEN: &str = "(hidden)";
