//! Traffic of many kinds in a namespace, through rules that translate, mark and put into zones.

use crate::support::Namespace;
use rustix::net::{AddressFamily, Protocol, SendFlags, SocketFlags, SocketType, sendto, socket_with};
use std::net::{SocketAddrV4, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;

/// First and last port of the range that the source of datagrams to port 9000 is translated to.
pub(super) const RANGE: (u16, u16) = (40_000, 40_063);

/// Rules for the ports that [`Traffic::everything`] uses. What goes to 127.0.0.66 is dropped on arrival, after it was tracked.
pub(super) fn rules(namespace: &Namespace) {
    let (first, last) = RANGE;
    let rules = format!(
        "add table inet test
         add ct helper inet test ftp {{ type \"ftp\" protocol tcp; }}
         add chain inet test raw {{ type filter hook output priority raw; }}
         add rule inet test raw udp dport 7007 ct zone set 7
         add chain inet test out {{ type filter hook output priority 0; }}
         add rule inet test out tcp dport 2121 ct helper set \"ftp\"
         add rule inet test out udp dport 7021 ct mark set 0x121
         add rule inet test out udp dport 7022 ct mark set 0x122
         add chain inet test in {{ type filter hook prerouting priority 0; }}
         add rule inet test in ip daddr 127.0.0.66 drop
         add table ip nat
         add chain ip nat out {{ type nat hook output priority -100; }}
         add rule ip nat out tcp dport 9301 dnat to 127.0.0.1:9300
         add rule ip nat out udp dport 9100 dnat to 127.0.0.66:9101
         add chain ip nat post {{ type nat hook postrouting priority 100; }}
         add rule ip nat post udp dport 9000 snat to 127.0.0.9:{first}-{last}
         add rule ip nat post tcp dport 9300 snat to 127.0.0.8\n"
    );
    let mut nft = namespace.inside(|| {
        let mut nft = std::process::Command::new("nft");
        nft.args(["-f", "-"]).stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn()
    });
    let nft = nft.as_mut().unwrap();
    std::io::Write::write_all(&mut nft.stdin.take().unwrap(), rules.as_bytes()).unwrap();
    let mut errors = String::new();
    std::io::Read::read_to_string(&mut nft.stderr.take().unwrap(), &mut errors).unwrap();
    assert!(nft.wait().unwrap().success(), "{errors}");
}

/// Connections that stay open.
pub(super) struct Traffic {
    _streams: Vec<TcpStream>,
    _half_open: OwnedFd,
}

impl Traffic {
    /// A connection of every kind.
    pub(super) fn everything(namespace: &Namespace) -> Self {
        namespace.inside(|| {
            let mut streams = Vec::new();
            for (listen, connect) in [(9400, 9400), (2121, 2121), (9300, 9301)] {
                let listener = TcpListener::bind(("127.0.0.1", listen)).unwrap();
                streams.push(TcpStream::connect(("127.0.0.1", connect)).unwrap());
                streams.push(listener.accept().unwrap().0);
            }
            for (port, count) in [(7007, 3), (7021, 2), (7022, 1), (9000, 5), (9100, 2)] {
                datagrams("127.0.0.66", port, count);
            }
            // SCTP's INIT: ports, no tag, no checksum, chunk type 1 of 20 bytes with a tag.
            let mut init =
                vec![0x10, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 20, 0, 0, 0, 9, 0, 0, 0x10, 0];
            init.extend([0, 1, 0, 1, 0, 0, 0, 5]);
            raw4(132, &init);
            raw4(47, &[0, 0, 8, 0]); // GRE's shortest header
            raw4(253, &[1, 2, 3, 4]); // reserved for experiments
            raw4(1, &[8, 0, 0xf7, 0xfd, 0, 1, 0, 1]); // an echo request with its checksum
            let to: SocketAddrV6 = "[::1]:0".parse().unwrap();
            let socket = raw(AddressFamily::INET6, 58);
            sendto(&socket, &[128, 0, 0, 0, 0, 1, 0, 1], SendFlags::empty(), &to).unwrap();
            Self { _streams: streams, _half_open: half_open() }
        })
    }
}

/// Datagrams from so many ports to one that answers nothing.
fn datagrams(address: &str, port: u16, count: usize) {
    let sockets: Vec<UdpSocket> = (0..count).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    for socket in &sockets {
        socket.send_to(b"x", (address, port)).unwrap();
    }
}

/// As many connections of UDP, to a port each.
pub(super) fn udp_flows(namespace: &Namespace, count: u16) {
    namespace.run("nft", &["add chain inet t p { type filter hook prerouting priority 0; }"]);
    namespace.run("nft", &["add rule inet t p ip daddr 127.0.0.66 drop"]);
    namespace.inside(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for port in 0..count {
            socket.send_to(b"x", ("127.0.0.66", 20_000 + port)).unwrap();
        }
    });
}

fn raw(family: AddressFamily, protocol: u32) -> OwnedFd {
    let protocol = Protocol::from_raw(protocol.try_into().unwrap());
    socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol)).unwrap()
}

/// A packet of a protocol to an address where it is dropped, or for ICMP to one that answers.
fn raw4(protocol: u32, payload: &[u8]) {
    let to: SocketAddrV4 = if protocol == 1 { "127.0.0.1:0" } else { "127.0.0.66:0" }.parse().unwrap();
    sendto(raw(AddressFamily::INET, protocol), payload, SendFlags::empty(), &to).unwrap();
}

/// A connection whose SYN is not answered.
fn half_open() -> OwnedFd {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    let to: SocketAddrV4 = "127.0.0.66:81".parse().unwrap();
    assert_eq!(rustix::net::connect(&socket, &to), Err(rustix::io::Errno::INPROGRESS));
    socket
}
