//! Validates that the agent would start with a configuration: the files that it names, and the listen addresses.

use super::{AgentError, cannot_listen, exports_nothing};
use crate::catalog::{Config, SOURCES};
use crate::config::{Address, Listen, Prometheus};
use crate::export::otlp;
use crate::stop::Stop;
use crate::web::guard::Guard;
use crate::web::listener::{self, Bound};
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;
use tokio::runtime::Handle;

/// Refuses a configuration with which a start would fail, whatever the addresses: one that exports nothing, and one that
/// names a file that cannot be used (certificates, the web configuration, target files); validates [variables], too. The
/// error names the file or the variable.
pub fn check(config: &Config) -> Result<(), AgentError> {
    if let Some(why) = exports_nothing(config) {
        return Err(AgentError::Input(why.to_owned()));
    }
    variables(config)?;
    if !config.environment.disabled {
        otlp::check_files(&config.export.otlp).map_err(AgentError::Input)?;
    }
    if let Some(file) = web_config(config) {
        Guard::check(file).map_err(AgentError::Input)?;
    }
    for spec in SOURCES.iter().filter(|spec| (spec.enabled)(&config.sources)) {
        (spec.files)(&config.sources).map_err(AgentError::Input)?;
    }
    Ok(())
}

/// The web configuration, if there is an endpoint that it is for.
pub(super) fn web_config(config: &Config) -> Option<&Path> {
    let Prometheus { listen, web_config, .. } = &config.export.prometheus;
    web_config.as_deref().filter(|_| !listen.is_off())
}

/// Validates the variables that are read when the agent starts to push: those of a proxy.
pub fn variables(config: &Config) -> Result<(), AgentError> {
    if config.environment.disabled {
        return Ok(());
    }
    otlp::check_proxy(&config.export.otlp, &|name| std::env::var_os(name)).map_err(AgentError::Input)
}

/// Refuses a configuration with which the next start would fail, whether or not a reload applies what is wrong. Binds new
/// listen addresses for a moment. `handed_over` are the names of the sockets that the service manager has passed. Names of
/// addresses are looked up until the agent stops.
pub(super) fn refuses(
    old: &Config,
    new: &Config,
    handed_over: &[String],
    runtime: &Handle,
    stop: &Stop,
) -> Result<(), AgentError> {
    check(new)?;
    let (old, new) = (&old.export.prometheus, &new.export.prometheus);
    listener::check_handed_over(&new.listen, handed_over).map_err(cannot_listen)?;
    let own = old.listen.addresses();
    // Held until all of them are bound: they may exclude each other.
    let mut held = Vec::new();
    for address in new.listen.addresses().iter().filter(|address| !own.contains(address)) {
        if matches!(address, Address::Systemd(_)) {
            continue;
        }
        let alone = Prometheus { listen: Listen::from(address.clone()), ..new.clone() };
        let bound = runtime.block_on(async {
            tokio::select! {
                bound = Bound::all(&alone, Vec::new()) => Some(bound),
                () = stop.exhausted(Duration::ZERO) => None,
            }
        });
        let Some(bound) = bound else { return Err(AgentError::Failed("the agent is stopping".to_owned())) };
        match bound {
            Err(error) if error.cause.kind() == ErrorKind::AddrInUse && has_port(&old.listen, address) => {}
            bound => held.push(bound.map_err(cannot_listen)?),
        }
    }
    Ok(())
}

/// Whether the agent itself listens on the port, so that it is free at the next start.
fn has_port(listen: &Listen, address: &Address) -> bool {
    let port = |address: &Address| match address {
        Address::At { port, .. } => Some(*port),
        _ => None,
    };
    listen.addresses().iter().any(|own| port(own).is_some() && port(own) == port(address))
}
