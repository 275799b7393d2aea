//! Opening a file that somebody else chose the name of.

use rustix::fs::{Mode, OFlags};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

/// Device and inode.
pub type Inode = (u64, u64);

/// A file, also after it was removed: another may have its inode then, made at another time.
pub(crate) type FileIdentity = (Inode, Option<SystemTime>);

/// Which file it is.
pub(crate) fn known(file: &Metadata) -> FileIdentity {
    (id(file), file.created().ok())
}

pub(super) fn id(file: &Metadata) -> Inode {
    (file.dev(), file.ino())
}

/// Opens a regular file. A link is not followed, for whoever may write beside a log must not choose what is read; a FIFO or
/// a device is not opened.
pub fn open(path: &Path) -> io::Result<(File, Metadata)> {
    regular(path, OFlags::NOFOLLOW)
}

/// Opens what `/proc/PID/fd/N` leads to.
pub(crate) fn open_descriptor(link: &Path) -> io::Result<(File, Metadata)> {
    regular(link, OFlags::empty())
}

/// A file that is only located is asked for its kind, and that very file is opened then, by the way of its descriptor.
fn regular(path: &Path, flags: OFlags) -> io::Result<(File, Metadata)> {
    let located = File::from(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC | flags, Mode::empty())?);
    let found = located.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let way = format!("/proc/self/fd/{}", located.as_raw_fd());
    let file = rustix::fs::open(way, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())?;
    Ok((File::from(file), found))
}
