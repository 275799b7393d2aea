//! The web configuration file: its keys, and errors that concern several of them.

use super::rate::RateLimit;
use crate::config::load;
use crate::reading::chain;
use crate::settings::values::section;
use hyper::header::{HeaderName, HeaderValue};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Response headers.
pub type Headers = Vec<(HeaderName, HeaderValue)>;

/// The web configuration file. A key with nothing behind it is as one that is not there, as in the toolkit.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebConfig {
    /// Section `tls_server_config`.
    #[serde(deserialize_with = "section")]
    pub tls_server_config: TlsServer,
    /// Section `http_server_config`.
    #[serde(deserialize_with = "section")]
    pub http_server_config: HttpServer,
    /// Section `rate_limit`.
    #[serde(deserialize_with = "section")]
    pub rate_limit: RateLimit,
    /// Bcrypt hashes of passwords, by user.
    #[serde(deserialize_with = "section")]
    pub basic_auth_users: BTreeMap<String, String>,
    /// Whether the file is blank.
    #[serde(skip)]
    pub blank: bool,
}

/// Section `tls_server_config`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(missing_docs, reason = "the keys of the toolkit, which documents them")]
pub struct TlsServer {
    #[serde(deserialize_with = "section")]
    pub cert: String,
    #[serde(deserialize_with = "section")]
    pub key: String,
    #[serde(deserialize_with = "section")]
    pub client_ca: String,
    #[serde(deserialize_with = "section")]
    pub cert_file: PathBuf,
    #[serde(deserialize_with = "section")]
    pub key_file: PathBuf,
    #[serde(deserialize_with = "section")]
    pub client_auth_type: String,
    #[serde(deserialize_with = "section")]
    pub client_ca_file: PathBuf,
    #[serde(deserialize_with = "section")]
    pub cipher_suites: Vec<String>,
    #[serde(deserialize_with = "section")]
    pub curve_preferences: Vec<String>,
    pub min_version: Option<String>,
    pub max_version: Option<String>,
    pub prefer_server_cipher_suites: Option<bool>,
    pub client_allowed_sans: Option<Vec<String>>,
}

/// Section `http_server_config`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpServer {
    /// Whether HTTP/2 is allowed. This endpoint supports only HTTP/1.1.
    #[serde(deserialize_with = "section")]
    pub http2: bool,
    /// Response headers.
    #[serde(deserialize_with = "headers")]
    pub headers: Headers,
}

impl Default for HttpServer {
    fn default() -> Self {
        Self { http2: true, headers: Vec::new() }
    }
}

/// The headers that may be set; if a list of values is not empty, only those.
const ALLOWED: &[(&str, &[&str])] = &[
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
    ("Content-Security-Policy", &[]),
];

fn headers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Headers, D::Error> {
    let given: BTreeMap<String, Option<String>> = section(deserializer)?;
    let header = |(name, value): (String, Option<String>)| {
        let value = value.unwrap_or_default();
        let known = ALLOWED.iter().find(|(known, _)| *known == name);
        let (_, values) = known.ok_or_else(|| format!("the header `{name}` cannot be configured"))?;
        if !values.is_empty() && !values.contains(&value.as_str()) {
            return Err(format!("`{value}` is not a value of {name}: {}", values.join(" or ")));
        }
        let wrong = |_| format!("`{name}` cannot be sent with this value");
        let value = HeaderValue::from_str(&value)
            .map_err(|_| format!("`{name}` has a value that is not allowed in a header"))?;
        Ok((HeaderName::from_bytes(name.as_bytes()).map_err(wrong)?, value))
    };
    given.into_iter().map(header).collect::<Result<_, String>>().map_err(D::Error::custom)
}

impl TlsServer {
    /// Whether any key that enables TLS is set.
    pub fn is_on(&self) -> bool {
        let texts = [&self.cert, &self.key, &self.client_ca, &self.client_auth_type];
        let files = [&self.cert_file, &self.key_file, &self.client_ca_file];
        texts.iter().any(|text| !text.is_empty()) || files.iter().any(|file| !file.as_os_str().is_empty())
    }
}

impl WebConfig {
    /// Reads the file and resolves its paths relative to it. Also returns the files that it names.
    pub fn read(path: &Path) -> Result<(Self, Vec<PathBuf>), String> {
        let text = load::read(path).map_err(|error| chain(&error))?;
        let config = load::document::<Self>(&text, path).map_err(|error| chain(&error))?;
        let mut config = config.unwrap_or_default();
        config.blank = text.trim().is_empty();
        let folder = path.parent().unwrap_or(Path::new(""));
        let tls = &mut config.tls_server_config;
        let mut files = Vec::new();
        for file in [&mut tls.cert_file, &mut tls.key_file, &mut tls.client_ca_file] {
            if !file.as_os_str().is_empty() {
                *file = folder.join(&file);
                files.push(file.clone());
            }
        }
        Ok((config, files))
    }
}
