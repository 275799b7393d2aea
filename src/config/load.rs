//! Merging: flag, then `OTEL_*` variable, then file, then default. Nothing is opened here but the file itself.

use super::{Config, ConfigError, Export, Format, Level, Listen, Protocol, endpoint, environment, export};
use crate::metric::naming::Profile;
use crate::settings::{self, values};
use crate::source::Conflict;
use crate::source::list::{self, Catalog};
use crate::text;
use serde::de::DeserializeOwned;
use std::fmt::Write;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// What the command line sets; `None` leaves it to the rest.
#[derive(Debug, Default, Clone)]
pub struct Flags {
    /// `--otlp-endpoint`
    pub otlp_endpoint: Option<String>,
    /// `--otlp-protocol`
    pub otlp_protocol: Option<Protocol>,
    /// `--interval`
    pub interval: Option<String>,
    /// `--jitter`
    pub jitter: Option<String>,
    /// `--listen`, each time
    pub listen: Vec<String>,
    /// `--prometheus-naming`
    pub naming: Option<Profile>,
    /// `--web.enable-lifecycle`
    pub lifecycle: bool,
    /// `--web.config.file`
    pub web_config: Option<PathBuf>,
    /// Those of the sources, by their names with the dashes.
    pub sources: Vec<(&'static str, String)>,
    /// `--log-format`
    pub format: Option<Format>,
    /// `--log-level`
    pub level: Option<Level>,
}

impl Flags {
    /// The flags that take a text, each with its name and the dashes.
    fn texts(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let once = [
            ("--otlp-endpoint", &self.otlp_endpoint),
            ("--interval", &self.interval),
            ("--jitter", &self.jitter),
        ];
        let once = once.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        let listen = self.listen.iter().map(|value| ("--listen", value.as_str()));
        once.chain(listen).chain(self.sources.iter().map(|(name, value)| (*name, value.as_str())))
    }
}

impl<S: Catalog> Config<S> {
    /// Merges the file, the variables that `variable` knows, and the flags.
    pub fn load(
        file: Option<&Path>,
        variable: &dyn Fn(&str) -> Option<String>,
        flags: &Flags,
    ) -> Result<Self, ConfigError> {
        let mut config = match file {
            None => Self::default(),
            Some(path) => Self::parse(&read(path)?, path)?,
        };
        config.file = file.and_then(|file| std::path::absolute(file).ok());
        environment::apply(&mut config, variable)?;
        config.apply(flags)?;
        config.settle(file)?;
        Ok(config)
    }

    /// Reads the text of a configuration file; `path` is for the error.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        document(text, path).map(|config: Option<Self>| {
            let mut config = config.unwrap_or_default();
            // Written out or not, the default is the default of whatever protocol is spoken in the end.
            let endpoint = &mut config.export.otlp.endpoint;
            if endpoint.as_deref() == Some(endpoint::DEFAULT_GRPC) {
                *endpoint = None;
            }
            config
        })
    }

    fn apply(&mut self, flags: &Flags) -> Result<(), ConfigError> {
        let Export { otlp, prometheus } = &mut self.export;
        let bad = |flag, value: &str, message| {
            let value = text::bounded(value, text::LONGEST_NAME);
            ConfigError::Flag { flag, value, message }
        };
        if let Some((flag, value)) = flags.texts().find(|(_, value)| value.len() > values::LONGEST_TEXT) {
            let message = format!("has {} bytes; a flag takes {} at most", value.len(), values::LONGEST_TEXT);
            return Err(bad(flag, &endpoint::shown(value), message));
        }
        if let Some(value) = &flags.otlp_endpoint {
            let endpoint = endpoint::check(value);
            otlp.endpoint =
                Some(endpoint.map_err(|message| bad("--otlp-endpoint", &endpoint::shown(value), message))?);
            self.environment.endpoint_as_is = false;
        }
        if let Some(value) = &flags.interval {
            let interval = values::duration(value, export::INTERVAL);
            otlp.interval = interval.map_err(|message| bad("--interval", value, message))?;
        }
        if let Some(value) = &flags.jitter {
            let jitter = values::duration(value, export::JITTER);
            otlp.jitter = Some(jitter.map_err(|message| bad("--jitter", value, message))?);
        }
        if !flags.listen.is_empty() {
            let listen = Listen::of(&flags.listen);
            prometheus.listen =
                listen.map_err(|message| ConfigError::Together { key: "--listen", message })?;
        }
        for (name, value) in &flags.sources {
            list::set_flag(S::SOURCES, &mut self.sources, name, value)
                .map_err(|message| bad(name, value, message))?;
        }
        otlp.protocol = flags.otlp_protocol.unwrap_or(otlp.protocol);
        prometheus.naming = flags.naming.unwrap_or(prometheus.naming);
        prometheus.lifecycle |= flags.lifecycle;
        prometheus.web_config = flags.web_config.clone().or(prometheus.web_config.take());
        self.log.format = flags.format.unwrap_or(self.log.format);
        self.log.level = flags.level.unwrap_or(self.log.level);
        Ok(())
    }

    /// Fills in what follows from the rest, and refuses what does not go together.
    fn settle(&mut self, file: Option<&Path>) -> Result<(), ConfigError> {
        let otlp = &mut self.export.otlp;
        let tls = &otlp.tls;
        if tls.cert_file.is_some() != tls.key_file.is_some() {
            return Err(ConfigError::Together {
                key: "export.otlp.tls",
                message: "cert_file and key_file are set together or not at all".to_owned(),
            });
        }
        for spec in S::SOURCES.iter().filter(|spec| (spec.enabled)(&self.sources)) {
            if let Some(Conflict { key, message, position }) = (spec.conflict)(&self.sources) {
                return Err(match (position, file) {
                    (Some((line, column)), Some(path)) => ConfigError::File {
                        path: path.to_owned(),
                        line,
                        column,
                        key: key.to_owned(),
                        message,
                    },
                    _ => ConfigError::Together { key, message },
                });
            }
        }
        let insecure = self.environment.insecure;
        let as_is = self.environment.endpoint_as_is;
        let endpoint = endpoint::settle(otlp.endpoint.take(), otlp.protocol, insecure, as_is);
        otlp.endpoint =
            Some(endpoint.map_err(|message| ConfigError::Together { key: "export.otlp.endpoint", message })?);
        Ok(())
    }

    /// The effective configuration as YAML, as `connscope config` prints it. The values of headers and the query of
    /// the endpoint are secrets more often than not and are left out.
    pub fn print(&self) -> String {
        let mut shown = self.clone();
        for value in shown.export.otlp.headers.values_mut() {
            values::HIDDEN.clone_into(value);
        }
        let endpoint = shown.export.otlp.endpoint.take();
        shown.export.otlp.endpoint = endpoint.as_deref().map(endpoint::shown);
        for spec in S::SOURCES {
            (spec.hide)(&mut shown.sources);
        }
        let mut text = self.environment.comment();
        match serde_saphyr::to_string(&shown) {
            Ok(yaml) => text.push_str(&yaml),
            Err(error) => {
                let _infallible = writeln!(text, "# cannot be printed: {error}");
            }
        }
        text
    }
}

/// More than any configuration; what is larger is another file.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Reads a configuration file as text, up to the largest size taken.
pub(crate) fn read(path: &Path) -> Result<String, ConfigError> {
    let text = crate::sys::read_limited(path, MAX_FILE_BYTES + 1).and_then(|text| {
        let small = text.len() as u64 <= MAX_FILE_BYTES;
        small.then_some(text).ok_or_else(|| std::io::Error::other("it is larger than 1 MiB"))
    });
    text.map_err(|cause| ConfigError::Unreadable { path: path.to_owned(), cause })
}

/// Refuses a named pipe where a file is read while the agent runs: it would be waited for until somebody writes to it.
pub(crate) fn refuse_pipe(path: &Path) -> Result<(), ConfigError> {
    if std::fs::metadata(path).is_ok_and(|file| file.file_type().is_fifo()) {
        let cause = std::io::Error::other("it is a named pipe, which is not read again");
        return Err(ConfigError::Unreadable { path: path.to_owned(), cause });
    }
    Ok(())
}

/// The one document of a YAML text, `None` where it has nothing in it; `path` is for the error.
pub(crate) fn document<T: DeserializeOwned>(text: &str, path: &Path) -> Result<Option<T>, ConfigError> {
    settings::document(text, settings::Limits::default()).map_err(|error| {
        let (line, column) = error.position();
        let key = error.key().unwrap_or_else(|| "the file".to_owned());
        ConfigError::File { path: path.to_owned(), line, column, key, message: error.message().to_owned() }
    })
}
