//! The operating system, one call at a time; the only place with `unsafe`.

use rustix::fs::{AtFlags, FileType, Mode, OFlags, open, openat, statat};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

pub mod activation;
pub mod bpf;
pub mod ethtool;
pub mod memory;
pub mod names;
pub mod namespace;
pub mod netlink;
pub mod notify;
pub mod process;
pub mod socket;
mod stamp;

pub use stamp::FileStamp;

/// CPUs the kernel may ever bring up, by number: `/sys/devices/system/cpu/possible`, for instance `0-3,8`.
///
/// The rows of `/proc/net/stat/nf_conntrack` carry no number; row `i` is the `i`-th possible CPU
/// (`net/netfilter/nf_conntrack_standalone.c`, `ct_cpu_seq_next`). Empty where `/sys` cannot be read: then rows are
/// numbered as they come.
pub fn possible_cpus() -> Vec<u32> {
    let list = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    cpu_list(&list).unwrap_or_default()
}

/// The kernel's list format for CPUs (`Documentation/admin-guide/cputopology.rst`).
pub fn cpu_list(list: &str) -> Option<Vec<u32>> {
    /// `CONFIG_NR_CPUS` has never allowed more.
    const MAX_CPUS: u32 = 8192;
    let mut cpus = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        if last >= MAX_CPUS {
            return None;
        }
        cpus.extend(first..=last);
    }
    // A list that is made up may have one twice.
    cpus.sort_unstable();
    cpus.dedup();
    Some(cpus)
}

/// Reads a file up to a size; what is behind it is not read.
pub fn read_limited(path: impl AsRef<Path>, most: u64) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(most).read_to_string(&mut text)?;
    Ok(text)
}

/// The same of a file whose bytes need not be UTF-8.
pub fn read_limited_bytes(path: impl AsRef<Path>, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A file of the kernel that is read in every cycle, and stays open. The kernel makes such a file's text when it is read from
/// its beginning.
#[derive(Debug)]
pub struct KeptFile {
    path: PathBuf,
    file: Mutex<Option<File>>,
}

impl KeptFile {
    /// Most that is read.
    const MAX_BYTES: usize = 4096;

    /// Nothing is opened before it is read.
    pub const fn new(path: PathBuf) -> Self {
        Self { path, file: Mutex::new(None) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its text, of which 4096 bytes are read. It is opened again where what was open cannot be read any more: what it was
    /// of is gone.
    pub fn read(&self) -> std::io::Result<String> {
        let mut bytes = [0; Self::MAX_BYTES];
        let mut kept = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let again = kept.as_ref().and_then(|file| file.read_at(&mut bytes, 0).ok());
        let length = match again {
            Some(length) => length,
            None => kept.insert(File::open(&self.path)?).read_at(&mut bytes, 0)?,
        };
        let text = bytes.get(..length).unwrap_or_default();
        String::from_utf8(text.to_vec())
            .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
    }
}

/// Reads a regular file of at most `most` bytes. Anything else is refused before it is opened for good: a FIFO would wait
/// for whoever never writes to it, a device like `/dev/zero` has no end. A longer one is `ErrorKind::FileTooLarge`.
pub fn read_regular(path: impl AsRef<Path>, most: u64) -> std::io::Result<Vec<u8>> {
    let regular = |file: &std::fs::Metadata| {
        if file.is_file() { Ok(()) } else { Err(std::io::Error::other("it is not a regular file")) }
    };
    let path = path.as_ref();
    regular(&std::fs::metadata(path)?)?;
    let file = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    regular(&file.metadata()?)?;
    whole(file, most)
}

fn whole(file: std::fs::File, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let why = format!("it has more than {most} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}

/// Reads a regular file of at most `most` bytes that is below a directory. A link on the path below the directory is refused,
/// so that whoever may write there cannot have another file read; what else is refused is as in [`read_regular`].
pub fn read_below(directory: &Path, file: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let wrong = || std::io::Error::from(std::io::ErrorKind::InvalidInput);
    let name = file.file_name().ok_or_else(wrong)?;
    let folder = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut below = open(directory, folder, Mode::empty())?;
    for component in file.parent().unwrap_or(Path::new("")).components() {
        let Component::Normal(component) = component else { return Err(wrong()) };
        below = openat(&below, component, folder | OFlags::NOFOLLOW, Mode::empty())?;
    }
    let not_regular = || std::io::Error::other("it is not a regular file");
    // Opening a device may already do something.
    let kind = |mode| FileType::from_raw_mode(mode);
    if kind(statat(&below, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode) != FileType::RegularFile {
        return Err(not_regular());
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = std::fs::File::from(openat(&below, name, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(not_regular());
    }
    whole(file, most)
}

/// Release of the running kernel as (version, patch level): `(6, 18)` for `6.18.44`.
pub fn kernel_release() -> Option<(u32, u32)> {
    let name = rustix::system::uname();
    let release = name.release().to_str().ok()?;
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::cpu_list;

    #[test]
    fn lists_of_cpus_are_read_as_the_kernel_writes_them() {
        assert_eq!(cpu_list("0-3\n"), Some(vec![0, 1, 2, 3]));
        assert_eq!(cpu_list("0,2-3,8"), Some(vec![0, 2, 3, 8]));
        assert_eq!(cpu_list("0"), Some(vec![0]));
        assert_eq!(cpu_list("1,0-2"), Some(vec![0, 1, 2]), "each once");
        assert_eq!(cpu_list(""), None);
        assert_eq!(cpu_list("0-4000000000"), None);
    }
}
