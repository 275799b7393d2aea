//! The syscall filter of a systemd unit, as systemd makes it of `SystemCallFilter=`, `RestrictAddressFamilies=`, `RestrictNamespaces=` and
//! `MemoryDenyWriteExecute=`: the sets are asked of systemd-analyze, the numbers of the kernel's header, and a program is started
//! behind the filter. And system calls of a thread that fail as often as a test wants.

use super::agent::behind;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
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

/// What follows `Key=` in lines of a unit, by words.
fn words<'a>(lines: &'a [String], key: &str) -> Vec<&'a str> {
    let values = lines.iter().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.flat_map(str::split_ascii_whitespace).collect()
}

/// The system calls that are allowed by lines `SystemCallFilter=` of a unit, each adding or, with `~`, taking away; `None` where
/// systemd-analyze is missing. `@default` always is among them (`systemd.exec(5)`).
pub(crate) fn allowed(lines: &[String]) -> Option<BTreeSet<String>> {
    let sets = sets()?;
    let mut allowed = BTreeSet::new();
    expand("@default", &sets, &mut allowed);
    for filter in lines.iter().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        let (takes, names) = filter.strip_prefix('~').map_or((false, filter), |names| (true, names));
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

/// When a system call is refused because of an argument.
enum Refused {
    /// One of these bits is set.
    Any(u32),
    /// All of these bits are set.
    All(u32),
    /// It is this.
    Is(u32),
    /// It is none of these.
    NoneOf(Vec<u32>),
}

/// A system call that is refused because of an argument, and with which error.
type Rule = (&'static str, u32, Refused, Errno);

/// The families and their numbers in `include/linux/socket.h`.
const FAMILIES: [(&str, u32); 4] = [("AF_UNIX", 1), ("AF_INET", 2), ("AF_INET6", 10), ("AF_NETLINK", 16)];

/// The namespaces and their flags in `include/uapi/linux/sched.h`.
const NAMESPACES: [(&str, u32); 7] = [
    ("mnt", 0x2_0000),
    ("cgroup", 0x200_0000),
    ("uts", 0x400_0000),
    ("ipc", 0x800_0000),
    ("user", 0x1000_0000),
    ("pid", 0x2000_0000),
    ("net", 0x4000_0000),
];

/// What a unit refuses by arguments, as `seccomp-util.c` of systemd does.
fn rules(lines: &[String]) -> Vec<Rule> {
    let mut rules = Vec::new();
    let families = words(lines, "RestrictAddressFamilies");
    if !families.is_empty() {
        let number = |name: &&str| FAMILIES.iter().find(|(known, _)| known == name).unwrap().1;
        let numbers = families.iter().map(number).collect();
        rules.push(("socket", 0, Refused::NoneOf(numbers), Errno::AFNOSUPPORT));
    }
    if words(lines, "MemoryDenyWriteExecute").last() == Some(&"yes") {
        let (write_and_execute, execute, shared_execute) = (2 | 4, 4, 0o100_000);
        rules.push(("mmap", 2, Refused::All(write_and_execute), Errno::PERM));
        rules.push(("mprotect", 2, Refused::Any(execute), Errno::PERM));
        rules.push(("pkey_mprotect", 2, Refused::Any(execute), Errno::PERM));
        rules.push(("shmat", 2, Refused::Any(shared_execute), Errno::PERM));
    }
    let namespaces = words(lines, "RestrictNamespaces");
    if !namespaces.is_empty() {
        let refused = NAMESPACES.iter().filter(|(name, _)| !namespaces.contains(name));
        let flags = refused.fold(0, |flags, (_, flag)| flags | flag);
        rules.push(("unshare", 0, Refused::Any(flags), Errno::PERM));
        rules.push(("clone", 0, Refused::Any(flags), Errno::PERM));
        // Its flags are in memory, where no filter sees them.
        rules.push(("clone3", 0, Refused::NoneOf(Vec::new()), Errno::NOSYS));
        rules.push(("setns", 1, Refused::Is(0), Errno::PERM));
        rules.push(("setns", 1, Refused::Any(flags), Errno::PERM));
    }
    rules
}

/// Numbers of system calls by name, on this architecture.
pub(crate) fn numbers() -> BTreeMap<String, u32> {
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

/// A program of classic BPF that allows these but for the rules, and answers the others with `EPERM`, as `SystemCallErrorNumber=EPERM`
/// has it.
fn filter(allowed: &BTreeSet<String>, rules: &[Rule], numbers: &BTreeMap<String, u32>) -> Vec<u8> {
    const LOAD: u16 = 0x20;
    const AND: u16 = 0x54;
    const EQUAL: u16 = 0x15;
    const SOME: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    type Instruction = (u16, u8, u8, u32);
    let refuse = |error: Errno| (RETURN, 0, 0, 0x0005_0000 | error.raw_os_error().unsigned_abs());
    let block = |name: &str| -> Vec<Instruction> {
        let mut block = Vec::new();
        for (_, argument, refused, error) in rules.iter().filter(|(call, ..)| *call == name) {
            // The lower half of an argument of `struct seccomp_data`.
            let half = if cfg!(target_endian = "little") { 0 } else { 4 };
            block.push((LOAD, 0, 0, 16 + 8 * argument + half));
            match refused {
                Refused::Any(bits) => block.push((SOME, 0, 1, *bits)),
                Refused::All(bits) => block.extend([(AND, 0, 0, *bits), (EQUAL, 0, 1, *bits)]),
                Refused::Is(value) => block.push((EQUAL, 0, 1, *value)),
                Refused::NoneOf(values) => block.extend(
                    values
                        .iter()
                        .zip((1..=values.len()).rev())
                        .map(|(value, left)| (EQUAL, u8::try_from(left).unwrap(), 0, *value)),
                ),
            }
            block.push(refuse(*error));
        }
        block.push((RETURN, 0, 0, ALLOW));
        block
    };
    // It begins with the number.
    let mut program = vec![(LOAD, 0, 0, 0)];
    for (name, number) in allowed.iter().filter_map(|name| Some((name, numbers.get(name)?))) {
        let block = block(name);
        program.push((EQUAL, 0, block.len().try_into().unwrap(), *number));
        program.extend(block);
    }
    program.push(refuse(Errno::PERM));
    let bytes = |(code, yes, no, value): Instruction| {
        let [low, high] = code.to_ne_bytes();
        [&[low, high, yes, no][..], &value.to_ne_bytes()].concat()
    };
    program.into_iter().flat_map(bytes).collect()
}

/// A program behind the filter of these lines of a unit, and the file that has to stay while it starts; `None` where a tool is missing.
pub(crate) fn filtered(lines: &[String], program: &Command) -> Option<(Command, tempfile::NamedTempFile)> {
    let numbers = numbers();
    let bytes = filter(&allowed(lines)?, &rules(lines), &numbers);
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
