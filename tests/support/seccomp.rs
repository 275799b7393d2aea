//! The syscall filter of a systemd unit, as systemd makes it of `SystemCallFilter=`: the sets are asked of systemd-analyze, the numbers
//! of the kernel's header, and a program is started behind the filter. And system calls of a thread that fail as often as a test wants.

use super::agent::behind;
use rustix::event::{PollFd, PollFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// Installs a filter of `seccomp(2)` from a file, and becomes the rest of its arguments.
const INSTALL: &str = r#"
open my $file, "<:raw", shift or die $!; local $/; my $filter = <$file>;
my ($prctl) = splice @ARGV, 0, 1;
my $program = pack "S x![P] P", length($filter) / 8, $filter;
syscall($prctl + 0, 38, 1, 0, 0, 0) == 0 or die "no_new_privs: $!";
syscall($prctl + 0, 22, 2, $program, 0, 0) == 0 or die "seccomp: $!";
exec @ARGV or die $!;
"#;

/// The sets of system calls that systemd knows, each with its names and other sets.
fn sets() -> Option<BTreeMap<String, Vec<String>>> {
    let output = Command::new("systemd-analyze").args(["syscall-filter", "--no-pager"]).output().ok()?;
    let mut sets: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = String::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let name = line.trim().trim_start_matches("\u{1b}[0;1;39m").to_owned();
        if line.starts_with('@') {
            current = name;
        } else if !name.is_empty() && !name.starts_with('#') && !current.is_empty() {
            sets.entry(current.clone()).or_default().push(name);
        }
    }
    Some(sets)
}

fn expand(name: &str, sets: &BTreeMap<String, Vec<String>>, into: &mut BTreeSet<String>) {
    if !name.starts_with('@') {
        into.insert(name.to_owned());
        return;
    }
    for inner in sets.get(name).unwrap_or_else(|| panic!("systemd knows no {name}")) {
        expand(inner, sets, into);
    }
}

/// The system calls that are allowed by lines `SystemCallFilter=`, each adding or, with `~`, taking away; `None` where systemd-analyze
/// is missing. `@default` always is among them (`systemd.exec(5)`).
pub(crate) fn allowed(filters: &[String]) -> Option<BTreeSet<String>> {
    let sets = sets()?;
    let mut allowed = BTreeSet::new();
    expand("@default", &sets, &mut allowed);
    for filter in filters {
        let (takes, names) = filter.strip_prefix('~').map_or((false, filter.as_str()), |names| (true, names));
        let mut named = BTreeSet::new();
        names.split_ascii_whitespace().for_each(|name| expand(name, &sets, &mut named));
        if takes {
            allowed.retain(|name| !named.contains(name));
        } else {
            allowed.extend(named);
        }
    }
    Some(allowed)
}

/// Numbers of system calls by name, on this architecture.
fn numbers() -> BTreeMap<String, u32> {
    let compiled = Command::new("cc")
        .args(["-E", "-dM", "-x", "c", "-include", "asm/unistd.h", "/dev/null"])
        .output()
        .expect("cc, which built this");
    let text = String::from_utf8(compiled.stdout).unwrap();
    let number = |line: &str| {
        let (name, number) = line.strip_prefix("#define __NR_")?.split_once(' ')?;
        Some((name.to_owned(), number.trim().parse().ok()?))
    };
    text.lines().filter_map(number).collect()
}

/// A program of classic BPF that allows these and answers the others with `EPERM`, as `SystemCallErrorNumber=EPERM` has it.
fn filter(allowed: &BTreeSet<String>, numbers: &BTreeMap<String, u32>) -> Vec<u8> {
    const LOAD: u16 = 0x20;
    const EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    const ERRNO: u32 = 0x0005_0000;
    let mut program = Vec::new();
    let mut push = |code: u16, yes: u8, no: u8, value: u32| {
        program.extend(code.to_ne_bytes());
        program.extend([yes, no]);
        program.extend(value.to_ne_bytes());
    };
    // `struct seccomp_data` begins with the number.
    push(LOAD, 0, 0, 0);
    for number in allowed.iter().filter_map(|name| numbers.get(name)) {
        push(EQUAL, 0, 1, *number);
        push(RETURN, 0, 0, ALLOW);
    }
    push(RETURN, 0, 0, ERRNO | rustix::io::Errno::PERM.raw_os_error().unsigned_abs());
    program
}

/// A program behind the filter of these lines, and the file that has to stay while it starts; `None` where a tool is missing.
pub(crate) fn filtered(filters: &[String], program: &Command) -> Option<(Command, tempfile::NamedTempFile)> {
    let numbers = numbers();
    let bytes = filter(&allowed(filters)?, &numbers);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&bytes).unwrap();
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let prctl = numbers["prctl"].to_string();
    let command = behind(&["perl", "-e", INSTALL, file.path().to_str().unwrap(), &prctl], program);
    Some((command, file))
}

/// Does something in a thread whose first calls of a command of `bpf(2)` fail with an error; the later ones reach the kernel.
pub(crate) fn failing_bpf<T: Send>(
    command: u32,
    failures: u32,
    error: i32,
    work: impl FnOnce() -> T + Send,
) -> T {
    std::thread::scope(|scope| {
        let (sender, receiver) = std::sync::mpsc::channel();
        scope.spawn(move || supervise(&receiver.recv().unwrap(), failures, error));
        let worker = scope.spawn(move || {
            sender.send(notify_of(command)).unwrap();
            work()
        });
        worker.join().unwrap()
    })
}

/// Has the kernel ask the returned listener about each call of this command in this thread, and in those that it starts.
#[expect(unsafe_code, reason = "a system call that no safe wrapper offers")]
fn notify_of(command: u32) -> OwnedFd {
    const LOAD: u16 = 0x20;
    const EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    const USER_NOTIF: u32 = 0x7fc0_0000;
    let instruction = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    // `struct seccomp_data` has the number at 0, and the first argument at 16.
    let mut program = [
        instruction(LOAD, 0, 0, 0),
        instruction(EQUAL, 0, 3, u32::try_from(libc::SYS_bpf).unwrap()),
        instruction(LOAD, 0, 0, if cfg!(target_endian = "little") { 16 } else { 20 }),
        instruction(EQUAL, 0, 1, command),
        instruction(RETURN, 0, 0, USER_NOTIF),
        instruction(RETURN, 0, 0, ALLOW),
    ];
    let program = libc::sock_fprog { len: program.len().try_into().unwrap(), filter: program.as_mut_ptr() };
    let (set_filter, new_listener) = (1, 8);
    // SAFETY: the kernel copies the program, which is as long as is said. Without TSYNC the call changes this thread only.
    let listener = unsafe { libc::syscall(libc::SYS_seccomp, set_filter, new_listener, &raw const program) };
    assert!(listener >= 0, "seccomp: {}", std::io::Error::last_os_error());
    // SAFETY: the kernel has just opened it for the caller.
    unsafe { OwnedFd::from_raw_fd(listener.try_into().unwrap()) }
}

/// Answers what the listener is asked until the threads behind it have ended.
#[expect(unsafe_code, reason = "requests that no safe wrapper offers")]
fn supervise(listener: &OwnedFd, mut failures: u32, error: i32) {
    // `SECCOMP_IOCTL_NOTIF_RECV` and `_SEND`, and what they take, of include/uapi/linux/seccomp.h.
    const RECEIVE: libc::c_ulong = 0xc050_2100;
    const SEND: libc::c_ulong = 0xc018_2101;
    const CONTINUE: u32 = 1;
    #[repr(C)]
    struct Response {
        id: u64,
        value: i64,
        error: i32,
        flags: u32,
    }
    loop {
        let mut ready = [PollFd::new(listener, PollFlags::IN)];
        rustix::event::poll(&mut ready, None).unwrap();
        if !ready[0].revents().contains(PollFlags::IN) {
            return;
        }
        let mut asked = [0_u64; 10];
        // SAFETY: `struct seccomp_notif` is 80 bytes long, of which the first eight are the id.
        let received = unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE as _, asked.as_mut_ptr()) };
        if received < 0 {
            continue;
        }
        let fails = failures > 0;
        failures -= u32::from(fails);
        let (error, flags) = if fails { (-error, 0) } else { (0, CONTINUE) };
        let response = Response { id: asked[0], value: 0, error, flags };
        // SAFETY: `Response` is `struct seccomp_notif_resp`.
        unsafe { libc::ioctl(listener.as_raw_fd(), SEND as _, &raw const response) };
    }
}
