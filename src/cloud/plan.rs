//! What there is to ask of a metadata service: a token, headers, and a row for each value, with where it is in which answer (pure).

use super::instance::{Instance, value};

/// The address of nearly every metadata service.
pub const LINK_LOCAL: &str = "http://169.254.169.254";

/// The requests to the metadata service of a provider.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// URL of the service, without a path.
    pub endpoint: &'static str,
    /// Token that the other requests carry; requested first.
    pub token: Option<Token>,
    /// Header of every request, name and value.
    pub header: Option<(&'static str, &'static str)>,
    /// The values. Rows of one path follow each other, and are one request.
    pub rows: &'static [Row],
}

/// A token, requested by `PUT`.
#[derive(Debug, Clone, Copy)]
pub struct Token {
    /// Path of the request for the token.
    pub path: &'static str,
    /// Header of that request, and its value: how long the token is to be valid, in seconds.
    pub validity: (&'static str, &'static str),
    /// Header of the other requests, whose value is the token.
    pub header: &'static str,
    /// Whether the service answers no request without it.
    pub required: bool,
}

/// A value of the machine, and where an answer has it.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Path of the request, and query.
    pub path: &'static str,
    /// Where the value is in an answer in JSON (RFC 6901); `None`: the answer is the value.
    pointer: Option<&'static str>,
    /// Reads the value; `None` for what is none.
    read: fn(&str) -> Option<String>,
    /// Where it belongs.
    field: fn(&mut Instance) -> &mut Option<String>,
}

impl Row {
    /// The answer to a path as it is: an id, a name.
    pub(super) const fn text(path: &'static str, field: fn(&mut Instance) -> &mut Option<String>) -> Self {
        Self { path, pointer: None, read: value, field }
    }

    /// A text or a number of an answer in JSON.
    pub(super) const fn json(
        path: &'static str,
        pointer: &'static str,
        field: fn(&mut Instance) -> &mut Option<String>,
    ) -> Self {
        Self { path, pointer: Some(pointer), read: value, field }
    }

    /// The same, read in another way.
    pub(super) const fn read_by(self, read: fn(&str) -> Option<String>) -> Self {
        Self { read, ..self }
    }
}

impl Plan {
    /// The requests: a path, and the rows that its answer has.
    pub fn requests(&self) -> impl Iterator<Item = (&'static str, &'static [Row])> {
        let same = self.rows.chunk_by(|row, next| row.path == next.path);
        same.filter_map(|rows| Some((rows.first()?.path, rows)))
    }
}

/// Takes the values of an answer; whether there was one.
pub fn take(rows: &[Row], answer: &str, to: &mut Instance) -> bool {
    let json = serde_json::from_str::<serde_json::Value>(answer).ok();
    let mut any = false;
    for Row { pointer, read, field, .. } in rows {
        let text = match pointer {
            Some(pointer) => json.as_ref().and_then(|json| text(json.pointer(pointer)?)),
            None => Some(answer.to_owned()),
        };
        if let Some(value) = text.and_then(|text| read(&text)) {
            *field(to) = Some(value);
            any = true;
        }
    }
    any
}

/// A text or a number.
fn text(found: &serde_json::Value) -> Option<String> {
    found.as_str().map(str::to_owned).or_else(|| found.as_u64().map(|number| number.to_string()))
}
