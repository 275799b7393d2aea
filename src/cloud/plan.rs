//! What there is to ask of a metadata service: a token, headers, paths, and what is read from each answer (pure).

use super::instance::Instance;

/// The address of nearly every metadata service.
pub const LINK_LOCAL: &str = "http://169.254.169.254";

/// The questions of a provider.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Where it is asked.
    pub endpoint: &'static str,
    /// What has to be had first.
    pub token: Option<Token>,
    /// A header of every request.
    pub header: Option<(&'static str, &'static str)>,
    /// The questions.
    pub questions: &'static [Question],
}

/// A token, which is had by `PUT`, and without which nothing is answered.
#[derive(Debug, Clone, Copy)]
pub struct Token {
    /// Path that it is had from.
    pub path: &'static str,
    /// Header of that request, and its value: how long the token is to be valid, in seconds.
    pub validity: (&'static str, &'static str),
    /// Header of the other requests, whose value is the token.
    pub header: &'static str,
    /// Whether nothing is asked without it.
    pub required: bool,
}

/// A question.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// Path, and query.
    pub path: &'static str,
    /// Reads the answer; whether it could be understood.
    pub read: fn(&str, &mut Instance) -> bool,
}

/// Puts a value where it belongs; whether there is one.
pub(super) fn put(place: &mut Option<String>, value: Option<String>) -> bool {
    let there = value.is_some();
    if there {
        *place = value;
    }
    there
}

/// A text or a number at a place of a JSON text (`/compute/vmId`).
pub(super) fn json(answer: &serde_json::Value, place: &str) -> Option<String> {
    let found = answer.pointer(place)?;
    found.as_str().map(str::to_owned).or_else(|| found.as_u64().map(|number| number.to_string()))
}
