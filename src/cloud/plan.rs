//! What there is to ask of a metadata service: a token, headers, paths, and what is read from each answer (pure).

use super::instance::Instance;

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
    /// Requests for the values.
    pub questions: &'static [Question],
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

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// Path, and query.
    pub path: &'static str,
    /// Reads the answer; whether it could be understood.
    pub read: fn(&str, &mut Instance) -> bool,
}

/// Puts a value where it belongs; whether there is one.
pub(super) fn put(field: &mut Option<String>, value: Option<String>) -> bool {
    let there = value.is_some();
    if there {
        *field = value;
    }
    there
}

/// A text or a number at a JSON pointer (`/compute/vmId`).
pub(super) fn json(answer: &serde_json::Value, pointer: &str) -> Option<String> {
    let found = answer.pointer(pointer)?;
    found.as_str().map(str::to_owned).or_else(|| found.as_u64().map(|number| number.to_string()))
}
