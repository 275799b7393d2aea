//! A message that is a JSON object: its severity, and what it says (pure).

use super::{Severity, of_number, of_value};
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;

/// Keys with the severity, the ones that are believed more first.
const SEVERITIES: [&str; 5] = ["level", "severity", "lvl", "log.level", "levelname"];

/// Keys with what the message says, the ones that are believed more first.
const TEXTS: [&str; 4] = ["msg", "message", "log", "error"];

/// Fields of a message that is a JSON object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Structured<'a> {
    /// Severity.
    pub severity: Severity,
    /// The text of the message; empty if no field has it.
    pub text: Cow<'a, str>,
}

/// The message as a JSON object; `None` where it is none.
pub fn parse(message: &str) -> Option<Structured<'_>> {
    let message = message.trim();
    let object = message.starts_with('{') && message.ends_with('}');
    object.then(|| serde_json::from_str(message).ok()).flatten()
}

impl<'de: 'a, 'a> Deserialize<'de> for Structured<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Structured<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut severity: Option<(usize, Severity)> = None;
        let mut text: Option<(usize, Cow<'de, str>)> = None;
        while let Some(Text(key)) = map.next_key()? {
            let of_severity = SEVERITIES.iter().position(|known| *known == key);
            let of_text = TEXTS.iter().position(|known| *known == key);
            match (of_severity, of_text) {
                (Some(rank), _) if severity.is_none_or(|(best, _)| rank < best) => match map.next_value()? {
                    FieldValue::Text(value) => severity = Some((rank, of_value(&value))),
                    FieldValue::Number(number) => severity = Some((rank, of_number(number))),
                    FieldValue::Level(_) | FieldValue::Other => {}
                },
                (_, Some(rank)) => match map.next_value()? {
                    FieldValue::Text(value) if text.as_ref().is_none_or(|(best, _)| rank < *best) => {
                        text = Some((rank, value));
                    }
                    // `{"log": {"level": "error"}}`, as the Elastic Common Schema has it.
                    FieldValue::Level(level) if key == "log" && severity.is_none_or(|(best, _)| best > 3) => {
                        severity = Some((3, level));
                    }
                    _ => {}
                },
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(Structured {
            severity: severity.map_or(Severity::Unknown, |(_, severity)| severity),
            text: text.map_or(Cow::Borrowed(""), |(_, text)| text),
        })
    }
}

/// A text, borrowed where it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(FieldVisitor)? {
            FieldValue::Text(text) => Ok(Self(text)),
            _ => Err(D::Error::custom("not a text")),
        }
    }
}

/// A value, as far as it matters here.
enum FieldValue<'a> {
    Text(Cow<'a, str>),
    Number(u64),
    /// An object with a field `level`.
    Level(Severity),
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for FieldValue<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = FieldValue<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<FieldValue<'de>, E> {
        Ok(FieldValue::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<FieldValue<'de>, E> {
        Ok(FieldValue::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<FieldValue<'de>, E> {
        Ok(FieldValue::Number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<FieldValue<'de>, E> {
        Ok(FieldValue::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<FieldValue<'de>, E> {
        Ok(FieldValue::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<FieldValue<'de>, E> {
        Ok(FieldValue::Other)
    }

    fn visit_unit<E>(self) -> Result<FieldValue<'de>, E> {
        Ok(FieldValue::Other)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<FieldValue<'de>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(FieldValue::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FieldValue<'de>, A::Error> {
        let mut found = FieldValue::Other;
        while let Some(Text(key)) = map.next_key()? {
            if key != "level" {
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            match map.next_value()? {
                Level::Word(level) => found = FieldValue::Level(of_value(&level)),
                Level::Other(_) => {}
            }
        }
        Ok(found)
    }
}

/// `log.level` in an object of its own: a word, or what does not matter. Not [`FieldValue`]: nested objects
/// would be read to any depth.
#[derive(Deserialize)]
#[serde(untagged)]
enum Level<'a> {
    #[serde(borrow)]
    Word(Cow<'a, str>),
    Other(IgnoredAny),
}

#[cfg(test)]
mod tests {
    use super::{Severity, parse};

    #[test]
    fn severity_comes_from_each_of_the_keys() {
        let cases = [
            (r#"{"level":"error","msg":"it broke"}"#, Severity::Error, "it broke"),
            (r#"{"msg":"a","severity":"WARNING"}"#, Severity::Warning, "a"),
            (r#"{"lvl":"dbg","message":"a"}"#, Severity::Debug, "a"),
            (r#"{"log.level":"Critical","message":"a"}"#, Severity::Critical, "a"),
            (r#"{"log":{"level":"error","logger":{"a":1}},"message":"a"}"#, Severity::Error, "a"),
            (r#"{"log":{"level":7},"message":"a"}"#, Severity::Unknown, "a"),
            (r#"{"levelname":"INFO","message":"a"}"#, Severity::Info, "a"),
            (r#"{"level":50,"time":1531171074631,"msg":"pino"}"#, Severity::Error, "pino"),
            (r#"{"level":3,"msg":"syslog"}"#, Severity::Error, "syslog"),
            (r#"{"level":"30","msg":"bunyan"}"#, Severity::Info, "bunyan"),
            (r#"{"severity":"info","level":"error","log":"x","msg":"y"}"#, Severity::Error, "y"),
            (r#"{"error":"no such order \u00e9","status":"error"}"#, Severity::Unknown, "no such order é"),
            (r#"{"request":{"level":"error","msg":"inner"},"level":null}"#, Severity::Unknown, ""),
            (r#"{"level":["error"],"msg":{"a":[1,{"b":null}]},"x":-1.5}"#, Severity::Unknown, ""),
            ("{\n  \"level\": \"warn\",\n  \"tags\": [\n  ]\n}\n", Severity::Warning, ""),
            ("{}", Severity::Unknown, ""),
        ];
        for (message, severity, text) in cases {
            let found = parse(message).unwrap_or_else(|| panic!("{message}"));
            assert_eq!((found.severity, &*found.text), (severity, text), "{message}");
        }
    }

    #[test]
    fn what_is_no_object_is_none() {
        let half = r#"{"level":"error","msg":"a"}"#;
        for end in 0..half.len() {
            assert_eq!(parse(half.get(..end).unwrap()), None);
        }
        for message in ["{app!=[xz]}", "{'level': 'error'}", "[1]", r#"{"a":1} {"b":2}"#, "{error}"] {
            assert_eq!(parse(message), None, "{message}");
        }
    }

    #[test]
    fn objects_in_objects_take_no_stack() {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(20_000), "}".repeat(20_000));
        let arrays = format!(r#"{{"level":{}{}}}"#, "[".repeat(30_000), "]".repeat(30_000));
        let log = format!(r#"{{"log":{{"level":{}{}}}}}"#, "[".repeat(30_000), "]".repeat(30_000));
        for message in [deep, arrays, log] {
            parse(&message);
        }
    }
}
