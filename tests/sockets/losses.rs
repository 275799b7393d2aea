//! What TCP notices of the path, against `tcp_info` of the test's own sockets: timeouts, reordering, marks, windows.

use super::{INCOMING, Numbers, OUTGOING, Pair, Probe, connection, listener, lose, quiet, send};
use crate::support::{Namespace, eventually, skipped, tcp_info};
use connscope::source::sockets::tcp_info::TcpInfo;
use std::io::{Read, Write};
use std::net::TcpStream;

/// What TCP noticed of the path so far, as the source counts it: timeouts, seconds of recovery, spurious, reordered, out
/// of order, marked.
fn counted(numbers: &Numbers, side: &str) -> [f64; 6] {
    [
        "tcp.retransmission_timeouts",
        "tcp.retransmission_timeout.time",
        "tcp.retransmits.spurious",
        "tcp.segments.reordered",
        "tcp.segments.out_of_order",
        "tcp.segments.ecn_marked",
    ]
    .map(|metric| numbers.sum(metric, &[side]))
}

/// The same, as the kernel tells whoever has the socket.
fn told(socket: &TcpStream) -> [f64; 6] {
    let info = tcp_info(socket);
    let tcp = TcpInfo::new(&info);
    [
        f64::from(tcp.total_rto().unwrap()),
        f64::from(tcp.total_rto_time().unwrap()) / 1e3,
        f64::from(tcp.dsack_dups().unwrap()),
        f64::from(tcp.reord_seen().unwrap()),
        f64::from(tcp.rcv_ooopack().unwrap()),
        f64::from(tcp.delivered_ce().unwrap()),
    ]
}

const TOO_OLD: &str = "the kernel does not send the number of retransmission timeouts (6.7)";

/// Whether this kernel sends timeouts (6.7), and with them all of the others.
fn all_sent(socket: &TcpStream) -> bool {
    TcpInfo::new(&tcp_info(socket)).total_rto().is_some()
}

/// Panics where a cycle does not say what the kernel tells both ends.
fn agree(numbers: &Numbers, pair: &Pair) {
    assert_eq!(counted(numbers, OUTGOING), told(&pair.0));
    assert_eq!(counted(numbers, INCOMING), told(&pair.1));
}

#[test]
fn a_path_that_loses_everything_stalls_a_connection_and_its_timeouts_are_counted() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let mut probe = Probe::at(&namespace, "{}");
        let mut pair = connection(&listener, "127.0.0.1:4000");
        if !all_sent(&pair.0) {
            assert_eq!(probe.read().series("tcp.retransmission_timeouts", &[]).count(), 0);
            return skipped(TOO_OLD);
        }
        assert_eq!(counted(&probe.read(), OUTGOING), [0.0; 6]);
        lose(&namespace, &["tcp dport 4000"]);
        pair.0.write_all(b"hello?").unwrap();
        let stalled = |numbers: &Numbers| numbers.sum("tcp.stalled_connections", &[OUTGOING]);
        let numbers = probe.until("it is stalled", |numbers| stalled(numbers) == 1.0);
        assert!(counted(&numbers, OUTGOING)[0] >= 3.0, "{numbers:#?}");
        assert_eq!(numbers.sum("tcp.stalled_connections", &[INCOMING]), 0.0);
        assert_eq!(numbers.sum("tcp.zero_window_connections", &[]), 0.0);
        namespace.run("nft", &["flush chain inet t i"]);
        pair.1.read_exact(&mut [0; 6]).unwrap();
        quiet(&pair);
        let numbers = probe.read();
        agree(&numbers, &pair);
        assert_eq!(stalled(&numbers), 0.0);
        assert!(counted(&numbers, OUTGOING)[1] > 0.0, "{numbers:#?}");
    });
}

#[test]
fn segments_that_get_lost_arrive_out_of_order_and_what_came_twice_is_spurious() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run("ip", &["link", "set", "lo", "mtu", "1500"]);
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let mut probe = Probe::at(&namespace, "{}");
        let mut pair = connection(&listener, "127.0.0.1:4000");
        if !all_sent(&pair.0) {
            return skipped(TOO_OLD);
        }
        assert_eq!(probe.read().sum("tcp.path_mtu", &[OUTGOING]), 1500.0);
        // Without this some data would be one segment to the receiver.
        namespace.run("ip", &["link", "set", "lo", "gso_max_segs", "1"]);
        lose(&namespace, &["tcp dport 4000 numgen inc mod 9 == 8"]);
        send(&mut pair.0, &mut pair.1, 150_000);
        // A receiver says that it had a segment already; the acknowledgements of it get lost here.
        namespace.run("nft", &["flush chain inet t i"]);
        namespace.run("nft", &["add rule inet t i tcp sport 4000 drop"]);
        pair.0.write_all(b"again").unwrap();
        pair.1.read_exact(&mut [0; 5]).unwrap();
        eventually("it is retransmitted", || TcpInfo::new(&tcp_info(&pair.0)).backoff() >= Some(1));
        namespace.run("nft", &["flush chain inet t i"]);
        quiet(&pair);
        let numbers = probe.read();
        agree(&numbers, &pair);
        assert!(counted(&numbers, INCOMING)[4] > 0.0, "out of order: {numbers:#?}");
        assert!(counted(&numbers, OUTGOING)[2] > 0.0, "spurious: {numbers:#?}");
        let after = counted(&probe.read(), OUTGOING);
        assert_eq!(after, counted(&numbers, OUTGOING), "nothing is counted twice");
        drop(pair);
        let numbers = probe.until("both are over", |numbers| numbers.ended() == 2.0);
        assert_eq!(counted(&numbers, OUTGOING), after, "what was counted stays");
        assert_eq!(numbers.series("tcp.path_mtu", &[]).count(), 0, "there is no connection");
    });
}

#[test]
fn marks_of_congestion_are_counted_where_the_segments_were_sent() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        std::fs::write("/proc/sys/net/ipv4/tcp_ecn", "1").unwrap();
        let listener = listener("127.0.0.1:4000");
        let mut probe = Probe::at(&namespace, "{}");
        let mut pair = connection(&listener, "127.0.0.1:4000");
        if !all_sent(&pair.0) {
            return skipped(TOO_OLD);
        }
        namespace.run("nft", &["add chain inet t i { type filter hook input priority 0; }"]);
        namespace.run("nft", &["add rule inet t i tcp dport 4000 ip ecn != not-ect ip ecn set ce"]);
        send(&mut pair.0, &mut pair.1, 20_000);
        quiet(&pair);
        let numbers = probe.read();
        agree(&numbers, &pair);
        assert!(counted(&numbers, OUTGOING)[5] > 0.0, "{numbers:#?}");
        assert_eq!(counted(&numbers, INCOMING)[5], 0.0);
    });
}

#[test]
fn a_peer_that_does_not_read_closes_its_window() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let mut probe = Probe::at(&namespace, "{}");
        let (mut client, mut server) = connection(&listener, "127.0.0.1:4000");
        if !all_sent(&client) {
            return skipped(TOO_OLD);
        }
        client.set_nonblocking(true).unwrap();
        let mut written = 0;
        let zero_window = |numbers: &Numbers| numbers.sum("tcp.zero_window_connections", &[OUTGOING]);
        let numbers = probe.until_with(
            "the window is closed",
            |numbers| zero_window(numbers) == 1.0,
            || {
                while let Ok(bytes) = client.write(&[1; 4096]) {
                    written += bytes;
                }
            },
        );
        assert_eq!(numbers.sum("tcp.zero_window_connections", &[INCOMING]), 0.0);
        server.read_exact(&mut vec![0; written]).unwrap();
        let numbers = probe.until("it is open again", |numbers| zero_window(numbers) == 0.0);
        assert_eq!(numbers.sum("tcp.open_connections", &[OUTGOING]), 1.0);
    });
}
