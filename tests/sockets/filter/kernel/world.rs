//! A network namespace with these sockets, and what the kernel, `ss` and the agent take of them.

use super::sockets::{FOUR, made, sockets};
use crate::sockets::filter::names as numbered;
use crate::support::{Namespace, eventually};
use connscope::filter::{Compiled, Filter, FilteredSocket, KernelCan, Names};
use connscope::sys::netlink::NetlinkSocket;
use rustix::net::netlink;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Mutex;

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const PROTOCOLS: [(u8, u8); 4] = [(2, TCP), (10, TCP), (2, UDP), (10, UDP)];

/// Sockets of every kind the filters of the tests can tell apart.
pub(super) struct World {
    pub(super) namespace: Namespace,
    pub(super) netlink: Mutex<NetlinkSocket>,
    pub(super) names: Names,
    pub(super) _sockets: Vec<OwnedFd>,
}

impl World {
    pub(super) fn new() -> Option<Self> {
        let namespace = Namespace::new()?;
        namespace.run("ip", &["link", "add", "v0", "type", "veth", "peer", "name", "v1"]);
        for device in ["v0", "v1"] {
            namespace.run("ip", &["link", "set", device, "up"]);
        }
        for (address, device) in [
            ("10.1.2.3/32", "lo"),
            ("10.1.2.4/32", "lo"),
            ("10.200.0.1/32", "lo"),
            ("192.168.7.1/32", "lo"),
            ("fd00::1/128", "lo"),
            ("fd00::1:1/128", "lo"),
            ("10.9.9.9/32", "v0"),
        ] {
            namespace.run("ip", &["address", "add", address, "dev", device, "nodad"]);
        }
        let (sockets, netlink, index) = namespace.inside(|| {
            let netlink = NetlinkSocket::open(netlink::SOCK_DIAG, crate::support::PATIENCE).unwrap();
            (sockets(), netlink, rustix::net::netdevice::name_to_index(made(FOUR, None), "v0").unwrap())
        });
        let mut world =
            Self { namespace, netlink: Mutex::new(netlink), names: numbered(), _sockets: sockets };
        world.names.interfaces.insert("v0".into(), index);
        let cgroup = world.all(2, TCP, 1 << 10).values().find_map(|subject| subject.cgroup);
        let cgroup = cgroup.expect("the kernel tells control groups (Linux 5.8 and later)");
        world.names.cgroups.extend([("/here".into(), cgroup), ("/there".into(), cgroup + 1)]);
        eventually("two sockets are in TIME_WAIT and one in FIN_WAIT_2", || {
            let count = |family: u8, state: u32| world.all(family, TCP, 1 << state).len();
            count(2, 6) + count(10, 6) == 2 && count(2, 5) == 1
        });
        Some(world)
    }

    /// What the kernel reports, by cookie. `Err` is the number of its error.
    pub(super) fn dump(
        &self,
        family: u8,
        protocol: u8,
        states: u32,
        bytecode: &[u8],
    ) -> Result<BTreeMap<u64, FilteredSocket>, i32> {
        let mut body = vec![family, protocol, 0, 0];
        body.extend(states.to_ne_bytes());
        body.extend([0; 48]);
        self.ask(20, body, bytecode)
    }

    /// The same of TCP, both families in one walk: the older `TCPDIAG_GETSOCK`.
    pub(super) fn dump_both(
        &self,
        states: u32,
        bytecode: &[u8],
    ) -> Result<BTreeMap<u64, FilteredSocket>, i32> {
        let body = [[0; 52].as_slice(), &states.to_ne_bytes(), &[0; 4]].concat();
        self.ask(18, body, bytecode)
    }

    pub(super) fn ask(
        &self,
        kind: u16,
        mut body: Vec<u8>,
        bytecode: &[u8],
    ) -> Result<BTreeMap<u64, FilteredSocket>, i32> {
        if !bytecode.is_empty() {
            body.extend(u16::try_from(bytecode.len() + 4).unwrap().to_ne_bytes());
            body.extend(1_u16.to_ne_bytes());
            body.extend(bytecode);
        }
        let mut request = u32::try_from(16 + body.len()).unwrap().to_ne_bytes().to_vec();
        request.extend(kind.to_ne_bytes());
        request.extend(0x301_u16.to_ne_bytes());
        request.extend([0; 8]);
        request.extend(body);
        let mut netlink = self.netlink.lock().unwrap();
        netlink.send(&request).unwrap();
        let mut found = BTreeMap::new();
        loop {
            let mut rest = netlink.receive().unwrap();
            while rest.len() >= 16 {
                let length = usize::try_from(u32::from_ne_bytes(rest[..4].try_into().unwrap())).unwrap();
                let (message, next) = rest.split_at(length.next_multiple_of(4).min(rest.len()));
                match u16::from_ne_bytes(message[4..6].try_into().unwrap()) {
                    3 => return Ok(found),
                    2 => return Err(-i32::from_ne_bytes(message[16..20].try_into().unwrap())),
                    _ => found.extend([subject(&message[16..length])]),
                }
                rest = next;
            }
        }
    }

    pub(super) fn all(&self, family: u8, protocol: u8, states: u32) -> BTreeMap<u64, FilteredSocket> {
        let mut all = self.dump(family, protocol, states, &[]).unwrap();
        // Whether the kernel chose the port it alone knows: INET_DIAG_BC_AUTO.
        let auto = [[6, 4].as_slice(), &8_u16.to_ne_bytes()].concat();
        let auto = self.dump(family, protocol, states, &auto).unwrap();
        for (cookie, subject) in &mut all {
            subject.autobound = Some(auto.contains_key(cookie));
        }
        all
    }

    /// Whether the kernel passes exactly the sockets the agent takes.
    pub(super) fn agrees(&self, filter: &Filter) -> Result<(), String> {
        let Compiled { bytecode, complete } = filter.compile(&self.names, KernelCan::ALL);
        assert!(complete, "{filter}");
        for (family, protocol) in PROTOCOLS {
            let differ = || {
                let before = self.all(family, protocol, filter.states());
                let passed = self.dump(family, protocol, filter.states(), &bytecode);
                let passed = match passed {
                    Ok(passed) => passed.into_keys().collect::<BTreeSet<_>>(),
                    Err(errno) => return Some(format!("{filter}: error {errno} for {bytecode:?}")),
                };
                let taken: BTreeSet<_> = before
                    .iter()
                    .filter(|(_, subject)| filter.matches(subject, &self.names))
                    .map(|(cookie, _)| *cookie)
                    .collect();
                let differ: Vec<_> =
                    passed.symmetric_difference(&taken).map(|cookie| before.get(cookie)).collect();
                (!differ.is_empty()).then(|| format!("{filter}: kernel and agent differ in {differ:#?}"))
            };
            // A socket that leaves TIME_WAIT between two dumps is no difference.
            if differ().is_some()
                && let Some(difference) = differ()
            {
                return Err(difference);
            }
        }
        let differ = || {
            let of = |family| self.dump(family, TCP, filter.states(), &bytecode).unwrap();
            let apart: Vec<_> = of(2).into_iter().chain(of(10)).collect();
            let both = self.dump_both(filter.states(), &bytecode).unwrap();
            (both.len() != apart.len() || apart.iter().any(|(cookie, there)| both.get(cookie) != Some(there)))
                .then(|| {
                    format!("{filter}: both families at once and individually differ: {both:#?} {apart:#?}")
                })
        };
        match differ() {
            Some(_) => differ().map_or(Ok(()), Err),
            None => Ok(()),
        }
    }

    /// Local and peer of the TCP sockets that `ss` shows, v4-mapped addresses as IPv4.
    pub(super) fn ss(&self, filter: &str) -> Vec<(SocketAddr, SocketAddr)> {
        let arguments: Vec<&str> = std::iter::once("-Htan").chain(filter.split_ascii_whitespace()).collect();
        let printed = self.namespace.run("ss", &arguments);
        let mut shown: Vec<_> = printed
            .lines()
            .map(|line| {
                // `ss` leaves out the column of the state where only one is asked for.
                let mut ends = line.split_ascii_whitespace().rev().map(end);
                let peer = ends.next().unwrap();
                (ends.next().unwrap(), peer)
            })
            .collect();
        shown.sort();
        shown
    }

    /// The same of what the agent takes of all that `ss` knows of: it asks for the states 1 to 12.
    pub(super) fn taken(&self, filter: &Filter) -> Vec<(SocketAddr, SocketAddr)> {
        let mut taken: Vec<_> = [2, 10]
            .into_iter()
            .flat_map(|family| self.all(family, TCP, filter.states() & 0x1fff).into_values())
            .filter(|subject| filter.matches(subject, &self.names))
            .map(|subject| {
                let FilteredSocket { local, local_port, peer, peer_port, .. } = subject;
                (SocketAddr::new(local, local_port), SocketAddr::new(peer, peer_port))
            })
            .collect();
        taken.sort();
        taken
    }
}

/// `127.0.0.1%lo:80`, `[::ffff:10.0.0.1]:80`, `*:*`.
fn end(printed: &str) -> SocketAddr {
    let (address, port) = printed.rsplit_once(':').unwrap();
    let address = address.split('%').next().unwrap().trim_matches(['[', ']']);
    let address = if address == "*" { Ipv6Addr::UNSPECIFIED.into() } else { address.parse().unwrap() };
    let port = if port == "*" { 0 } else { port.parse().unwrap() };
    SocketAddr::new(folded(address), port)
}

fn folded(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(six) => six.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// `struct inet_diag_msg` and the attributes after it.
fn subject(message: &[u8]) -> (u64, FilteredSocket) {
    let long = |at: usize| u64::from_ne_bytes(message[at..at + 8].try_into().unwrap());
    let word = |at: usize| u32::from_ne_bytes(message[at..at + 4].try_into().unwrap());
    let port = |at: usize| u16::from_be_bytes(message[at..at + 2].try_into().unwrap());
    let address = |at: usize| match message[0] {
        2 => IpAddr::V4(<[u8; 4]>::try_from(&message[at..at + 4]).map(Ipv4Addr::from).unwrap()),
        _ => folded(IpAddr::V6(<[u8; 16]>::try_from(&message[at..at + 16]).map(Ipv6Addr::from).unwrap())),
    };
    let mut subject = FilteredSocket {
        local: address(8),
        peer: address(24),
        local_port: port(4),
        peer_port: port(6),
        state: message[1],
        interface: word(40),
        mark: None,
        cgroup: None,
        autobound: None,
    };
    let mut at = 72;
    while at + 4 <= message.len() {
        let length = usize::from(u16::from_ne_bytes(message[at..at + 2].try_into().unwrap()));
        match u16::from_ne_bytes(message[at + 2..at + 4].try_into().unwrap()) {
            15 => subject.mark = Some(word(at + 4)),
            21 => subject.cgroup = Some(long(at + 4)),
            _ => {}
        }
        at += length.next_multiple_of(4).max(4);
    }
    (long(44), subject)
}
