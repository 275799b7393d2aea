//! How many sockets there are by state, what waits in queues, and what was dropped.

use super::{
    INCOMING, Numbers, OUTGOING, Pair, Probe, begin, close, connection, listener, lose, netstat, send,
};
use crate::support::{Namespace, eventually};
use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream, UdpSocket};

const STATES: [&str; 11] = [
    "established",
    "syn_sent",
    "syn_received",
    "fin_wait_1",
    "fin_wait_2",
    "time_wait",
    "closed",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
];

#[test]
fn every_state_is_there_also_where_there_is_no_socket() {
    let Some(namespace) = Namespace::new() else { return };
    let numbers = namespace.inside(|| Probe::new("{}").read());
    let mut expected: Vec<String> = Vec::new();
    for state in STATES {
        let labels = format!("network.connection.state={state},network.transport=tcp");
        if state == "time_wait" {
            expected.push(labels);
        } else {
            expected.extend(["ipv4", "ipv6"].map(|family| format!("{labels},network.type={family}")));
        }
    }
    for state in ["closed", "established"] {
        let labels = format!("network.connection.state={state},network.transport=udp");
        expected.extend(["ipv4", "ipv6"].map(|family| format!("{labels},network.type={family}")));
    }
    let mut expected: Vec<String> =
        expected.iter().map(|labels| format!("system.network.connection.count{{{labels}}}")).collect();
    expected.sort_unstable();
    let found: Vec<(&str, f64)> = numbers.series("system.network.connection.count", &[]).collect();
    assert!(found.iter().all(|(_, value)| *value == 0.0), "{found:#?}");
    let found: Vec<&str> = found.into_iter().map(|(series, _)| series).collect();
    assert_eq!(found, expected);
    assert_eq!(numbers.series("tcp.connections", &[]).count(), 0, "no group without a socket");
}

#[test]
fn six_sockets_of_three_kinds_of_addresses_are_six_in_the_source() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let (four, six, both) = (listener("127.0.0.1:4000"), listener("[::1]:4001"), listener("[::]:4002"));
        let pairs = [
            connection(&four, "127.0.0.1:4000"),
            connection(&six, "[::1]:4001"),
            connection(&both, "127.0.0.1:4002"),
        ];
        let numbers = Probe::new("group_by: [family, direction]").read();
        let types = ["network.type=ipv4", "network.type=ipv6"];
        assert_eq!(types.map(|family| numbers.state("established", &[family])), [4.0, 2.0]);
        assert_eq!(types.map(|family| numbers.state("listen", &[family])), [1.0, 2.0]);
        let open = |labels: &[&str]| numbers.sum("tcp.open_connections", labels);
        assert_eq!(types.map(|family| open(&[family, INCOMING])), [2.0, 1.0]);
        assert_eq!(open(&[]), 6.0);
        drop(pairs);
    });
}

/// How many sockets are in each state.
type Counts = BTreeMap<&'static str, f64>;

/// Sockets in every state that TCP has, as long as the value lasts, and how many there are.
fn every_state(namespace: &Namespace) -> (Vec<Box<dyn Send>>, Counts) {
    lose(
        namespace,
        &[
            "tcp dport 4001 tcp flags & syn == syn",
            "tcp sport 4002 tcp flags & syn == syn",
            "tcp dport 4003 tcp flags & fin == fin",
            "tcp sport 4005 tcp flags & fin == fin",
            "tcp dport 4006 tcp flags & fin == fin",
        ],
    );
    namespace.inside(|| {
        let mut kept: Vec<Box<dyn Send>> = Vec::new();
        let mut listeners = BTreeMap::new();
        for port in [4000, 4002, 4003, 4004, 4005, 4006] {
            listeners.insert(port, listener(&format!("127.0.0.1:{port}")));
        }
        let pair = |port: u16| connection(&listeners[&port], &format!("127.0.0.1:{port}"));
        let finished = |stream: &TcpStream| stream.shutdown(Shutdown::Write).unwrap();
        kept.push(Box::new(begin("127.0.0.1:4001")));
        kept.push(Box::new(begin("127.0.0.1:4002")));
        close(pair(4000));
        let mut pairs: Vec<Pair> = [4000, 4003, 4004].map(pair).into();
        // The end of the client gets lost.
        finished(&pairs[1].0);
        finished(&pairs[2].0);
        // The client has left altogether, and the server has not noticed.
        let (client, server) = pair(4004);
        drop(client);
        kept.push(Box::new(server));
        // The server's end gets lost.
        let (client, server) = pair(4005);
        finished(&client);
        eventually("the end is there", || server.peek(&mut [0]).is_ok_and(|bytes| bytes == 0));
        drop(server);
        kept.push(Box::new(client));
        // Both end at once, and the client's end gets lost.
        let (client, server) = pair(4006);
        finished(&client);
        finished(&server);
        pairs.push((client, server));
        kept.push(Box::new(listeners));
        let expected = [
            ("established", 3.0),
            ("syn_sent", 2.0),
            ("syn_received", 1.0),
            ("fin_wait_1", 1.0),
            ("fin_wait_2", 4.0),
            ("time_wait", 1.0),
            ("closed", 0.0),
            ("close_wait", 2.0),
            ("last_ack", 1.0),
            ("listen", 6.0),
            ("closing", 1.0),
        ];
        kept.push(Box::new(pairs));
        (kept, expected.into())
    })
}

/// What `ss` says, in our words.
fn said_by_ss(namespace: &Namespace) -> Counts {
    let printed = namespace.run("ss", &["-Htan"]);
    let mut counts: BTreeMap<&str, f64> = STATES.iter().map(|state| (*state, 0.0)).collect();
    for line in printed.lines() {
        let state = match line.split_ascii_whitespace().next().unwrap() {
            "ESTAB" => "established",
            "SYN-SENT" => "syn_sent",
            "SYN-RECV" => "syn_received",
            "FIN-WAIT-1" => "fin_wait_1",
            "FIN-WAIT-2" => "fin_wait_2",
            "TIME-WAIT" => "time_wait",
            "UNCONN" => "closed",
            "CLOSE-WAIT" => "close_wait",
            "LAST-ACK" => "last_ack",
            "LISTEN" => "listen",
            "CLOSING" => "closing",
            other => panic!("{other}"),
        };
        *counts.get_mut(state).unwrap() += 1.0;
    }
    counts
}

fn counts(numbers: &Numbers) -> Counts {
    STATES.iter().map(|state| (*state, numbers.state(state, &[]))).collect()
}

#[test]
fn every_state_is_counted_as_ss_counts_it() {
    let Some(namespace) = Namespace::new() else { return };
    let (kept, expected) = every_state(&namespace);
    eventually("every socket is in its state", || said_by_ss(&namespace) == expected);
    for filter in ["", "not dport = :9", "src 127.0.0.0/8"] {
        let numbers = namespace.inside(|| Probe::new(&format!("filter: '{filter}'")).read());
        assert_eq!(counts(&numbers), expected, "filter: {filter}");
        let typed = numbers.state("time_wait", &["network.type=ipv4"]);
        assert_eq!(typed, if filter.is_empty() { 0.0 } else { 1.0 }, "individually only with a filter");
    }
    let some = namespace.inside(|| Probe::new("filter: state time-wait state close-wait").read());
    let mut left: BTreeMap<&str, f64> = STATES.iter().map(|state| (*state, 0.0)).collect();
    left.extend([("time_wait", 1.0), ("close_wait", 2.0)]);
    assert_eq!(counts(&some), left);
    drop(kept);
}

fn udp(numbers: &Numbers, state: &str, family: &str) -> f64 {
    let labels = [
        &format!("network.connection.state={state}"),
        "network.transport=udp",
        &format!("network.type={family}"),
    ];
    numbers.sum("system.network.connection.count", &labels)
}

#[test]
fn udp_has_counts_queues_and_drops() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let receiver = UdpSocket::bind("127.0.0.1:4000").unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size(&receiver, 4096).unwrap();
        let six = UdpSocket::bind("[::1]:4000").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect("127.0.0.1:4000").unwrap();
        let flood = || (0..50).for_each(|_| assert_eq!(sender.send(&[0; 500]).unwrap(), 500));
        flood();
        let mut probe = Probe::new("group_by: [service_port, direction, peer_group]");
        let numbers = probe.read();
        assert_eq!(udp(&numbers, "closed", "ipv4"), 1.0);
        assert_eq!(udp(&numbers, "closed", "ipv6"), 1.0);
        assert_eq!(udp(&numbers, "established", "ipv4"), 1.0);
        assert_eq!(udp(&numbers, "established", "ipv6"), 0.0);
        let queue: f64 = namespace
            .run("ss", &["-Huan"])
            .lines()
            .map(|line| line.split_ascii_whitespace().nth(1).unwrap().parse::<f64>().unwrap())
            .fold(0.0, |sum, bytes| sum + bytes);
        assert!(queue > 0.0);
        let received = ["network.io.direction=receive", "network.type=ipv4"];
        assert_eq!(numbers.sum("udp.queue.usage", &received), queue);
        assert_eq!(numbers.sum("udp.queue.usage", &[]), queue, "nothing else is anywhere");
        let drops = |numbers: &Numbers| numbers.sum("udp.drops", &["server.port=4000"]);
        assert_eq!(drops(&numbers), 0.0, "what was dropped before is not ours");
        flood();
        let numbers = probe.read();
        assert_eq!(drops(&numbers), 50.0, "the buffer is full already");
        assert_eq!(drops(&probe.read()), 50.0);
        // One that comes later is counted from nothing.
        let later = UdpSocket::bind("127.0.0.1:4001").unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size(&later, 4096).unwrap();
        for _ in 0..50 {
            sender.send_to(&[0; 500], "127.0.0.1:4001").unwrap();
        }
        later.set_nonblocking(true).unwrap();
        let there = std::iter::from_fn(|| later.recv(&mut [0; 500]).ok()).count();
        let numbers = probe.read();
        let dropped = f64::from(u32::try_from(50 - there).unwrap());
        assert!(dropped > 0.0);
        assert_eq!(numbers.sum("udp.drops", &["server.port=4001"]), dropped);
        drop((six, receiver));
        assert_eq!(probe.read().sum("udp.drops", &[]), 50.0 + dropped, "what was counted stays");
    });
}

#[test]
fn three_wait_where_two_may_and_a_fourth_is_counted_as_overflow() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        rustix::net::listen(&listener, 2).unwrap();
        let mut probe = Probe::new("{}");
        let labels = ["server.port=4000", INCOMING];
        let queue = |numbers: &Numbers| {
            ["usage", "limit", "overflow"]
                .map(|what| numbers.sum(&format!("tcp.listen.queue.{what}"), &labels))
        };
        assert_eq!(queue(&probe.read()), [0.0, 2.0, 0.0]);
        let waiting = [(); 3].map(|()| TcpStream::connect("127.0.0.1:4000").unwrap());
        probe.until("three wait", |numbers| queue(numbers) == [3.0, 2.0, 0.0]);
        let late = begin("127.0.0.1:4000");
        eventually("as many as the kernel has dropped are counted", || {
            let before = netstat("ListenDrops");
            let [usage, limit, overflow] = queue(&probe.read());
            assert_eq!((usage, limit), (3.0, 2.0));
            before >= 1.0 && before == netstat("ListenDrops") && overflow == before
        });
        drop(late);
        let accepted = [(); 3].map(|()| listener.accept().unwrap());
        let numbers = probe.read();
        assert_eq!(queue(&numbers)[..2], [0.0, 2.0]);
        assert!(queue(&numbers)[2] >= 1.0);
        // The group is shared with the connections of the port; the queue is gone with the listener.
        drop(listener);
        let numbers = probe.read();
        assert_eq!(numbers.series("tcp.listen.queue.usage", &labels).count(), 0);
        drop((waiting, accepted));
    });
}

/// The sum of a number that `ss` prints with a word, of the lines of one side.
fn printed(lines: &[&str], word: &str) -> f64 {
    let numbers = lines.iter().flat_map(|line| line.split_ascii_whitespace()).filter_map(|part| {
        let (name, number) = part.split_once(':')?;
        (name == word).then(|| number.parse::<f64>().unwrap())
    });
    numbers.fold(0.0, |sum, number| sum + number)
}

#[test]
fn ss_has_the_same_bytes_and_states_of_a_busy_namespace() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = listener("[::]:4000");
        let mut probe = Probe::at(&namespace, "{}");
        let mut kept = Vec::new();
        for number in 1..=60 {
            let mut pair = connection(&listener, ["127.0.0.1:4000", "[::1]:4000"][number % 2]);
            send(&mut pair.0, &mut pair.1, number * 100);
            send(&mut pair.1, &mut pair.0, number * 7);
            if number % 5 == 0 {
                pair.0.shutdown(Shutdown::Write).unwrap();
                eventually("the end is there", || pair.1.peek(&mut [0]).is_ok_and(|bytes| bytes == 0));
            }
            kept.push(pair);
        }
        // An end is acknowledged with some delay.
        eventually("every end is acknowledged", || said_by_ss(&namespace)["fin_wait_2"] == 12.0);
        let numbers = probe.read();
        let text = namespace.run("ss", &["-tinmoeHO"]);
        let (incoming, outgoing): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| line.split_ascii_whitespace().nth(3).unwrap().ends_with(":4000"));
        assert_eq!((incoming.len(), outgoing.len()), (60, 60), "{text}");
        for (side, lines) in [(INCOMING, &incoming), (OUTGOING, &outgoing)] {
            let sent = printed(lines, "bytes_sent") - printed(lines, "bytes_retrans");
            assert_eq!(numbers.io(&[side]), [sent, printed(lines, "bytes_received")], "{side}");
            assert_eq!(numbers.sum("tcp.open_connections", &[side]), 60.0);
        }
        assert_eq!(counts(&numbers), said_by_ss(&namespace));
        assert_eq!(numbers.state("close_wait", &[]), 12.0);
    });
}
