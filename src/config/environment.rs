//! The `OTEL_*` variables of the OpenTelemetry specification
//! (`specification/configuration/sdk-environment-variables.md`, `specification/protocol/exporter.md`).
//!
//! A variable that is set to nothing is not set. A value that the specification does not know is refused, not
//! ignored: an agent that pushes to the wrong place with the wrong protocol is found out too late.

use super::{Address, Compression, Config, ConfigError, Level, Listen, Protocol, endpoint, export};
use crate::settings::{headers, values};
use crate::text;
use percent_encoding::percent_decode_str;
use std::cell::RefCell;
use std::fmt::Write;
use std::path::PathBuf;

/// What only environment variables can say.
#[expect(clippy::struct_excessive_bools, reason = "each is a variable that is true or false")]
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Environment {
    /// `OTEL_SDK_DISABLED`: nothing is collected and nothing sent.
    pub disabled: bool,
    /// `OTEL_METRICS_EXPORTER` names `console`: every cycle is printed on stdout.
    pub console: bool,
    /// `OTEL_SERVICE_NAME`, which goes over `service.name` in the attributes.
    pub service_name: Option<String>,
    /// `OTEL_RESOURCE_ATTRIBUTES`, decoded.
    pub resource: Vec<(String, String)>,
    /// `OTEL_EXPORTER_OTLP_[METRICS_]INSECURE`: an endpoint without a scheme is spoken to without TLS.
    pub insecure: bool,
    /// The endpoint is that of the metrics signal and nothing is added to it.
    pub endpoint_as_is: bool,
    /// `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE` asks for something else than cumulative.
    pub temporality: Option<String>,
    /// `OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION` asks for exponential histograms.
    pub exponential_histograms: bool,
}

impl Environment {
    /// What is not at its default, as lines of comment.
    pub fn comment(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &dyn std::fmt::Display| {
            // A line break in a value must not end the comment.
            let value = value.to_string().escape_debug().to_string();
            let _infallible = writeln!(text, "# from the environment: {name} {value}");
        };
        if self.disabled {
            line("OTEL_SDK_DISABLED", &true);
        }
        if self.console {
            line("OTEL_METRICS_EXPORTER", &"console");
        }
        if self.endpoint_as_is {
            line("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", &"is used as it is");
        }
        if let Some(name) = &self.service_name {
            line("OTEL_SERVICE_NAME", name);
        }
        for (key, value) in &self.resource {
            line("OTEL_RESOURCE_ATTRIBUTES", &format!("{key}={value}"));
        }
        if self.exponential_histograms {
            line(
                "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
                &"base2_exponential_bucket_histogram",
            );
        }
        text
    }
}

/// Looks variables up, and words the errors.
struct Variables<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
}

impl Variables<'_> {
    /// The value of one variable, through `read`.
    fn get<T>(
        &self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        match (self.variable)(name).filter(|value| !value.is_empty()) {
            None => Ok(None),
            Some(value) if value.len() > values::LONGEST_TEXT => {
                let message =
                    format!("has {} bytes; a variable takes {} at most", value.len(), values::LONGEST_TEXT);
                Err(wrong(name, &value, message))
            }
            Some(value) => read(&value).map(Some).map_err(|message| wrong(name, &value, message)),
        }
    }

    /// The value of an OTLP setting: that of the metrics signal, or that of all signals.
    fn otlp<T>(
        &self,
        setting: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let metrics = self.get(&format!("OTEL_EXPORTER_OTLP_METRICS_{setting}"), &read)?;
        match metrics {
            Some(value) => Ok(Some(value)),
            None => self.get(&format!("OTEL_EXPORTER_OTLP_{setting}"), read),
        }
    }
}

/// The ends of the names of variables whose values are words, numbers or addresses, and may be shown.
const SHOWN: [&str; 12] = [
    "AGGREGATION",
    "COMPRESSION",
    "DISABLED",
    "EXPORTER",
    "HOST",
    "INSECURE",
    "INTERVAL",
    "LEVEL",
    "PORT",
    "PREFERENCE",
    "PROTOCOL",
    "TIMEOUT",
];

/// A variable with a value that cannot be used; what may be secret of it is not shown.
fn wrong(name: &str, value: &str, message: String) -> ConfigError {
    let value = if name.ends_with("ENDPOINT") {
        endpoint::shown(value)
    } else if SHOWN.iter().any(|end| name.ends_with(end)) {
        value.to_owned()
    } else {
        values::HIDDEN.to_owned()
    };
    ConfigError::Variable { name: name.to_owned(), value: text::bounded(&value, text::LONGEST_NAME), message }
}

/// The variables of this process, by name. One that is asked for and is not UTF-8 is remembered.
#[derive(Debug, Default)]
pub struct Process(RefCell<Option<ConfigError>>);

impl Process {
    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<String> {
        let value = std::env::var_os(name)?;
        value
            .into_string()
            .map_err(|value| {
                let error = wrong(name, &value.to_string_lossy(), "is not UTF-8".to_owned());
                self.0.borrow_mut().get_or_insert(error);
            })
            .ok()
    }

    /// Refuses the first variable that was asked for and is not UTF-8.
    pub fn check(self) -> Result<(), ConfigError> {
        self.0.into_inner().map_or(Ok(()), Err)
    }
}

/// Lays the variables over what the file said.
pub(super) fn apply<S>(
    config: &mut Config<S>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<(), ConfigError> {
    let variables = Variables { variable };
    otlp(config, &variables)?;
    // After the protocol: an exporter that is not named is off, whatever protocol it would speak.
    exporters(config, &variables)?;
    prometheus(config, &variables)?;
    let environment = &mut config.environment;
    environment.disabled = variables.get("OTEL_SDK_DISABLED", boolean)?.unwrap_or(false);
    environment.service_name = variables.get("OTEL_SERVICE_NAME", |value| Ok(value.to_owned()))?;
    environment.resource = variables.get("OTEL_RESOURCE_ATTRIBUTES", pairs)?.unwrap_or_default();
    if let Some(level) = variables.get("OTEL_LOG_LEVEL", level)? {
        config.log.level = level;
    }
    Ok(())
}

/// `OTEL_METRICS_EXPORTER`: what is named is on, what is not is off.
fn exporters<S>(config: &mut Config<S>, variables: &Variables) -> Result<(), ConfigError> {
    let named = variables.get("OTEL_METRICS_EXPORTER", |value| {
        let names: Vec<String> = value.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
        match names.iter().find(|name| !matches!(name.as_str(), "otlp" | "prometheus" | "console" | "none")) {
            Some(name) => Err(format!("`{name}` is none of otlp, prometheus, console, none")),
            None => Ok(names),
        }
    })?;
    let Some(named) = named else { return Ok(()) };
    let on = |name: &str| named.iter().any(|named| named == name);
    config.environment.console = on("console");
    let otlp = &mut config.export.otlp;
    otlp.protocol = match (on("otlp"), otlp.protocol) {
        (false, _) => Protocol::None,
        (true, Protocol::None) => Protocol::Grpc,
        (true, protocol) => protocol,
    };
    let prometheus = &mut config.export.prometheus;
    match (on("prometheus"), prometheus.listen.is_off()) {
        (false, _) => prometheus.listen = Listen::OFF,
        (true, true) => prometheus.listen = Listen::default(),
        (true, false) => {}
    }
    Ok(())
}

fn otlp<S>(config: &mut Config<S>, variables: &Variables) -> Result<(), ConfigError> {
    let otlp = &mut config.export.otlp;
    let environment = &mut config.environment;
    if let Some(endpoint) = variables.get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", endpoint::check)? {
        otlp.endpoint = Some(endpoint);
        environment.endpoint_as_is = true;
    } else if let Some(endpoint) = variables.get("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint::check)? {
        otlp.endpoint = Some(endpoint);
    }
    if let Some(protocol) = variables.otlp("PROTOCOL", protocol)? {
        otlp.protocol = protocol;
    }
    if let Some(headers) = variables.otlp("HEADERS", headers)? {
        otlp.headers = headers.into_iter().collect();
    }
    if let Some(timeout) = variables.otlp("TIMEOUT", export::timeout_milliseconds)? {
        otlp.timeout = timeout;
    }
    if let Some(compression) = variables.otlp("COMPRESSION", compression)? {
        otlp.compression = compression;
    }
    environment.insecure = variables.otlp("INSECURE", boolean)?.unwrap_or(false);
    let path = |value: &str| Ok(PathBuf::from(value));
    let tls = &mut otlp.tls;
    tls.ca_file = variables.otlp("CERTIFICATE", path)?.or(tls.ca_file.take());
    tls.cert_file = variables.otlp("CLIENT_CERTIFICATE", path)?.or(tls.cert_file.take());
    tls.key_file = variables.otlp("CLIENT_KEY", path)?.or(tls.key_file.take());
    if let Some(interval) =
        variables.get("OTEL_METRIC_EXPORT_INTERVAL", |value| values::milliseconds(value, export::INTERVAL))?
    {
        otlp.interval = interval;
    }
    if let Some(timeout) = variables.get("OTEL_METRIC_EXPORT_TIMEOUT", export::timeout_milliseconds)? {
        // Zero is no limit.
        let limits = [otlp.timeout, timeout].into_iter().filter(|limit| !limit.is_zero());
        otlp.timeout = limits.min().unwrap_or_default();
    }
    environment.temporality = variables
        .get("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", temporality)?
        .filter(|preference| preference != "cumulative");
    environment.exponential_histograms = variables
        .get("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", histograms)?
        .unwrap_or(false);
    Ok(())
}

/// Host and port are one address, in the place of every other; what is not set of it stays that of the first there is.
fn prometheus<S>(config: &mut Config<S>, variables: &Variables) -> Result<(), ConfigError> {
    let host = variables.get("OTEL_EXPORTER_PROMETHEUS_HOST", |value| {
        let trimmed = value.trim_start_matches('[').trim_end_matches(']');
        format!("[{trimmed}]:0").parse::<Address>().map(|_| trimmed.to_owned())
    })?;
    let port = variables.get("OTEL_EXPORTER_PROMETHEUS_PORT", |value| {
        value.parse::<u16>().map_err(|_| "is not a port".to_owned())
    })?;
    let listen = &mut config.export.prometheus.listen;
    if listen.is_off() || (host.is_none() && port.is_none()) {
        return Ok(());
    }
    let addresses =
        listen.addresses().iter().chain(Listen::default().addresses()).cloned().collect::<Vec<_>>();
    let first = addresses.into_iter().find_map(|address| match address {
        Address::At { host, port } => Some((host, port)),
        _ => None,
    });
    if let Some((old_host, old_port)) = first {
        let (host, port) = (host.unwrap_or(old_host), port.unwrap_or(old_port));
        *listen = Address::At { host, port }.into();
    }
    Ok(())
}

/// The specification's only true value is `true`, in any case; every other value means false, but then somebody
/// who wrote `1` or `yes` would get what he did not ask for.
fn boolean(value: &str) -> Result<bool, String> {
    match value.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("is neither true nor false".to_owned()),
    }
}

fn protocol(value: &str) -> Result<Protocol, String> {
    match value.trim().to_ascii_lowercase().as_str() {
        "grpc" => Ok(Protocol::Grpc),
        "http/protobuf" => Ok(Protocol::HttpProtobuf),
        _ => Err("is neither grpc nor http/protobuf".to_owned()),
    }
}

fn compression(value: &str) -> Result<Compression, String> {
    match value.trim().to_ascii_lowercase().as_str() {
        "none" => Ok(Compression::None),
        "gzip" => Ok(Compression::Gzip),
        "zstd" => Ok(Compression::Zstd),
        _ => Err("is none of none, gzip, zstd".to_owned()),
    }
}

fn temporality(value: &str) -> Result<String, String> {
    let value = value.trim().to_ascii_lowercase();
    match value.as_str() {
        "cumulative" | "delta" | "lowmemory" => Ok(value),
        _ => Err("is none of cumulative, delta, lowmemory".to_owned()),
    }
}

fn histograms(value: &str) -> Result<bool, String> {
    match value.trim().to_ascii_lowercase().as_str() {
        "explicit_bucket_histogram" => Ok(false),
        "base2_exponential_bucket_histogram" => Ok(true),
        _ => Err("is neither explicit_bucket_histogram nor base2_exponential_bucket_histogram".to_owned()),
    }
}

fn level(value: &str) -> Result<Level, String> {
    match value.trim().to_ascii_lowercase().as_str() {
        "none" | "off" => Ok(Level::Off),
        "fatal" | "error" => Ok(Level::Error),
        "warn" | "warning" => Ok(Level::Warn),
        "info" => Ok(Level::Info),
        "debug" => Ok(Level::Debug),
        "verbose" | "trace" | "all" => Ok(Level::Trace),
        _ => Err("is none of none, error, warn, info, debug, trace".to_owned()),
    }
}

/// `key=value,key=value`, the values percent-encoded (W3C Baggage).
fn pairs(value: &str) -> Result<Vec<(String, String)>, String> {
    value
        .split(',')
        .filter(|pair| !pair.trim().is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').ok_or("has a part that is not key=value")?;
            let decode = |text: &str| {
                if !is_percent_encoded(text) {
                    return Err(
                        "has a % that is not followed by two hexadecimal digits; % itself is %25".to_owned()
                    );
                }
                percent_decode_str(text.trim())
                    .decode_utf8()
                    .map(std::borrow::Cow::into_owned)
                    .map_err(|_| "has a part that is not UTF-8 when decoded".to_owned())
            };
            let (key, value) = (decode(key)?, decode(value)?);
            if key.is_empty() { Err("has a part without a key".to_owned()) } else { Ok((key, value)) }
        })
        .collect()
}

/// Whether each `%` is followed by two hexadecimal digits (RFC 3986, section 2.1).
fn is_percent_encoded(text: &str) -> bool {
    let hexadecimal = |digits: &str| digits.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    text.split('%').skip(1).all(hexadecimal)
}

fn headers(value: &str) -> Result<Vec<(String, String)>, String> {
    let mut headers = pairs(value)?;
    for (name, value) in &mut headers {
        name.make_ascii_lowercase();
        headers::check_push(name, value)?;
    }
    Ok(headers)
}
