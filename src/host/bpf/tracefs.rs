//! Access to tracefs, in which tracepoints are found by name.

use crate::reading::SourceError;
use std::io::ErrorKind;

/// Mount points of tracefs.
const PLACES: [&str; 2] = ["/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"];

/// Checks that tracefs is mounted and accessible: its directories belong to root, mode 700.
///
/// # Errors
///
/// Tracefs is not mounted, or not accessible.
pub(super) fn readable() -> Result<(), SourceError> {
    let mut closed = None;
    for directory in PLACES {
        match std::fs::read_dir(directory) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => closed = closed.or(Some(error)),
            Err(_) => {}
        }
    }
    let doing = "looking for tracepoints in tracefs";
    if let Some(error) = closed {
        return Err(SourceError::denied(doing, "CAP_DAC_READ_SEARCH", error));
    }
    Err(SourceError::absent(doing, "none is mounted: mount -t tracefs tracefs /sys/kernel/tracing"))
}
