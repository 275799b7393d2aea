//! Network namespaces: entering one, and telling one from another.

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

/// What a network namespace is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// `SO_NETNS_COOKIE` (Linux 5.14): never used twice before the next boot.
    Cookie(u64),
    /// Inode of the namespace file: used again after the namespace is gone.
    Inode(u64),
}

/// Opens a namespace file (`/run/netns/NAME`, `/proc/PID/ns/net`). Anything else is refused, if possible before it is opened:
/// a FIFO would wait for whoever never writes to it, and opening a device may do something.
pub fn open(path: &Path) -> io::Result<OwnedFd> {
    let namespace = |status: rustix::fs::StatFs| {
        let is_one = status.f_type == NSFS_MAGIC;
        if is_one { Ok(()) } else { Err(io::Error::new(io::ErrorKind::NotFound, "not a network namespace")) }
    };
    namespace(rustix::fs::statfs(path)?)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty())?;
    namespace(rustix::fs::fstatfs(&file)?)?;
    Ok(file)
}

/// `NSFS_MAGIC` of `include/uapi/linux/magic.h`: the file system of namespace files.
const NSFS_MAGIC: rustix::fs::FsWord = 0x6e73_6673;

/// Device and inode of a namespace file: equal for two paths to one namespace. An error for a file that is none, such
/// as the one `ip netns del` leaves behind for a moment.
pub fn file_identity(path: &Path) -> io::Result<(u64, u64)> {
    if rustix::fs::statfs(path)?.f_type != NSFS_MAGIC {
        return Err(io::Error::new(io::ErrorKind::NotFound, "not a network namespace"));
    }
    let stat = rustix::fs::stat(path)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Device and inode of an open namespace file, as [`file_identity`] has them.
pub fn open_identity(file: &OwnedFd) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::fstat(file)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// Inode of a namespace by its link (`/proc/self/ns/net`), of any kind.
pub fn inode(link: &Path) -> io::Result<u64> {
    Ok(rustix::fs::stat(link)?.st_ino)
}

/// Moves the calling thread into a network namespace. There is no way back here on purpose: a thread that enters
/// a foreign namespace is one that ends afterwards.
pub fn enter(namespace: &OwnedFd) -> io::Result<()> {
    Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
}

/// Identity of the network namespace the calling thread is in.
pub fn identity() -> io::Result<Identity> {
    // Any socket knows its namespace; one of AF_UNIX is the cheapest and needs no privilege.
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    match netns_cookie(&socket) {
        Ok(cookie) => Ok(Identity::Cookie(cookie)),
        Err(_) => Ok(Identity::Inode(file_identity(Path::new("/proc/thread-self/ns/net"))?.1)),
    }
}

/// `getsockopt(SO_NETNS_COOKIE)`, which rustix does not have.
#[expect(unsafe_code, reason = "a socket option that no safe wrapper offers")]
fn netns_cookie(socket: &OwnedFd) -> io::Result<u64> {
    let mut cookie: u64 = 0;
    let mut length: libc::socklen_t = 8;
    // SAFETY: the descriptor is open for the length of the call, and the kernel writes at most `length` = 8 bytes
    // into `cookie`, which is 8 bytes long and lives longer than the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 && length == 8 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}
