//! PID, name, start time and command line of a process, from `/proc/PID` (`proc_pid_comm(5)`, `proc_pid_stat(5)`,
//! `proc_pid_cmdline(5)`).

use crate::text::name_of_bytes;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Maximum size of a command line, bytes.
const COMMAND: usize = 16 * 1024;

/// Maximum number of bytes read of `comm` (16 bytes; 64 for a kernel thread) and `stat` (52 numbers).
const SHORT: usize = 2048;

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// PID in the PID namespace of `/proc`.
    pub pid: u32,
    /// Name, `comm`: up to 15 bytes, as a label has it: one that is empty, not UTF-8, contains control characters, or is
    /// a reserved value (`~other`) ends in `…` and a hash.
    pub comm: Arc<str>,
    /// Start time, in clock ticks (1/100 s) since boot. Together with the PID it is unique.
    pub started: u64,
    /// Command line, if requested: one string per argument, 16 KiB in total at most. Empty for a kernel thread.
    pub command: Option<Vec<String>>,
}

/// Reads the process of a directory.
pub(super) fn read(
    directory: &OwnedFd,
    pid: u32,
    command: bool,
    buffer: &mut Vec<u8>,
) -> Result<Process, Errno> {
    let name = text(directory, c"comm", SHORT, buffer)?;
    let comm = name_of_bytes(name.strip_suffix(b"\n").unwrap_or(name)).into();
    // The format is the same on every kernel since 2.6; otherwise this is another file.
    let started = start_time(text(directory, c"stat", SHORT, buffer)?).ok_or(Errno::BADMSG)?;
    let command = if command { Some(arguments(text(directory, c"cmdline", COMMAND, buffer)?)) } else { None };
    Ok(Process { pid, comm, started, command })
}

fn text<'a>(
    directory: &OwnedFd,
    name: &CStr,
    most: usize,
    buffer: &'a mut Vec<u8>,
) -> Result<&'a [u8], Errno> {
    let file = openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    buffer.resize(most, 0);
    let mut length = 0;
    while let Some(room) = buffer.get_mut(length..).filter(|room| !room.is_empty()) {
        match rustix::io::read(&file, room) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(buffer.get(..length).unwrap_or_default())
}

/// Start time of a process, from its `stat`: field 22, in clock ticks since boot. The name in it may contain anything,
/// including blanks and brackets.
pub fn start_time(stat: &[u8]) -> Option<u64> {
    field(stat, 22)
}

/// PID of a process' parent: field 4 of its `stat`; 0 if the parent is outside of this PID namespace.
pub fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    u32::try_from(field(&stat, 4)?).ok()
}

/// A field of a `stat`, by its number in `proc_pid_stat(5)`, from 4.
fn field(stat: &[u8], number: usize) -> Option<u64> {
    let name_end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(name_end + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(number - 3)?.parse().ok()
}

/// The inode in the target of a descriptor's link, if it is a socket: `socket:[1234]`.
pub fn socket_inode(target: &[u8]) -> Option<u32> {
    let digits = target.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
    let all = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    all.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

fn arguments(text: &[u8]) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    let text = text.strip_suffix(b"\0").unwrap_or(text);
    text.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::read;
    use rustix::fs::{Mode, OFlags, open};
    use std::ffi::CString;

    /// The name of a thread that has this one, as the kernel has it.
    fn comm(name: &'static [u8]) -> String {
        let named = std::thread::spawn(move || {
            rustix::thread::set_name(&CString::new(name).unwrap()).unwrap();
            let own = open("/proc/thread-self", OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap();
            read(&own, 1, false, &mut Vec::new()).unwrap().comm.to_string()
        });
        named.join().unwrap()
    }

    #[test]
    fn names_that_differ_stay_different_and_none_is_empty_or_reserved() {
        let (one, two) = (comm(b"\xff\xfe"), comm(b"\xfe\xff"));
        assert!(one != two && one.starts_with("\u{fffd}\u{fffd}…"), "{one} {two}");
        assert!(comm(b"").starts_with('…'));
        assert!(comm(b"~other").starts_with("~other…"));
        assert_eq!(comm(b"a name"), "a name");
    }
}
