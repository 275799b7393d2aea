//! Which sockets are read: the filter of the settings, with the names of services that this machine has.

use super::config::Sockets as Settings;
use crate::filter::{Filter, FilterError, Services};

/// As much of `/etc/services` is read.
const SERVICES: u64 = 1024 * 1024;

/// The filter of these settings. `/etc/services` is read where a port is no number.
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
