//! Validates that the agent would start with a configuration: the files that it names, and the listen addresses.

use super::{AgentError, cannot_listen, exports_nothing};
use crate::catalog::{Config, SOURCES};
use crate::config::{Address, Listen, Prometheus};
use crate::export::otlp;
use crate::web::guard::Guard;
use crate::web::listener::Bound;
use std::io::ErrorKind;
use tokio::runtime::Handle;

/// Reads every file of the configuration that could make a start fail: certificates, the web configuration, and target
/// files; validates [variables], too. The error names the file or the variable.
pub fn named_files(config: &Config) -> Result<(), AgentError> {
    variables(config)?;
    if !config.environment.disabled {
        otlp::check_files(&config.export.otlp).map_err(AgentError::Input)?;
    }
    if let Some(file) = &config.export.prometheus.web_config {
        Guard::check(file).map_err(AgentError::Input)?;
    }
    for spec in SOURCES.iter().filter(|spec| (spec.enabled)(&config.sources)) {
        (spec.files)(&config.sources).map_err(AgentError::Input)?;
    }
    Ok(())
}

/// Validates the variables that are read when the agent starts to push: those of a proxy.
pub fn variables(config: &Config) -> Result<(), AgentError> {
    if config.environment.disabled {
        return Ok(());
    }
    otlp::check_proxy(&config.export.otlp, &|name| std::env::var_os(name)).map_err(AgentError::Input)
}

/// Validates the settings that a reload does not apply, with which the next start would fail. Binds new listen addresses
/// for a moment.
pub(super) fn refuses(old: &Config, new: &Config, runtime: &Handle) -> Result<(), AgentError> {
    if let Some(why) = exports_nothing(new) {
        return Err(AgentError::Input(why.to_owned()));
    }
    let (old, new) = (&old.export.prometheus, &new.export.prometheus);
    if let Some(file) = new.web_config.as_ref().filter(|_| new.web_config != old.web_config) {
        Guard::check(file).map_err(AgentError::Input)?;
    }
    for address in new.listen.addresses().iter().filter(|address| !old.listen.addresses().contains(address)) {
        // The service manager passes sockets only at a start.
        if matches!(address, Address::Systemd(_)) {
            continue;
        }
        let alone = Prometheus { listen: Listen::from(address.clone()), ..new.clone() };
        match runtime.block_on(Bound::all(&alone, Vec::new())) {
            Err(error) if error.cause.kind() == ErrorKind::AddrInUse && has_port(&old.listen, address) => {}
            bound => drop(bound.map_err(cannot_listen)?),
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
