//! Where a probe comes from: source address, interface and network namespace of its sockets.
//!
//! A socket belongs to the network namespace it was made in, whoever uses it. One for another namespace is made by a
//! thread that enters it and ends; nothing of the namespace is held between two probes.

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

/// Threads that are in another namespace at a time; each is there for the making of one socket.
static ENTERING: Semaphore = Semaphore::const_new(8);

/// Source address, interface and network namespace of a probe.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// Address; the kernel's choice where this is not set.
    pub source: Option<IpAddr>,
    /// Interface; the kernel's choice where this is empty.
    pub interface: String,
    /// Network namespace as configured; the agent's own where this is not set.
    pub netns: Option<String>,
    /// Whether a connection ends with a reset.
    pub reset: bool,
}

impl Origin {
    /// The same namespace, without address and interface: for the questions to a name server.
    #[must_use]
    pub fn elsewhere(&self) -> Self {
        Self { netns: self.netns.clone(), ..Self::default() }
    }

    /// `resolv.conf` of the namespace: that of `/etc/netns/NAME`, as `ip netns exec` has it, where there is one.
    pub fn resolv_conf(&self) -> PathBuf {
        let own = self.netns.as_deref().filter(|name| !name.contains(['/', ':'])).map(|name| {
            let mut path = PathBuf::from("/etc/netns");
            path.push(name);
            path.push("resolv.conf");
            path
        });
        own.filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from("/etc/resolv.conf"))
    }

    /// Index of the interface of a link-local peer (`sin6_scope_id`), in the network namespace of the probe; 0 for others.
    /// `zone` is its name or number.
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

    /// A socket that does not block.
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

    /// A socket that does not block, bound as configured, for this peer.
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
            // An address that is not this machine's is a mistake of the configuration; one without a port left is not.
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
                // Whoever asked may have run out of time.
                let _nobody_waits = sender.send(work());
                drop(permit);
            })
            .map_err(|error| Fault::local(&format!("{doing}: starting a thread"), &error))?;
        match receiver.await {
            Ok(Ok(socket)) => Ok(socket),
            // A namespace that is not there is no file that a peer lacks.
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
                Err(Fault::new(ProbeError::Other, format!("{doing}: {error}")))
            }
            Ok(Err(error)) => Err(Fault::io(&doing, &error)),
            Err(_) => Err(Fault::new(ProbeError::Other, doing)),
        }
    }
}
