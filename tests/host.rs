//! What several sources need to know of the machine: its network namespaces, what their containers are called, and whose a
//! socket is.

mod cgroup;
mod cgroup_paths;
mod containers;
mod netns;
mod process;

use rustix::thread::{CapabilitySet, UnshareFlags, capabilities, set_capabilities};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

const A: &str = "4f797c539e6c745de61a93ca3ff892358ecbcaccd8414d5db545c38428142970";

/// A process that holds a socket as its standard input and does nothing.
struct Sleeper(Child);

impl Sleeper {
    fn new(socket: impl Into<OwnedFd>) -> Self {
        Self::start(Command::new("sleep").arg("600").stdin(Stdio::from(socket.into())))
    }

    fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Gives every beginning of a text to a parser.
fn every_beginning(text: &str, parse: impl Fn(&str)) {
    for (end, _) in text.char_indices() {
        parse(text.get(..end).unwrap());
    }
}

/// Does something on a thread that has a view of the file systems of its own.
fn with_mounts_of_its_own<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let work = || {
            unshare_mounts().ok()?;
            let private = Command::new("mount").args(["--make-rprivate", "/"]).status().ok()?.success();
            private.then(work)
        };
        scope.spawn(work).join().unwrap()
    })
}

#[expect(unsafe_code, reason = "the tests make the namespaces they work in")]
fn unshare_mounts() -> rustix::io::Result<()> {
    // SAFETY: the thread gets a working directory and mounts of its own; it shares its descriptors as before.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
}

fn mount(arguments: &[&str], directory: &Path) -> bool {
    Command::new("mount").args(arguments).arg(directory).stderr(Stdio::null()).status().unwrap().success()
}

/// Does something on a thread without some capabilities.
pub(crate) fn without<T: Send>(dropped: CapabilitySet, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let work = || {
            let mut sets = capabilities(None).unwrap();
            sets.effective.remove(dropped);
            sets.permitted.remove(dropped);
            sets.inheritable.remove(dropped);
            set_capabilities(None, sets).unwrap();
            work()
        };
        scope.spawn(work).join().unwrap()
    })
}
