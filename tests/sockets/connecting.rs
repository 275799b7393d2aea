//! How long handshakes took and which SYNs were retransmitted, as far as reads of the sockets tell, against the clock, the
//! kernel's counter `TCPSynRetrans`, and `tcp_info`.

use super::{
    Ends, INCOMING, Numbers, OUTGOING, Probe, begin, close, connection, listener, lose, netstat, send,
};
use crate::support::{Namespace, eventually, tcp_info};
use connscope::source::sockets::connect::Handshake;
use connscope::source::sockets::tcp_info::TcpInfo;
use std::cell::Cell;
use std::net::{TcpStream, UdpSocket};
use std::process::Command;
use std::time::Instant;

/// What an estimate in milliseconds may be above the clock.
const TICK: f64 = 0.02;

fn syns(numbers: &Numbers) -> f64 {
    numbers.sum("tcp.syn_retransmits", &[OUTGOING])
}

/// How many handshakes were timed, and how long they took together.
fn times(numbers: &Numbers) -> (f64, f64) {
    (numbers.sum("tcp.connect.time.count", &[OUTGOING]), numbers.sum("tcp.connect.time.sum", &[OUTGOING]))
}

fn info_of<T>(socket: &TcpStream, take: impl FnOnce(TcpInfo<'_>) -> T) -> T {
    take(TcpInfo::new(&tcp_info(socket)))
}

/// Whether the kernel tells data that was retransmitted (Linux 4.19) and timeouts (6.7).
fn tells(socket: &TcpStream) -> bool {
    info_of(socket, |tcp| tcp.bytes_retrans().is_some() && tcp.total_rto().is_some())
}

/// Drops every other packet that matches, the first one first.
fn lose_every_other(namespace: &Namespace, what: &str) {
    lose(namespace, &[&format!("{what} numgen inc mod 2 == 0")]);
}

#[test]
fn a_full_accept_queue_makes_handshakes_longer_by_the_timeouts_of_the_syns() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        rustix::net::listen(&listener, 0).unwrap();
        let mut probe = Probe::at(&namespace, "{}");
        let first = TcpStream::connect("127.0.0.1:4000").unwrap();
        if !tells(&first) {
            return;
        }
        let before = Instant::now();
        let late = TcpStream::from(begin("127.0.0.1:4000"));
        // The connection is in SYN_SENT.
        let seen = Cell::new(0.0);
        probe.until("two SYNs are retransmitted", |numbers| {
            let (count, told) = (netstat("TCPSynRetrans"), syns(numbers));
            assert!(told >= seen.get() && told <= count, "{told} of {count}");
            seen.set(told);
            told >= 2.0
        });
        let accepted = listener.accept().unwrap();
        eventually("it is established", || info_of(&late, |tcp| tcp.min_rtt().is_some()));
        let took = before.elapsed().as_secs_f64();
        let numbers = probe.read();
        assert_eq!(syns(&numbers), netstat("TCPSynRetrans"));
        let (count, sum) = times(&numbers);
        assert_eq!(count, 2.0, "{numbers:#?}");
        // Each timeout is a second or more.
        assert!((syns(&numbers)..=took + TICK).contains(&sum), "{sum} is not in {}..={took}", syns(&numbers));
        assert_eq!(numbers.sum("tcp.connect.time.count", &[INCOMING]), 0.0);
        assert_eq!(numbers.series("tcp.syn_retransmits", &[INCOMING]).count(), 0);
        let numbers = probe.read();
        assert_eq!((times(&numbers), syns(&numbers)), ((count, sum), netstat("TCPSynRetrans")), "once");
        drop((first, accepted));
    });
}

#[test]
fn connections_between_two_dumps_have_their_handshakes_and_other_losses_are_none() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let mut probe = Probe::at(&namespace, "{}");
        let mut ends = Ends::new();
        let pair = connection(&listener, "127.0.0.1:4000");
        if !tells(&pair.0) {
            return;
        }
        close(pair);
        ends.wait(2);
        assert_eq!((syns(&probe.read()), times(&probe.read()).0), (0.0, 1.0));
        lose_every_other(&namespace, "tcp dport 4000 tcp flags & syn != 0");
        let before = Instant::now();
        let mut pair = connection(&listener, "127.0.0.1:4000");
        let took = before.elapsed().as_secs_f64();
        send(&mut pair.0, &mut pair.1, 100);
        close(pair);
        ends.wait(2);
        let numbers = probe.until("both ends are counted", |numbers| numbers.became("closed", &[]) == 4.0);
        assert_eq!((syns(&numbers), netstat("TCPSynRetrans")), (1.0, 1.0));
        let (count, sum) = times(&numbers);
        assert_eq!(count, 2.0);
        assert!((1.0..=took + TICK).contains(&sum), "{sum} is not in 1..={took}");
        // Data that is lost, then a FIN.
        for what in ["tcp dport 4000 meta length > 80", "tcp dport 4000 tcp flags & fin != 0"] {
            namespace.run("nft", &["flush chain inet t i"]);
            lose_every_other(&namespace, what);
            let again = probe.read().sum("tcp.retransmits", &[OUTGOING]);
            // No dump sees it before it is over.
            let mut pair = connection(&listener, "127.0.0.1:4000");
            send(&mut pair.0, &mut pair.1, 100);
            close(pair);
            ends.wait(2);
            let numbers = probe.until("it is over", |numbers| {
                numbers.sum("tcp.open_connections", &[]) == 0.0
                    && numbers.sum("tcp.retransmits", &[OUTGOING]) > again
            });
            assert_eq!(syns(&numbers), 1.0, "{what}");
        }
    });
}

#[test]
fn the_time_to_connect_is_the_round_trip_of_the_syn() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run("ip", &["link", "set", "lo", "mtu", "1500"]);
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let mut probe = Probe::at(&namespace, "{}");
        let tc = |qdisc: &[&str]| {
            let made = Command::new("tc").args(["qdisc", "add", "dev", "lo", "root"]).args(qdisc).output();
            made.unwrap().status.success()
        };
        // Without netem, packets that wait in front of the SYN delay it: 1400 bytes take 56 ms at this rate.
        if !tc(&["netem", "delay", "50ms"]) {
            assert!(tc(&["tbf", "rate", "200kbit", "burst", "2000", "limit", "200000"]), "no qdisc delays");
            let in_front = UdpSocket::bind("127.0.0.1:0").unwrap();
            for _ in 0..3 {
                in_front.send_to(&[0; 1400], in_front.local_addr().unwrap()).unwrap();
            }
        }
        let before = Instant::now();
        let pair = connection(&listener, "127.0.0.1:4000");
        let took = before.elapsed().as_secs_f64();
        if !tells(&pair.0) {
            return;
        }
        let rtt = f64::from(info_of(&pair.0, |tcp| tcp.rtt().unwrap())) / 1e6;
        let (count, sum) = times(&probe.read());
        assert_eq!(count, 1.0);
        assert!((sum - rtt).abs() < 1e-9, "{sum} {rtt}");
        assert!((0.05..=took + TICK).contains(&sum), "{sum} is not in 0.05..={took}");
    });
}

/// The `tcp_info` of a connection in so many bytes, with these fields.
fn handshake(length: usize, fields: &[(usize, u32)]) -> Handshake {
    let mut info = vec![0; length];
    for (offset, value) in fields {
        info[*offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
    }
    Handshake::of(TcpInfo::new(&info))
}

const RTT: usize = 68;
const TOTAL_RETRANS: usize = 100;
const DATA_SEGS_OUT: usize = 156;
const BYTES_RETRANS: usize = 208;
const TOTAL_RTO: usize = 240;
const TOTAL_RTO_TIME: usize = 244;

#[test]
fn what_is_not_certain_about_a_handshake_is_not_told() {
    let at_once = [(RTT, 500), (DATA_SEGS_OUT, 4)];
    assert_eq!(handshake(280, &at_once), Handshake { only_syns: Some(true), time: Some(500) });
    // The smoothed round trip is that of the data.
    assert_eq!(handshake(280, &[(RTT, 500), (DATA_SEGS_OUT, 5)]).time, None);
    assert_eq!(handshake(280, &[]), Handshake { only_syns: Some(true), time: None }, "no answer yet");
    // Linux 4.18 does not say how much data was retransmitted.
    assert_eq!(handshake(200, &at_once), Handshake::default());
    let twice = [(RTT, 1000), (TOTAL_RETRANS, 2)];
    // Before Linux 6.7 only the first time-out is known.
    let once = [(RTT, 1000), (TOTAL_RETRANS, 1)];
    assert_eq!(handshake(240, &once), Handshake { only_syns: Some(true), time: Some(1_001_000) });
    assert_eq!(handshake(240, &twice), Handshake { only_syns: Some(true), time: None });
    let timed = [twice.as_slice(), &[(TOTAL_RTO, 2), (TOTAL_RTO_TIME, 1024)]].concat();
    assert_eq!(handshake(280, &timed), Handshake { only_syns: Some(true), time: Some(2_024_000) });
    let data = [timed.as_slice(), &[(BYTES_RETRANS, 1)]].concat();
    assert_eq!(handshake(280, &data), Handshake { only_syns: Some(false), time: None });
    let probed = [twice.as_slice(), &[(TOTAL_RTO, 1)]].concat();
    assert_eq!(handshake(280, &probed), Handshake { only_syns: Some(false), time: None }, "a lost FIN");
    assert_eq!(handshake(240, &[(RTT, 1), (TOTAL_RETRANS, u32::MAX)]).time, None);
}
