//! Runtimes: each is driven by one thread, and none shares its blocking work with another.
//!
//! Blocking work (name lookups, files) goes to a pool of the runtime's own. tokio panics where the first thread of a pool
//! cannot be started; so that one is started with the runtime and stays, and what finds no further thread waits for it.

use rustix::io::Errno;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

pub mod lookup;

/// Longer than any agent runs.
const FOR_EVER: Duration = Duration::from_hours(24 * 365 * 100);

/// A runtime for the thread that drives it. `blocking` is the name of the threads of its pool, of which there are at most
/// `most`; none, and nothing that blocks may be given to it, where `most` is 0.
pub fn of_one_thread(blocking: &str, most: usize) -> io::Result<Runtime> {
    let mut builder = Builder::new_current_thread();
    if most == 0 {
        return build(&mut builder);
    }
    builder.thread_name(blocking).max_blocking_threads(most).thread_keep_alive(FOR_EVER);
    let runtime = build(&mut builder)?;
    or_refused(Errno::AGAIN, || runtime.spawn_blocking(|| {}))?;
    Ok(runtime)
}

/// The first runtime makes a pair of sockets for the signals of all, without which tokio panics.
fn build(builder: &mut Builder) -> io::Result<Runtime> {
    or_refused(Errno::MFILE, || builder.enable_all().build())?
}

/// The result of a function of tokio that panics where the kernel refuses something to it, for which there is one reason
/// only: the panic says it only in words.
fn or_refused<T>(reason: Errno, function: impl FnOnce() -> T) -> io::Result<T> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = catch_unwind(AssertUnwindSafe(function));
    std::panic::set_hook(hook);
    result.map_err(|_| io::Error::from_raw_os_error(reason.raw_os_error()))
}
