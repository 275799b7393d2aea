//! What the path does to connections: delay, loss, and how often a round trip is counted.
//!
//! Delay is made with a token bucket on loopback (`tbf`, which most kernels have; `netem` many have not): each segment
//! waits for the ones before it to be sent at the given rate, as before a slow link. Loss is every nth segment, dropped
//! where it arrives.

use super::{INCOMING, Numbers, OUTGOING, Probe, close, connection, listener, lose, quiet, send};
use crate::support::{Namespace, skipped, tcp_info};
use connscope::source::sockets::tcp_info::TcpInfo;
use std::process::Command;

fn seconds(micros: Option<u32>) -> f64 {
    f64::from(micros.unwrap()) / 1e6
}

/// The samples of round trips so far, and their sum.
fn samples(numbers: &Numbers, side: &str) -> (f64, f64) {
    (numbers.sum("tcp.rtt.count", &[side]), numbers.sum("tcp.rtt.sum", &[side]))
}

#[test]
fn delay_and_loss_are_seen_as_round_trips_and_retransmits() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run("ip", &["link", "set", "lo", "mtu", "1500"]);
    let bucket =
        ["qdisc", "add", "dev", "lo", "root", "tbf", "rate", "2mbit", "burst", "2000", "limit", "200000"];
    let made = namespace.inside(|| Command::new("tc").args(bucket).output()).unwrap();
    if !made.status.success() {
        return skipped(&format!("the kernel has no token bucket: {made:?}"));
    }
    lose(&namespace, &["tcp dport 4000 tcp flags & syn == 0 numgen inc mod 9 == 8"]);
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let mut probe = Probe::at(&namespace, "{}");
        let mut pair = connection(&listener, "127.0.0.1:4000");
        probe.read();
        let (client, server) = (&mut pair.0, &mut pair.1);
        std::thread::scope(|scope| {
            scope.spawn(|| std::io::Write::write_all(client, &vec![1; 150_000]).unwrap());
            std::io::Read::read_exact(server, &mut vec![0; 150_000]).unwrap();
        });
        quiet(&pair);
        let numbers = probe.read();
        let info = tcp_info(&pair.0);
        let tcp = TcpInfo::new(&info);
        let again = f64::from(tcp.total_retrans().unwrap());
        assert!(again >= 5.0, "of some hundred segments every ninth gets lost: {again}");
        assert_eq!(numbers.sum("tcp.retransmits", &[OUTGOING]), again);
        assert_eq!(numbers.sum("tcp.retransmits", &[INCOMING]), 0.0);
        assert_eq!(numbers.io(&[OUTGOING]), [150_000.0, 0.0], "each byte once, however often it was sent");
        let segments = ["network.io.direction=transmit", OUTGOING];
        assert_eq!(numbers.sum("tcp.segments", &segments), f64::from(tcp.segs_out().unwrap()));
        let rtt = seconds(tcp.rtt());
        // 1500 bytes take 6 ms at this rate, so whatever is second of two waits as long.
        assert!(rtt > 0.006, "{rtt}");
        // The server's only sample is that of its SYN.
        let (count, sum) = samples(&numbers, OUTGOING);
        assert!((1.0..=2.0).contains(&count), "{count}");
        assert!(sum >= rtt && sum < rtt + 0.006 || count == 1.0 && (sum - rtt).abs() < 1e-9, "{sum} {rtt}");
        assert_eq!(
            numbers.sum("tcp.cwnd.count", &[OUTGOING]),
            count,
            "at the same moments as the round trips"
        );
        let least = numbers.sum("tcp.rtt.min.sum", &[OUTGOING]);
        assert!(least <= sum && least > 0.0);
        assert!(numbers.sum("tcp.busy.time", &[OUTGOING]) > 0.5, "600 ms at this rate");
    });
}

#[test]
fn a_round_trip_is_counted_once_an_interval_and_not_while_idle() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let mut pair = connection(&listener, "127.0.0.1:4000");
        send(&mut pair.0, &mut pair.1, 100);
        quiet(&pair);
        let mut probe = Probe::at(&namespace, "{}");
        for _ in 0..5 {
            let numbers = probe.read();
            assert_eq!(samples(&numbers, OUTGOING), (0.0, 0.0), "what was before us is not ours");
            assert_eq!(numbers.series("tcp.rtt.count", &[]).count(), 0);
        }
        let mut expected = (0.0, 0.0);
        for round in 1..=3 {
            for _ in 0..round {
                send(&mut pair.0, &mut pair.1, 100);
            }
            quiet(&pair);
            let info = tcp_info(&pair.0);
            expected.0 += 1.0;
            expected.1 += seconds(TcpInfo::new(&info).rtt());
            for _ in 0..3 {
                let (count, sum) = samples(&probe.read(), OUTGOING);
                assert_eq!(count, expected.0, "one a round, and none in a cycle without data");
                assert!((sum - expected.1).abs() < 1e-9, "{sum} {expected:?}");
            }
        }
        assert_eq!(samples(&probe.read(), INCOMING), (0.0, 0.0), "the server has sent nothing");
        close(pair);
        let numbers = probe.until("both ends have closed", |numbers| numbers.became("closed", &[]) == 2.0);
        assert_eq!(samples(&numbers, OUTGOING).0, expected.0 + 1.0, "and one at its end");
        assert_eq!(samples(&numbers, INCOMING).0, 1.0);
    });
}
