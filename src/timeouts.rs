//! How the time of a stop is divided among the parts of the agent, and how often a wait looks for it. What one part alone waits
//! for is in its folder.

use std::time::Duration;

/// How often a wait looks whether the agent is stopping.
pub const GLANCE: Duration = Duration::from_millis(50);

/// From the signal to the end of the last cycle. The whole of stopping is to take less than 5 s.
pub const DRAIN: Duration = Duration::from_millis(1500);

/// From the signal to the end of the last export, retries included.
pub const LAST_EXPORT: Duration = Duration::from_millis(3500);

/// From the signal to the end of everything.
pub const EXIT: Duration = Duration::from_millis(4200);

/// From the signal to the end of the process where something did not end by itself.
pub const FORCED_EXIT: Duration = Duration::from_millis(4800);

/// How long a killed child may take to be gone.
pub const REAP: Duration = Duration::from_millis(300);
