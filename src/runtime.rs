//! Runtimes: each is driven by one thread, and none shares its blocking work with another.
//!
//! Blocking work (name lookups, files) goes to a pool of the runtime's own. tokio panics where the first thread of a pool
//! cannot be started; so that one is started with the runtime and stays, and what finds no further thread waits for it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Longer than any agent runs.
const FOR_EVER: Duration = Duration::from_hours(24 * 365 * 100);

/// A runtime for the thread that drives it. `blocking` is the name of the threads of its pool, of which there are at most
/// `most`; none, and nothing that blocks may be given to it, where `most` is 0.
pub fn of_one_thread(blocking: &str, most: usize) -> io::Result<Runtime> {
    let mut builder = Builder::new_current_thread();
    builder.enable_all();
    if most == 0 {
        return builder.build();
    }
    builder.thread_name(blocking).max_blocking_threads(most).thread_keep_alive(FOR_EVER);
    let runtime = builder.build()?;
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let started = catch_unwind(AssertUnwindSafe(|| runtime.spawn_blocking(|| {})));
    std::panic::set_hook(hook);
    // The panic says why only in words; there is no other reason than this one.
    started.map_err(|_| io::Error::from_raw_os_error(rustix::io::Errno::AGAIN.raw_os_error()))?;
    Ok(runtime)
}
