//! Packets that the kernel drops, in network namespaces of the tests' own: which reason, which port, which namespace.

use super::kernel::{Numbers, read, sysctl};
use crate::support::Namespace;
use connscope::source::network::Network;
use connscope::source::network::config::Network as Settings;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Held while programs of this process count drops: they see those of the whole machine, and the scans of one test
/// would fill the maps of another.
pub(super) fn alone() -> MutexGuard<'static, ()> {
    static COUNTING: Mutex<()> = Mutex::new(());
    COUNTING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The source, whose programs count until it is dropped.
pub(super) struct Counting {
    source: Network,
    _alone: MutexGuard<'static, ()>,
}

/// The source in these namespaces, with its first cycle done.
pub(super) fn source(namespaces: &[&Namespace]) -> Counting {
    let alone = alone();
    let netns = namespaces.iter().map(|namespace| namespace.path()).collect();
    let source = Network::new(&Settings { netns, drops: true, ..Settings::default() });
    let mut source = Counting { source, _alone: alone };
    drops(&mut source, namespaces);
    source
}

/// What was dropped in these namespaces: packets by their labels, with the place of the namespace.
pub(super) fn drops(source: &mut Counting, namespaces: &[&Namespace]) -> Numbers {
    series(source, namespaces, "network.packet.drops")
}

/// Of what was dropped, the packets of a reason.
pub(super) fn of_reason(found: Numbers, reason: &str) -> Numbers {
    found.into_iter().filter(|(labels, _)| labels.contains(reason)).collect()
}

pub(super) fn series(source: &mut Counting, namespaces: &[&Namespace], metric: &str) -> Numbers {
    // A series begins with a point of 0.
    read(&mut source.source);
    let numbers = read(&mut source.source);
    let prefix = format!("{metric}{{");
    let own = |(name, number): (String, u64)| {
        let labels = name.strip_prefix(&prefix)?.trim_end_matches('}').to_owned();
        let of = |namespace: &&Namespace| {
            labels.split(',').any(|label| label == format!("netns={}", namespace.path()))
        };
        let place = namespaces.iter().position(of)?;
        Some((labels.replace(&namespaces[place].path(), &place.to_string()), number))
    };
    numbers.into_iter().filter_map(own).collect()
}

pub(super) fn expected(series: &[(&str, u64)]) -> Numbers {
    series.iter().map(|(labels, number)| ((*labels).to_owned(), *number)).collect()
}

#[test]
fn closed_ports_full_buffers_and_answers_are_told_apart_with_their_ports() {
    let Some(namespace) = Namespace::new() else { return };
    let all = [&namespace];
    let mut source = source(&all);
    namespace.inside(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..1000 {
            // Every other one says that the last was refused.
            while socket.send_to(b"x", "127.0.0.1:4444").is_err() {}
        }
        let six = UdpSocket::bind("[::1]:0").unwrap();
        for _ in 0..50 {
            while six.send_to(b"x", "[::1]:4445").is_err() {}
        }
        // A port that is ephemeral, and that nobody listens on.
        for _ in 0..30 {
            while socket.send_to(b"x", "127.0.0.1:40000").is_err() {}
        }
        for _ in 0..200 {
            TcpStream::connect("127.0.0.1:9").unwrap_err();
        }
    });
    let found = of_reason(drops(&mut source, &all), "NO_SOCKET");
    let closed = expected(&[
        ("netns=0,network.transport=tcp,reason=NO_SOCKET,server.port=9", 200),
        ("netns=0,network.transport=udp,reason=NO_SOCKET,server.port=4444", 1000),
        ("netns=0,network.transport=udp,reason=NO_SOCKET,server.port=4445", 50),
        ("netns=0,network.transport=udp,reason=NO_SOCKET,server.port=~other", 30),
    ]);
    assert_eq!(found, closed);
    let got = namespace.inside(|| {
        let receiver = UdpSocket::bind("127.0.0.1:5555").unwrap();
        set_socket_recv_buffer_size(&receiver, 1).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..1000 {
            sender.send_to(&[0; 100], "127.0.0.1:5555").unwrap();
        }
        receiver.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut buffer = [0; 100];
        std::iter::from_fn(|| receiver.recv(&mut buffer).ok()).count()
    });
    let found = drops(&mut source, &all);
    let full = "netns=0,network.transport=udp,reason=SOCKET_RCVBUFF,server.port=5555";
    assert_eq!(found[full], 1000 - u64::try_from(got).unwrap());
}

/// Two namespaces with a veth pair between them: 192.0.2.1 in the first, 192.0.2.2 in the second.
pub(super) fn pair() -> Option<(Namespace, Namespace)> {
    let (first, second) = (Namespace::new()?, Namespace::new()?);
    first.run(
        "ip",
        &["link", "add", "left", "type", "veth", "peer", "name", "right", "netns", &second.path()],
    );
    for (namespace, name, address) in [(&first, "left", "192.0.2.1/24"), (&second, "right", "192.0.2.2/24")] {
        namespace.run("ip", &["address", "add", address, "dev", name]);
        namespace.run("ip", &["link", "set", name, "up"]);
    }
    Some((first, second))
}

#[test]
fn what_a_rule_denies_is_counted_in_the_namespace_of_the_rule() {
    let Some((first, second)) = pair() else { return };
    let all = [&first, &second];
    first.run("nft", &["insert rule inet t o udp dport 9999 drop"]);
    second.run(
        "nft",
        &["add chain inet t i { type filter hook input priority 0; }; add rule inet t i tcp dport 5432 drop"],
    );
    let mut source = source(&all);
    first.inside(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        for _ in 0..7 {
            socket.send_to(b"x", "192.0.2.2:9999").unwrap_err();
        }
        for _ in 0..5 {
            // The SYN is retransmitted after a second.
            TcpStream::connect_timeout(&"192.0.2.2:5432".parse().unwrap(), Duration::from_millis(200))
                .unwrap_err();
        }
    });
    let found = of_reason(drops(&mut source, &all), "NETFILTER_DROP");
    let denied = expected(&[
        ("netns=0,network.transport=udp,reason=NETFILTER_DROP,server.port=9999", 7),
        ("netns=1,network.transport=tcp,reason=NETFILTER_DROP,server.port=5432", 5),
    ]);
    assert_eq!(found, denied);
}

#[test]
fn a_neighbour_that_does_not_answer_drops_what_waits_for_it() {
    let Some((first, second)) = pair() else { return };
    let all = [&first, &second];
    sysctl(&first, "net/ipv4/neigh/left/retrans_time_ms", "100");
    let mut source = source(&all);
    first.inside(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        for _ in 0..3 {
            socket.send_to(b"x", "192.0.2.77:53").unwrap();
        }
    });
    let failed = "netns=0,network.transport=udp,reason=NEIGH_FAILED,server.port=53";
    let begun = std::time::Instant::now();
    while drops(&mut source, &all).get(failed) != Some(&3) {
        assert!(begun.elapsed() < crate::support::PATIENCE, "{:?}", drops(&mut source, &all));
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_port_that_is_listened_on_is_told_apart_also_where_it_is_ephemeral() {
    let Some(namespace) = Namespace::new() else { return };
    let all = [&namespace];
    namespace.run("nft", &["add chain inet t i { type filter hook input priority 0; }"]);
    namespace.run("nft", &["add rule inet t i tcp dport 41000-41001 drop"]);
    let listener = namespace.inside(|| TcpListener::bind("127.0.0.1:41000").unwrap());
    let mut source = source(&all);
    namespace.inside(|| {
        for port in ["41000", "41001", "41001"] {
            let to = format!("127.0.0.1:{port}").parse().unwrap();
            TcpStream::connect_timeout(&to, Duration::from_millis(100)).unwrap_err();
        }
    });
    let found = of_reason(drops(&mut source, &all), "NETFILTER_DROP");
    let denied = expected(&[
        ("netns=0,network.transport=tcp,reason=NETFILTER_DROP,server.port=41000", 1),
        ("netns=0,network.transport=tcp,reason=NETFILTER_DROP,server.port=~other", 2),
    ]);
    assert_eq!(found, denied);
    drop(listener);
}
