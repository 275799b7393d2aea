//! How the time of a shutdown is divided among the parts of the agent, and how often waits check for it. Other time-outs are
//! in the folder of the part that waits.

use std::time::Duration;

/// How often a wait checks whether the agent is stopping.
pub const GLANCE: Duration = Duration::from_millis(50);

/// From the signal to the end of the last cycle. The whole of stopping is to take less than 5 s.
pub const DRAIN: Duration = Duration::from_millis(1500);

/// From the signal to the end of the last export, retries included.
pub const LAST_EXPORT: Duration = Duration::from_millis(3500);

/// From the signal to the end of everything.
pub const EXIT: Duration = Duration::from_millis(4200);

/// From the signal to the end of the process where something did not end by itself.
pub const FORCED_EXIT: Duration = Duration::from_millis(4800);

/// How long a killed child process may take to exit.
pub const REAP: Duration = Duration::from_millis(300);
