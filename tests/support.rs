//! What the tests share: network namespaces of their own, the agent as a process (`agent`), a `conntrack` that says what it is
//! told to, and a minimal HTTP client.

use connscope::sys::namespace;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

#[path = "support/agent.rs"]
pub(crate) mod agent;
#[path = "support/allocations.rs"]
pub(crate) mod allocations;
#[path = "support/authority.rs"]
pub(crate) mod authority;
#[path = "support/browser.rs"]
pub(crate) mod browser;
#[path = "support/engine.rs"]
pub(crate) mod engine;
#[path = "support/kept.rs"]
mod kept;
#[path = "support/maps.rs"]
pub(crate) mod maps;
#[path = "support/receiver.rs"]
pub(crate) mod receiver;
#[path = "support/seccomp.rs"]
pub(crate) mod seccomp;
#[path = "support/table.rs"]
pub(crate) mod table;
#[path = "support/window.rs"]
pub(crate) mod window;

pub(crate) use agent::{Agent, command, connscope, scraped};
pub(crate) use kept::Kept;

/// How long anything is waited for before a test gives up. Much more than it takes, also where the machine has other
/// work.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A network namespace that lasts as long as this does. No name, no mount: nothing is left behind, whatever happens.
pub(crate) struct Namespace {
    file: OwnedFd,
}

impl Namespace {
    /// Makes one with loopback up and connection tracking on. `None` where this process may not; in CI it must.
    pub(crate) fn new() -> Option<Self> {
        let Some(file) = Self::bare() else {
            let why = "needs CAP_SYS_ADMIN to make a network namespace: run it as root or under unshare -Urn";
            skipped(why);
            return None;
        };
        let namespace = Self { file };
        namespace.run("ip", &["link", "set", "lo", "up"]);
        namespace.run(
            "nft",
            &["add table inet t; add chain inet t o { type filter hook output priority 0; }; \
               add rule inet t o ct state new accept"],
        );
        Some(namespace)
    }

    /// The file of a new one in which nothing is done, not even loopback up.
    pub(crate) fn bare() -> Option<OwnedFd> {
        let unshared = std::thread::spawn(|| {
            unshare().ok()?;
            namespace::open(Path::new("/proc/thread-self/ns/net")).ok()
        });
        unshared.join().unwrap()
    }

    /// Does something inside.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    namespace::enter(&self.file).unwrap();
                    work()
                })
                .join()
                .unwrap()
        })
    }

    /// Runs a program inside, which must succeed; what it printed.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.inside(|| Command::new(program).args(arguments).output());
        let output =
            output.unwrap_or_else(|error| panic!("{program} is needed (make test installs it): {error}"));
        assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A path to it, for this process and its children.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
    }

    /// The kernel's number of it, as `/proc/self/ns/net` shows it.
    pub(crate) fn inode(&self) -> u64 {
        namespace::file_identity(Path::new(&self.path())).unwrap().1
    }
}

/// Says that a test could not run, where it is seen: what a test prints with `eprintln` is shown only if it fails.
#[expect(clippy::explicit_write, reason = "eprintln is captured, this is not")]
pub(crate) fn skipped(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "in CI nothing is skipped: {why}");
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    writeln!(std::io::stderr(), "SKIPPED: {name}: {why}").unwrap();
}

#[expect(unsafe_code, reason = "the tests make the namespaces they work in")]
fn unshare() -> std::io::Result<()> {
    // SAFETY: unshare takes no pointers; with CLONE_NEWNET it changes the calling thread and nothing else.
    match unsafe { libc::unshare(libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// A program for `--conntrack-command`, in a folder that goes with it.
pub(crate) struct Script {
    folder: tempfile::TempDir,
}

impl Script {
    /// A shell script; `$DIR` is its folder.
    pub(crate) fn new(body: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("conntrack");
        let text = format!("#!/bin/sh\nDIR={}\n{body}\n", folder.path().display());
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    /// One that prints a text and ends well.
    pub(crate) fn printing(text: &str) -> Self {
        let script = Self::new("cat $DIR/output");
        std::fs::write(script.file("output"), text).unwrap();
        script
    }

    /// The program.
    pub(crate) fn path(&self) -> String {
        self.file("conntrack").display().to_string()
    }

    /// A file in its folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The sample of the first README of the exporter that the classic profile stands in for, with its four CPUs.
pub(crate) const FOUR_CPUS: &str = "\
cpu=0   \tfound=13 invalid=11258 ignore=100 insert=1 insert_failed=2 drop=3 early_drop=4 error=5 search_restart=76531 
cpu=1   \tfound=6 invalid=10298 ignore=101 insert=6 insert_failed=7 drop=8 early_drop=9 error=10 search_restart=64577 
cpu=2   \tfound=16 invalid=17439 ignore=102 insert=11 insert_failed=12 drop=13 early_drop=14 error=2 search_restart=75364 
cpu=3   \tfound=15 invalid=12065 ignore=103 insert=0 insert_failed=0 drop=0 early_drop=0 error=0 search_restart=66740 
";

/// The JSON Schema of the configuration file.
pub(crate) fn schema() -> serde_json::Value {
    serde_json::from_str(connscope::config::schema::SCHEMA).unwrap()
}

/// `GET path`: status and body.
pub(crate) fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let (status, _, body) = request(address, "GET", path);
    (status, body)
}

/// One request over HTTP/1.0: status, headers and body.
pub(crate) fn request(address: SocketAddr, method: &str, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: test\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), body.to_owned())
}

/// The value of a series in an exposition, by its name and labels as printed.
pub(crate) fn sample(exposition: &str, series: &str) -> Option<f64> {
    exposition.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < until, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `getsockopt(TCP_INFO)`: as much of it as the kernel has.
#[expect(unsafe_code, reason = "no safe crate has this option whole")]
pub(crate) fn tcp_info(socket: &TcpStream) -> Vec<u8> {
    let mut info = vec![0u8; 512];
    let mut length = libc::socklen_t::try_from(info.len()).unwrap();
    // SAFETY: the pointers are to `info`, as long as `length` says, and to `length`, and both outlive the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    info.truncate(length.try_into().unwrap());
    info
}
