//! Listening sockets of the endpoint: TCP addresses, Unix sockets, and sockets passed by the service manager.

use super::timeouts;
use crate::config::{Address, Listen, Prometheus};
use crate::runtime::lookup::Lookup;
use crate::sys::activation::{HandedOver, ListeningSocket};
use rustix::fs::{Mode, OFlags, fchmod};
use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Length of the kernel's accept queue.
const BACKLOG: i32 = 4096;

/// All listening sockets of the endpoint.
#[derive(Debug, Default)]
pub struct Bound {
    /// Listening sockets.
    pub sockets: Vec<ListeningSocket>,
    /// Files of the Unix sockets created by the agent.
    pub files: Vec<SocketFile>,
}

/// Error of binding an address.
#[derive(Debug, thiserror::Error)]
#[error("listening on {address}")]
pub struct BindError {
    /// Address, as in the configuration.
    pub address: String,
    /// Error of the kernel.
    #[source]
    pub cause: io::Error,
}

impl Bound {
    /// Binds every address of the configuration. A passed socket that no address uses is closed, and logged.
    pub async fn all(settings: &Prometheus, mut handed_over: Vec<HandedOver>) -> Result<Self, BindError> {
        let mut bound = Self::default();
        let names: Vec<String> = handed_over.iter().map(|one| one.name.clone()).collect();
        check_handed_over(&settings.listen, &names)?;
        let named = named(&settings.listen);
        let unused = unused(&settings.listen, &names);
        for address in settings.listen.addresses() {
            let failed = |cause| BindError { address: address.to_string(), cause: explained(cause, &unused) };
            match address {
                Address::At { host, port } => {
                    bound.sockets.push(ListeningSocket::Tcp(bind(host, *port).await.map_err(failed)?));
                }
                Address::Unix(path) => {
                    let (listener, file) = bind_unix(path, settings.socket_mode.0).map_err(failed)?;
                    bound.sockets.push(ListeningSocket::Unix(listener));
                    bound.files.push(file);
                }
                Address::Systemd(name) => {
                    let taken = handed_over.extract_if(.., |one| takes(name.as_deref(), &named, &one.name));
                    bound.sockets.extend(taken.map(|one| one.socket));
                }
            }
        }
        for HandedOver { name, .. } in handed_over {
            tracing::warn!(
                "the socket `{name}` of the service manager is not used: add `systemd` to export.prometheus.listen"
            );
        }
        Ok(bound)
    }
}

/// URLs of the sockets, for scrapers.
pub fn urls(sockets: &[ListeningSocket], scheme: &str) -> Vec<String> {
    let url = |socket: &ListeningSocket| match socket {
        ListeningSocket::Tcp(listener) => {
            let address = listener.local_addr().ok()?;
            Some(format!("{scheme}://{address}/metrics"))
        }
        ListeningSocket::Unix(listener) => {
            let address = listener.local_addr().ok()?;
            Some(format!("unix:{}", address.as_pathname()?.display()))
        }
    };
    sockets.iter().filter_map(url).collect()
}

/// The names of sockets of the service manager that entries of a configuration have.
fn named(listen: &Listen) -> Vec<&str> {
    let addresses = listen.addresses().iter();
    let names = addresses.filter_map(|address| match address {
        Address::Systemd(name) => name.as_deref(),
        _ => None,
    });
    names.collect()
}

/// Whether an entry `systemd:NAME`, or `systemd`, gets a socket: without a name it is those that no other entry names.
fn takes(name: Option<&str>, named: &[&str], socket: &str) -> bool {
    name.map_or_else(|| !named.contains(&socket), |name| name == socket)
}

/// Those of the sockets with these names that no entry gets.
fn unused<'a>(listen: &Listen, sockets: &'a [String]) -> Vec<&'a str> {
    let named = named(listen);
    let used = |socket: &str| {
        listen.addresses().iter().any(
            |address| matches!(address, Address::Systemd(name) if takes(name.as_deref(), &named, socket)),
        )
    };
    sockets.iter().map(String::as_str).filter(|socket| !used(socket)).collect()
}

/// The error of an address that is in use, where it may be that of a socket of the service manager.
fn explained(cause: io::Error, unused: &[&str]) -> io::Error {
    if cause.kind() != ErrorKind::AddrInUse || unused.is_empty() {
        return cause;
    }
    let names = unused.join(", ");
    let why = format!(
        "{cause}; the service manager hands over {names}, which is not used: if that is this address, set \
         export.prometheus.listen to `systemd` instead, or disable the socket unit"
    );
    io::Error::new(ErrorKind::AddrInUse, why)
}

/// Checks that every entry of the service manager gets at least one socket of those with these names.
pub fn check_handed_over(listen: &Listen, sockets: &[String]) -> Result<(), BindError> {
    let named = named(listen);
    for address in listen.addresses() {
        let Address::Systemd(name) = address else { continue };
        if !sockets.iter().any(|socket| takes(name.as_deref(), &named, socket)) {
            let why = match name {
                _ if sockets.is_empty() => {
                    "the service manager hands over no socket: enable and start connscope.socket, then restart the agent"
                        .to_owned()
                }
                Some(name) => format!("the service manager hands over {}, and not `{name}`", sockets.join(", ")),
                None => "the service manager hands over no other sockets than those that other entries name"
                    .to_owned(),
            };
            let cause = io::Error::new(ErrorKind::NotFound, why);
            return Err(BindError { address: address.to_string(), cause });
        }
    }
    Ok(())
}

/// Binds a host and port. A name is looked up for [`timeouts::LOOK_UP`] at most; if it has several addresses, the first that
/// works is used. Each call looks it up again, while the thread of one that timed out may still wait for the C library. Without a host, binds every
/// address of both families; on a machine without IPv6 every IPv4 address. A port that is in use on IPv6 is an error,
/// because then half of the clients would reach another program.
pub async fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
    if host.is_empty() {
        return listen((Ipv6Addr::UNSPECIFIED, port).into()).or_else(|error| {
            // IPv6 is not compiled in or not loaded, or disabled by `ipv6.disable=1` or the sysctl `disable_ipv6`.
            let none = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL, Errno::PROTONOSUPPORT];
            if !none.iter().any(|none| error.raw_os_error() == Some(none.raw_os_error())) {
                return Err(error);
            }
            let listener = listen((Ipv4Addr::UNSPECIFIED, port).into())?;
            tracing::info!(%error, "the endpoint listens on IPv4 only: this machine has no IPv6");
            Ok(listener)
        });
    }
    let mut last = io::Error::from(ErrorKind::AddrNotAvailable);
    let lookup = Lookup::new(host.to_owned(), port);
    let Ok(addresses) = tokio::time::timeout(timeouts::LOOK_UP, lookup.addresses()).await else {
        let limit = humantime::format_duration(timeouts::LOOK_UP);
        let why = format!("looking up {host}: no answer within {limit}");
        return Err(io::Error::new(ErrorKind::TimedOut, why));
    };
    for address in addresses? {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.ip().is_unspecified() && address.is_ipv6() {
        socket.set_only_v6(false)?; // independent of net.ipv6.bindv6only
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The file of a Unix socket created by the agent. Removed when this is dropped, unless it was replaced.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    mode: u32,
    identity: (u64, u64),
    /// Keeps the inode in use, so that no other file gets its number, also if another agent has replaced the socket.
    _open: OwnedFd,
}

impl SocketFile {
    /// Whether the file was removed, so that no client can connect. A file that replaced it belongs to another process.
    pub fn is_removed(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
    }

    /// Creates the socket and its file again.
    pub fn make_again(&mut self) -> Result<ListeningSocket, BindError> {
        let failed = |cause| BindError { address: format!("unix:{}", self.path.display()), cause };
        let (listener, file) = bind_unix(&self.path, self.mode).map_err(failed)?;
        *self = file;
        Ok(ListeningSocket::Unix(listener))
    }

    /// Path of the socket.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path) == Some(self.identity)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!("removing {}: {error}; the next start replaces it", self.path.display());
        }
    }
}

/// Device and inode of a socket file.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let file = std::fs::symlink_metadata(path).ok()?;
    file.file_type().is_socket().then(|| (file.dev(), file.ino()))
}

/// Binds a Unix socket with these permissions. A socket file without a listener is replaced.
fn bind_unix(path: &Path, mode: u32) -> io::Result<(UnixListener, SocketFile)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // bind(2) gives the file the permissions of the socket minus the umask (`net/unix/af_unix.c`, unix_bind_bsd), so
    // the file never has more permissions than configured.
    fchmod(&socket, Mode::from_raw_mode(mode))?;
    let address = SockAddr::unix(path)?;
    if let Err(error) = socket.bind(&address) {
        if error.kind() != ErrorKind::AddrInUse {
            return Err(error);
        }
        remove_stale(path, &address)?;
        socket.bind(&address)?;
    }
    let identity = identity(path).ok_or_else(|| io::Error::other("the socket is gone"))?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = rustix::fs::open(path, flags, Mode::empty())?;
    let file = SocketFile { path: path.to_owned(), mode, identity, _open: open };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    Ok((socket.into(), file))
}

/// Removes the socket file of a process that has ended; an error if the path is anything else.
fn remove_stale(path: &Path, address: &SockAddr) -> io::Result<()> {
    let Some(stale) = identity(path) else {
        return Err(io::Error::new(ErrorKind::AlreadyExists, "there is a file that is no socket"));
    };
    let client = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    client.set_nonblocking(true)?;
    match client.connect(address) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
        // The accept queue of the listener is full, or the socket has another type.
        Ok(()) => return Err(in_use()),
        Err(error)
            if error.kind() == ErrorKind::WouldBlock
                || error.raw_os_error() == Some(Errno::PROTOTYPE.raw_os_error()) =>
        {
            return Err(in_use());
        }
        Err(error) => return Err(error),
    }
    if identity(path) == Some(stale) {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

fn in_use() -> io::Error {
    io::Error::new(ErrorKind::AddrInUse, "another process listens there")
}
