//! The filter of the settings, with the service names of this machine.

use super::config::Sockets as Settings;
use crate::filter::{Filter, FilterError, Services};

/// Maximum number of bytes read of `/etc/services`.
const SERVICES: u64 = 1024 * 1024;

/// Compiles the filter of the settings. Reads `/etc/services` if a port is a name.
pub fn filter(settings: &Settings) -> Result<Filter, FilterError> {
    let text = settings.filter.value.as_str();
    if text.is_empty() {
        return Ok(Filter::default());
    }
    text.parse().or_else(|_| {
        let services = crate::sys::read_limited("/etc/services", SERVICES).unwrap_or_default();
        Filter::parse(text, &Services::read(&services))
    })
}
