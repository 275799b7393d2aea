//! The origin of a probe: source address, interface and network namespace of its sockets.
//!
//! A socket belongs to the network namespace in which it was created, whoever uses it. A socket in another namespace is
//! created by a thread that enters it and ends; nothing keeps the namespace alive between two probes.

use super::fault::Fault;
use crate::host::netns;
use crate::source::probes::labels::ProbeError;
use crate::sys::namespace;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Limits the number of threads in other namespaces; each creates one socket.
static ENTERING: Semaphore = Semaphore::const_new(8);

/// Source address, interface and network namespace of a probe.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// Source address; `None` for the kernel's choice.
    pub source: Option<IpAddr>,
    /// Interface; empty for the kernel's choice.
    pub interface: String,
    /// Network namespace as configured; `None` for the agent's own.
    pub netns: Option<String>,
    /// Whether connections are closed with a reset.
    pub reset: bool,
}

impl Origin {
    /// The origin of queries to a name server: the same namespace, without address and interface.
    #[must_use]
    pub fn elsewhere(&self) -> Self {
        Self { netns: self.netns.clone(), ..Self::default() }
    }

    /// Path of `resolv.conf` of the namespace: in `/etc/netns/NAME`, as for `ip netns exec`, if that exists.
    pub fn resolv_conf(&self) -> PathBuf {
        let own = self.netns.as_deref().filter(|name| !name.contains(['/', ':'])).map(|name| {
            let mut path = PathBuf::from("/etc/netns");
            path.push(name);
            path.push("resolv.conf");
            path
        });
        own.filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from("/etc/resolv.conf"))
    }

    /// Index of the interface of a link-local peer (`sin6_scope_id`), in the network namespace of the probe; 0 for
    /// other peers. `zone` is the name or index of the interface.
    pub async fn scope(&self, peer: Ipv6Addr, zone: Option<&str>) -> Result<u32, Fault> {
        let link_local = peer.is_unicast_link_local() || peer.is_multicast();
        let name = match zone {
            Some(zone) => zone,
            None if !link_local => return Ok(0),
            None if self.interface.is_empty() => {
                let why = format!(
                    "{peer} is a link-local address, which every interface has its own of: write {peer}%INTERFACE, or set \
                     interface"
                );
                return Err(Fault::new(ProbeError::Other, why));
            }
            None => self.interface.as_str(),
        };
        if let Ok(index) = name.parse() {
            return Ok(index);
        }
        let socket = self.socket(Domain::IPV6, Type::DGRAM, None).await?;
        rustix::net::netdevice::name_to_index(&socket, name).map_err(|error| {
            let why = format!("the zone of {peer}%{name}: there is no interface {name}");
            match error {
                rustix::io::Errno::NODEV => Fault::new(ProbeError::Other, why),
                other => Fault::io(&why, &other.into()),
            }
        })
    }

    /// A non-blocking socket.
    pub async fn socket(
        &self,
        domain: Domain,
        kind: Type,
        protocol: Option<Protocol>,
    ) -> Result<Socket, Fault> {
        let socket = self.open(domain, kind, protocol).await?;
        socket.set_nonblocking(true).map_err(|error| Fault::io("making a socket", &error))?;
        Ok(socket)
    }

    /// A non-blocking socket, bound as configured, for this peer.
    pub async fn socket_to(
        &self,
        peer: SocketAddr,
        kind: Type,
        protocol: Option<Protocol>,
    ) -> Result<Socket, Fault> {
        let socket = self.socket(Domain::for_address(peer), kind, protocol).await?;
        self.bind(&socket, peer)?;
        if self.reset && kind == Type::STREAM {
            socket
                .set_linger(Some(Duration::ZERO))
                .map_err(|error| Fault::io("setting SO_LINGER", &error))?;
        }
        Ok(socket)
    }

    fn bind(&self, socket: &Socket, peer: SocketAddr) -> Result<(), Fault> {
        if !self.interface.is_empty() {
            let doing = format!("binding to the interface {}", self.interface);
            socket.bind_device(Some(self.interface.as_bytes())).map_err(|error| Fault::io(&doing, &error))?;
        }
        if let Some(source) = self.source {
            if source.is_ipv4() != peer.is_ipv4() {
                let why = format!("{source} cannot be the source of a probe of {}", peer.ip());
                return Err(Fault::new(ProbeError::Other, why));
            }
            let doing = format!("binding to the address {source}");
            // An address that the machine does not have is a configuration error; the lack of a free port is not.
            socket.bind(&SocketAddr::new(source, 0).into()).map_err(|error| match error.raw_os_error() {
                Some(libc::EADDRINUSE) => Fault::local(&doing, &error),
                _ => Fault::io(&doing, &error),
            })?;
        }
        Ok(())
    }

    async fn open(&self, domain: Domain, kind: Type, protocol: Option<Protocol>) -> Result<Socket, Fault> {
        let Some(name) = &self.netns else {
            return Socket::new(domain, kind, protocol).map_err(|error| Fault::io("making a socket", &error));
        };
        let path = netns::path_of(name);
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let work = move || -> io::Result<Socket> {
            namespace::enter(&namespace::open(&path)?)?;
            Socket::new(domain, kind, protocol)
        };
        let doing = format!("making a socket in the network namespace {name}");
        // The semaphore is never closed, so a permit always comes.
        let permit = ENTERING.acquire().await;
        std::thread::Builder::new()
            .name("probe-netns".to_owned())
            .spawn(move || {
                // The caller may have timed out.
                let _nobody_waits = sender.send(work());
                drop(permit);
            })
            .map_err(|error| Fault::local(&format!("{doing}: starting a thread"), &error))?;
        match receiver.await {
            Ok(Ok(socket)) => Ok(socket),
            // A missing namespace is not a missing socket file of the peer.
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                Err(Fault::new(ProbeError::Other, format!("{doing}: {error}")))
            }
            Ok(Err(error)) => Err(Fault::io(&doing, &error)),
            Err(_) => Err(Fault::new(ProbeError::Other, doing)),
        }
    }
}
