//! Filters run by the real kernel, and by `ss`, over sockets of a network namespace of the test's own.

use super::{combined, filter, names as numbered, text};
use crate::support::{Namespace, eventually};
use connscope::filter::{Compiled, Filter, KernelCan, Names, Subject};
use connscope::sys::netlink::NetlinkSocket;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rustix::net::{
    AddressFamily, RecvFlags, Shutdown, SocketFlags, SocketType, accept, bind, connect, listen, netlink,
    recv, shutdown, socket_with, sockopt,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Mutex;

const TCP: u8 = 6;
const UDP: u8 = 17;
const PROTOCOLS: [(u8, u8); 4] = [(2, TCP), (10, TCP), (2, UDP), (10, UDP)];

/// Sockets of every kind the filters of the tests can tell apart.
struct World {
    namespace: Namespace,
    netlink: Mutex<NetlinkSocket>,
    names: Names,
    _sockets: Vec<OwnedFd>,
}

/// How a socket is to be, besides its addresses.
#[derive(Clone, Copy, Default)]
struct Manner {
    six: bool,
    only_six: bool,
    datagram: bool,
    device: Option<&'static str>,
    mark: u32,
}

const FOUR: Manner = Manner { six: false, only_six: false, datagram: false, device: None, mark: 0 };
const SIX: Manner = Manner { six: true, ..FOUR };

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

#[expect(unsafe_code, reason = "rustix has neither SO_MARK nor SO_BINDTODEVICE")]
fn set(socket: &OwnedFd, option: libc::c_int, value: &[u8]) {
    // SAFETY: value is readable for the length that is given with it.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            value.as_ptr().cast(),
            value.len().try_into().unwrap(),
        )
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

fn made(manner: Manner, local: Option<&str>) -> OwnedFd {
    let family = if manner.six { AddressFamily::INET6 } else { AddressFamily::INET };
    let kind = if manner.datagram { SocketType::DGRAM } else { SocketType::STREAM };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None).unwrap();
    sockopt::set_socket_reuseaddr(&socket, true).unwrap();
    if manner.six {
        sockopt::set_ipv6_v6only(&socket, manner.only_six).unwrap();
    }
    if let Some(device) = manner.device {
        set(&socket, libc::SO_BINDTODEVICE, device.as_bytes());
    }
    if manner.mark != 0 {
        set(&socket, libc::SO_MARK, &manner.mark.to_ne_bytes());
    }
    if let Some(local) = local {
        bind(&socket, &at(local)).unwrap_or_else(|error| panic!("{local}: {error}"));
    }
    socket
}

fn listener(manner: Manner, local: &str) -> OwnedFd {
    let socket = made(manner, Some(local));
    listen(&socket, 16).unwrap();
    socket
}

fn connected(manner: Manner, local: Option<&str>, peer: &str) -> OwnedFd {
    let socket = made(manner, local);
    connect(&socket, &at(peer)).unwrap_or_else(|error| panic!("{peer}: {error}"));
    socket
}

/// Both ends of a connection, which are kept.
fn pair(kept: &mut Vec<OwnedFd>, from: &OwnedFd, manner: Manner, local: Option<&str>, peer: &str) {
    kept.push(connected(manner, local, peer));
    kept.push(accept(from).unwrap());
}

fn sockets() -> Vec<OwnedFd> {
    let mut kept = Vec::new();
    let lo = Manner { device: Some("lo"), ..FOUR };
    let v0 = Manner { device: Some("v0"), ..FOUR };
    let marked = |mark| Manner { mark, ..FOUR };
    let only = Manner { only_six: true, ..SIX };

    let web = listener(FOUR, "127.0.0.1:8080");
    pair(&mut kept, &web, FOUR, Some("127.0.0.2:0"), "127.0.0.1:8080");
    pair(&mut kept, &web, FOUR, Some("127.0.0.3:40000"), "127.0.0.1:8080");
    pair(&mut kept, &web, FOUR, None, "127.0.0.1:8080");
    pair(&mut kept, &web, marked(0x15), Some("192.168.7.1:0"), "127.0.0.1:8080");
    let secure = listener(FOUR, "10.1.2.3:443");
    pair(&mut kept, &secure, FOUR, Some("10.1.2.3:0"), "10.1.2.3:443");
    pair(&mut kept, &secure, FOUR, Some("10.200.0.1:443"), "10.1.2.3:443");
    let any = listener(FOUR, "0.0.0.0:22");
    pair(&mut kept, &any, FOUR, Some("192.168.7.1:0"), "10.1.2.3:22");

    // IPv4 with an IPv6 socket at one end, at the other, at both.
    let dual = listener(SIX, "[::]:80");
    pair(&mut kept, &dual, FOUR, None, "127.0.0.1:80");
    pair(&mut kept, &dual, SIX, None, "[::ffff:10.1.2.3]:80");
    pair(&mut kept, &dual, SIX, Some("[::ffff:10.1.2.4]:0"), "[::ffff:10.1.2.3]:80");
    pair(&mut kept, &dual, SIX, Some("[fd00::1]:0"), "[::1]:80");
    pair(&mut kept, &web, SIX, None, "[::ffff:127.0.0.1]:8080");
    let mapped = listener(SIX, "[::ffff:10.1.2.4]:81");
    let loopback = listener(SIX, "[::1]:8081");
    pair(&mut kept, &loopback, SIX, None, "[::1]:8081");
    pair(&mut kept, &loopback, SIX, Some("[fd00::1]:40000"), "[::1]:8081");
    let secure_six = listener(only, "[fd00::1]:443");
    pair(&mut kept, &secure_six, SIX, Some("[fd00::1:1]:0"), "[fd00::1]:443");

    let on_lo = listener(lo, "127.0.0.1:9000");
    pair(&mut kept, &on_lo, lo, None, "127.0.0.1:9000");
    kept.push(listener(v0, "10.9.9.9:7000"));
    kept.push(listener(Manner { device: Some("v0"), ..only }, "[::]:7000"));
    let with_mark = listener(marked(5), "127.0.0.1:9005");
    pair(&mut kept, &with_mark, marked(5), None, "127.0.0.1:9005");

    // States: half closed, TIME_WAIT, SYN_SENT (the queue of the listener is full), bound and nothing else.
    let (one, other) = (connected(FOUR, None, "127.0.0.1:8080"), accept(&web).unwrap());
    shutdown(&one, Shutdown::Write).unwrap();
    kept.extend([one, other]);
    for (from, manner, peer) in [(&web, marked(5), "127.0.0.1:8080"), (&loopback, SIX, "[::1]:8081")] {
        let (one, other) = (connected(manner, None, peer), accept(from).unwrap());
        drop(one);
        assert_eq!(recv(&other, &mut [0; 1][..], RecvFlags::empty()).unwrap().0, 0);
    }
    let full = made(FOUR, Some("127.0.0.1:9100"));
    listen(&full, 0).unwrap();
    kept.push(connected(FOUR, None, "127.0.0.1:9100"));
    let waiting = made(FOUR, None);
    rustix::io::ioctl_fionbio(&waiting, true).unwrap();
    connect(&waiting, &at("127.0.0.1:9100")).unwrap_err();
    kept.extend([waiting, full, made(FOUR, Some("127.0.0.1:9200"))]);

    let udp = Manner { datagram: true, ..FOUR };
    kept.push(made(udp, Some("127.0.0.1:53")));
    kept.push(connected(udp, Some("127.0.0.2:0"), "127.0.0.1:53"));
    kept.push(made(Manner { mark: 5, ..udp }, Some("0.0.0.0:443")));
    kept.push(made(Manner { datagram: true, ..SIX }, Some("[::]:80")));
    kept.push(connected(Manner { datagram: true, ..SIX }, None, "[::ffff:127.0.0.1]:53"));
    kept.extend([web, secure, any, dual, mapped, loopback, secure_six, on_lo, with_mark]);
    kept
}

impl World {
    fn new() -> Option<Self> {
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
    fn dump(
        &self,
        family: u8,
        protocol: u8,
        states: u32,
        bytecode: &[u8],
    ) -> Result<BTreeMap<u64, Subject>, i32> {
        let mut body = vec![family, protocol, 0, 0];
        body.extend(states.to_ne_bytes());
        body.extend([0; 48]);
        self.ask(20, body, bytecode)
    }

    /// The same of TCP, both families in one walk: the older `TCPDIAG_GETSOCK`.
    fn dump_both(&self, states: u32, bytecode: &[u8]) -> Result<BTreeMap<u64, Subject>, i32> {
        let body = [[0; 52].as_slice(), &states.to_ne_bytes(), &[0; 4]].concat();
        self.ask(18, body, bytecode)
    }

    fn ask(&self, kind: u16, mut body: Vec<u8>, bytecode: &[u8]) -> Result<BTreeMap<u64, Subject>, i32> {
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

    fn all(&self, family: u8, protocol: u8, states: u32) -> BTreeMap<u64, Subject> {
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
    fn agrees(&self, filter: &Filter) -> Result<(), String> {
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
                    format!("{filter}: both families at once and one by one differ: {both:#?} {apart:#?}")
                })
        };
        match differ() {
            Some(_) => differ().map_or(Ok(()), Err),
            None => Ok(()),
        }
    }

    /// Local and peer of the TCP sockets that `ss` shows, v4-mapped addresses as IPv4.
    fn ss(&self, filter: &str) -> Vec<(SocketAddr, SocketAddr)> {
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
    fn taken(&self, filter: &Filter) -> Vec<(SocketAddr, SocketAddr)> {
        let mut taken: Vec<_> = [2, 10]
            .into_iter()
            .flat_map(|family| self.all(family, TCP, filter.states() & 0x1fff).into_values())
            .filter(|subject| filter.matches(subject, &self.names))
            .map(|subject| {
                let Subject { local, local_port, peer, peer_port, .. } = subject;
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
fn subject(message: &[u8]) -> (u64, Subject) {
    let long = |at: usize| u64::from_ne_bytes(message[at..at + 8].try_into().unwrap());
    let word = |at: usize| u32::from_ne_bytes(message[at..at + 4].try_into().unwrap());
    let port = |at: usize| u16::from_be_bytes(message[at..at + 2].try_into().unwrap());
    let address = |at: usize| match message[0] {
        2 => IpAddr::V4(<[u8; 4]>::try_from(&message[at..at + 4]).map(Ipv4Addr::from).unwrap()),
        _ => folded(IpAddr::V6(<[u8; 16]>::try_from(&message[at..at + 16]).map(Ipv6Addr::from).unwrap())),
    };
    let mut subject = Subject {
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

#[test]
fn the_kernel_passes_exactly_what_the_agent_takes() {
    let Some(world) = World::new() else { return };
    let tcp: Vec<_> =
        [2, 10].into_iter().flat_map(|family| world.all(family, TCP, 0x3ffe).into_values()).collect();
    assert!(tcp.len() > 40, "{tcp:#?}");
    for state in [1, 2, 5, 6, 7, 8, 10] {
        assert!(tcp.iter().any(|subject| subject.state == state), "no socket in state {state}");
    }
    let chosen = |port: u16| tcp.iter().find(|subject| subject.local_port == port).unwrap().autobound;
    assert_eq!((chosen(40000), chosen(9200)), (Some(false), Some(false)));
    assert!(tcp.iter().any(|subject| subject.autobound == Some(true)));

    let mut runner = TestRunner::new(ProptestConfig { cases: 600, ..ProptestConfig::default() });
    let states = prop::sample::select(
        &["", "", "state connected ", "exclude listening ", "state closed state time-wait "][..],
    );
    let texts = (states, text()).prop_map(|(states, text)| format!("{states}{text}"));
    runner
        .run(&texts, |text| world.agrees(&filter(&text)).map_err(TestCaseError::fail))
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn the_largest_bytecode_is_taken_by_the_kernel() {
    let Some(world) = World::new() else { return };
    // 16 bytes each, 4 for `not` and 4 between two.
    for (host, count) in [("dst 1.2.3.4", 3276), ("not dst 1.2.3.4", 2730)] {
        let largest = filter(&vec![host; count].join(" or "));
        let bytecode = largest.compile(&world.names, KernelCan::ALL).bytecode;
        assert!(bytecode.len() > 65_000, "{}", bytecode.len());
        world.agrees(&largest).unwrap();
    }
}

#[test]
fn every_state_is_dumped_by_the_kernel_and_taken_by_the_agent() {
    let Some(world) = World::new() else { return };
    for word in [
        "established",
        "syn-sent",
        "syn-recv",
        "fin-wait-1",
        "fin-wait-2",
        "time-wait",
        "close-wait",
        "last-ack",
        "listening",
        "closing",
        "all",
        "connected",
        "synchronized",
        "bucket",
        "big",
        "bound-inactive",
    ] {
        let filter = filter(&format!("state {word}"));
        for family in [2, 10] {
            // More than once, because a socket may leave TIME_WAIT between two dumps.
            eventually(&format!("{word} is the same to the kernel and the agent"), || {
                let dumped = world.all(family, TCP, filter.states());
                let mut taken = world.all(family, TCP, 0x3ffe);
                taken.retain(|_, subject| filter.matches(subject, &world.names));
                dumped == taken
            });
        }
    }
}

/// What `ss` and the agent understand in the same way. Not among them are networks around the v4-mapped addresses (to
/// `ss` these are IPv6), `autobound` (`ss` also looks at the range of ephemeral ports) and prefixes of length 0 that are
/// negated (`ss` takes them for every address where the kernel does not).
const SAME: &[&str] = &[
    "dport = 443",
    "dport 443",
    "( dport = :443 )",
    "src = 0.0.0.0",
    "src 0.0.0.0",
    "src 0.0.0.0 sport = 22",
    "src 0.0.0.0 and sport = 22",
    "src 10.1.2.3 and sport = 443 and dport = 443",
    "src 10.1.2.3 and sport = 443 and ( dport = 443 )",
    "src 10.1.2.3 and ( sport = 443 and dport = 443 )",
    "( src 10.1.2.3 and sport = 443 ) and dport = 443",
    "( src 0.0.0.0 or src 10.1.2.3 ) and dst 10.200.0.1",
    "sport = 443 or sport = 80 and src 127.0.0.1",
    "sport = 443 or ( sport = 80 and src 127.0.0.1 )",
    "src 127.0.0.1 and sport = 80 or sport = 443",
    "sport = 443 or sport = 80 src 127.0.0.1",
    "not sport = 443 and not dport = 443",
    "! sport 443 & ! dport 443 | src 10.1.2.3",
    "not ( sport = 443 or dport = 443 )",
    "src :80",
    "src *:80",
    "dst = *",
    "src [::1]:8081",
    "src = [::]",
    "dst [fd00::1]",
    "src fd00::/8",
    "src [fd00::/112]",
    "src fd00::1:1:*",
    "src 127/8",
    "src 127.0.0.0/255.0.0.0:8080",
    "src 10.1/16",
    "dst 192.168.7/24",
    "src any:22",
    "sport 0x1bb",
    "sport 0673",
    "sport >= 8080 and sport <= 8081",
    "sport gt 8080 sport lt 9001",
    "dport ge :8080",
    "dport leq 443",
    "dport != 0",
    "dport neq 443 dport ne 8080",
    "sport < 443 || dport > 9000",
    "dev lo",
    "dev != v0 and sport = 7000",
    "dev = v0",
    "dev lo or sport 443",
    "fwmark 5",
    "fwmark = 0x5/0xf",
    "fwmark != 5 and sport 9005",
    "state established",
    "state listening dport 0",
    "state listening state time-wait",
    "exclude established exclude listening",
    "state connected exclude established src 127.0.0.1",
    "state big",
    "state bucket",
    "state synchronized not dst 127.0.0.1",
    "state closed",
    "state all",
];

#[test]
fn ss_shows_exactly_what_the_agent_takes() {
    let Some(world) = World::new() else { return };
    let compare = |text: &str| {
        let filter = filter(text);
        let differ = || {
            let (shown, taken) = (world.ss(text), world.taken(&filter));
            (shown != taken).then(|| format!("{text}: ss {shown:#?}\nagent {taken:#?}"))
        };
        // As above: a socket may leave TIME_WAIT in between.
        if differ().is_some() { differ() } else { None }
    };
    let mut nothing = 0;
    for text in SAME {
        if let Some(difference) = compare(text) {
            panic!("{difference}");
        }
        nothing += usize::from(world.taken(&filter(text)).is_empty());
    }
    assert!(nothing <= 3, "{nothing} filters take nothing and show nothing");

    let leaf = prop::sample::select(
        &[
            "src 127.0.0.1",
            "dst 10.1.2.3",
            "src 10/8",
            "dst [::1]",
            "src [fd00::1]",
            "dst fd00::/8",
            "sport = 80",
            "dport 443",
            "sport >= 8080",
            "dport <= 443",
            "sport != 22",
            "dport < 9000",
            "dst 127/8:8080",
            "fwmark 5",
            "dev lo",
            "src :40000",
        ][..],
    );
    let mut runner = TestRunner::new(ProptestConfig { cases: 60, ..ProptestConfig::default() });
    runner
        .run(&combined(leaf.prop_map(str::to_owned)), |text| {
            compare(&text).map_or(Ok(()), |why| Err(TestCaseError::fail(why)))
        })
        .unwrap_or_else(|error| panic!("{error}"));
}
