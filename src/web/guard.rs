//! Protection of the endpoint, configured by `--web.config.file`: TLS, passwords, a rate limit, and response headers.
//! Disabled without that file.
//!
//! The format of the file is that of Prometheus' exporter-toolkit (`docs/web-configuration.md` there).

use crate::self_metrics::ConfigLoadStatus;
use crate::stop::Stop;
use crate::sys::FileStamp;
use crate::text;
use config::{Headers, WebConfig};
use hyper::header::AUTHORIZATION;
use hyper::{Request, StatusCode};
use passwords::Passwords;
use rate::Limiter;
use std::fs::Metadata;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use tokio_rustls::TlsAcceptor;

pub mod config;
pub mod passwords;
pub mod rate;
pub mod tls;

/// The content of the file, parsed and loaded.
struct Rules {
    acceptor: Option<TlsAcceptor>,
    headers: Headers,
    passwords: Option<Passwords>,
    limiter: Option<Limiter>,
    /// Whether the file is blank.
    blank: bool,
}

impl Rules {
    /// Whether TLS or a password is required.
    fn protects(&self) -> bool {
        self.acceptor.is_some() || self.passwords.is_some()
    }

    /// Reads the file. Also returns the files that it depends on, as they were before they were read: what changes in between
    /// is read again.
    fn read(path: &Path) -> Result<(Self, Vec<Watched>), String> {
        let own = Watched::new(path.to_owned());
        let (config, named) = WebConfig::read(path)?;
        let files = std::iter::once(own).chain(named.into_iter().map(Watched::new)).collect();
        let acceptor = tls::acceptor(&config.tls_server_config, config.http_server_config.http2)
            .map_err(|why| unusable(path, &why))?;
        let passwords = Passwords::new(config.basic_auth_users).map_err(|why| unusable(path, &why))?;
        let limiter = config.rate_limit.limiter();
        let (headers, blank) = (config.http_server_config.headers, config.blank);
        Ok((Self { acceptor, headers, passwords, limiter, blank }, files))
    }
}

fn unusable(path: &Path, why: &str) -> String {
    format!("{}: {why}", path.display())
}

/// Protection of the endpoint. Reloads the file, and the files that it names, when they change.
pub struct Guard {
    path: PathBuf,
    rules: RwLock<Arc<Rules>>,
}

/// A file that the configuration depends on, as it was. A pipe, which changes while it is read and can be read once, has no stamp.
struct Watched {
    path: PathBuf,
    stamp: Option<FileStamp>,
}

impl Watched {
    fn new(path: PathBuf) -> Self {
        let stamp = Self::now(&path);
        Self { path, stamp }
    }

    fn now(path: &Path) -> Option<FileStamp> {
        std::fs::metadata(path).ok().filter(Metadata::is_file).map(|file| FileStamp::of(&file))
    }

    /// Whether it is another than before. Remembers it as it is now.
    fn has_changed(&mut self) -> bool {
        let now = Self::now(&self.path);
        std::mem::replace(&mut self.stamp, now) != now
    }
}

impl Guard {
    /// Validates the file and the files that it names. The error is one line that begins with a path.
    pub fn check(path: &Path) -> Result<(), String> {
        Rules::read(path).map(drop)
    }

    /// Loads the file, and reloads it on changes on a thread of its own until the agent stops. Records in `loads` whether it
    /// was refused.
    pub fn start(path: &Path, loads: &Arc<ConfigLoadStatus>, stop: &Stop) -> Result<Arc<Self>, String> {
        let (rules, mut files) = Rules::read(path)?;
        let guard = Arc::new(Self { path: path.to_owned(), rules: RwLock::new(Arc::new(rules)) });
        let (own, loads, stop) = (Arc::clone(&guard), Arc::clone(loads), stop.clone());
        let look = move || {
            // A refused file may name files that do not exist yet, so it is read again until it is accepted.
            let mut refused: Option<String> = None;
            while !stop.killed_within(super::timeouts::GUARD) {
                let changed = files.iter_mut().any(Watched::has_changed);
                if !changed && refused.is_none() {
                    continue;
                }
                let read = Rules::read(&own.path).and_then(|(rules, named)| {
                    // The file is empty while an editor rewrites it.
                    let lost = rules.blank && own.rules().protects();
                    let why = "it is empty; write `{}` to serve without TLS and users";
                    if lost { Err(unusable(&own.path, why)) } else { Ok((rules, named)) }
                });
                loads.note_web(read.is_err());
                match read {
                    Ok((rules, named)) => {
                        refused = None;
                        files = named;
                        *own.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
                        tracing::info!("the web configuration was reloaded");
                    }
                    Err(why) => {
                        if refused.as_ref() != Some(&why) {
                            tracing::error!(
                                "the web configuration is refused, the previous one stays in effect: {why}"
                            );
                        }
                        refused = Some(why);
                    }
                }
            }
        };
        let spawned = std::thread::Builder::new().name("web-config".to_owned()).spawn(look);
        spawned
            .map(|_| guard)
            .map_err(|error: io::Error| unusable(path, &format!("starting a thread: {error}")))
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// TLS, if configured.
    pub fn acceptor(&self) -> Option<TlsAcceptor> {
        self.rules().acceptor.clone()
    }

    /// Response headers.
    pub fn headers(&self) -> Headers {
        self.rules().headers.clone()
    }

    /// The status and text with which a request is refused; `None` if it is allowed. `/-/healthy` is always allowed.
    pub async fn refusal<B>(&self, request: &Request<B>) -> Option<(StatusCode, &'static str)> {
        if request.uri().path() == "/-/healthy" {
            return None;
        }
        let rules = self.rules();
        if rules.limiter.as_ref().is_some_and(|limiter| !limiter.allows()) {
            return Some((StatusCode::TOO_MANY_REQUESTS, "too many requests\n"));
        }
        let passwords = rules.passwords.as_ref()?;
        let given = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some((user, password)) = given.and_then(passwords::basic) else {
            return Some((StatusCode::UNAUTHORIZED, "user and password required\n"));
        };
        match passwords.verify(&user, password).await {
            Some(true) => None,
            Some(false) => {
                let user = text::bounded(&user, text::LONGEST_NAME);
                tracing::debug!(user, "wrong user or password");
                Some((StatusCode::UNAUTHORIZED, "wrong user or password\n"))
            }
            None => Some((StatusCode::SERVICE_UNAVAILABLE, "too many password checks in progress\n")),
        }
    }
}
