//! The bounds: groups, values of a key, sockets remembered, the worst flows; and counters over many cycles.

use super::{INCOMING, Numbers, OUTGOING, Pair, Probe, abort, close, connection, listener, send};
use crate::support::Namespace;
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn listeners(ports: std::ops::Range<u16>) -> Vec<(TcpListener, String)> {
    ports
        .map(|port| {
            let address = format!("127.0.0.1:{port}");
            (listener(&address), address)
        })
        .collect()
}

fn left_out(numbers: &Numbers, key: &str) -> f64 {
    numbers.sum("connscope.sockets.left_out", &[&format!("key={key}")])
}

#[test]
fn more_groups_than_the_limit_are_one_and_counted() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let there = listeners(4000..4012);
        // Who listens is a group too.
        let mut probe = Probe::at(&namespace, "{group_by: [direction, service_port, uid], limit: 20}");
        let pairs: Vec<Pair> = there.iter().map(|(listener, to)| connection(listener, to)).collect();
        let numbers = probe.read();
        // A fourth of the limit are the ports that have groups of their own.
        assert_eq!(numbers.values("tcp.open_connections", "server.port").len(), 6, "{numbers:#?}");
        assert_eq!(numbers.sum("tcp.open_connections", &["server.port=~other"]), 14.0);
        assert_eq!(left_out(&numbers, "service_port"), 7.0 + 14.0, "listeners and connections");
        assert_eq!(left_out(&numbers, "group"), 0.0);
        assert_eq!(numbers.sum("tcp.open_connections", &[]), 24.0, "nothing is lost");
        assert_eq!(numbers.became("opened", &[]), 24.0);
        pairs.into_iter().for_each(close);
        let numbers = probe.until("all have closed", |numbers| numbers.became("closed", &[]) == 24.0);
        assert_eq!(numbers.became("closed", &["server.port=~other"]), 14.0);
    });
}

#[test]
fn groups_over_the_limit_are_the_rest_and_nothing_is_lost() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let there = listeners(4000..4012);
        let mut probe = Probe::at(&namespace, "{group_by: [direction, service_port, peer_group], limit: 3}");
        let pairs: Vec<Pair> = there.iter().map(|(listener, to)| connection(listener, to)).collect();
        let numbers = probe.read();
        let groups = numbers.sum("connscope.sockets.groups", &[]);
        assert!(groups <= 4.0, "{groups}");
        let rest = ["direction=~other", "server.port=~other", "peer_group=~other"];
        assert!(left_out(&numbers, "group") > 0.0);
        assert!(numbers.sum("tcp.open_connections", &rest) > 0.0, "{numbers:#?}");
        assert_eq!(numbers.sum("tcp.open_connections", &[]), 24.0);
        assert_eq!(numbers.became("opened", &[]), 24.0);
        drop(pairs);
    });
}

#[test]
fn sockets_over_the_limit_are_counted_by_state_alone() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let mut probe = Probe::at(&namespace, "track: 5");
        let mut pairs: Vec<Pair> = (0..5).map(|_| connection(&listener, "127.0.0.1:4000")).collect();
        for pair in &mut pairs {
            send(&mut pair.0, &mut pair.1, 10);
        }
        let numbers = probe.read();
        assert_eq!(numbers.sum("connscope.sockets.tracked", &[]), 5.0);
        assert_eq!(numbers.became("opened", &[]), 4.0, "and the listener is the fifth");
        assert_eq!(left_out(&numbers, "track"), 6.0);
        assert_eq!(numbers.state("established", &[]), 10.0);
        pairs.into_iter().for_each(close);
        // The kernel tells of all; which of the others were there before us cannot be told.
        let told = |numbers: &Numbers| numbers.sum("connscope.sockets.events", &[]) >= 10.0;
        let numbers = probe.until("all have closed", told);
        let [opened, closed, reset, failed] = [OUTGOING, INCOMING]
            .map(|end| numbers.events(&[end]))
            .into_iter()
            .fold([0.0; 4], |sum, more| std::array::from_fn(|place| sum[place] + more[place]));
        assert_eq!([opened, closed, reset, failed], [4.0, 4.0, 0.0, 0.0]);
        assert_eq!(numbers.sum("connscope.sockets.tracked", &[]), 1.0);
        assert!(left_out(&numbers, "track") >= 12.0, "counted in the dump and at their end");
    });
}

fn worst(numbers: &Numbers, metric: &str) -> BTreeMap<String, f64> {
    let metric = format!("tcp.top.{metric}");
    let flow = |series: &str| {
        let (_, labels) = series.split_once('{').unwrap();
        let ports = labels.trim_end_matches('}').split(',').filter_map(|label| {
            label.strip_prefix("network.peer.port=").or(label.strip_prefix("network.local.port="))
        });
        ports.collect::<Vec<_>>().join("-")
    };
    numbers.series(&metric, &[]).map(|(series, value)| (flow(series), value)).collect()
}

#[test]
fn the_worst_flows_are_shown_by_each_of_the_three() {
    let Some(namespace) = Namespace::new() else { return };
    super::lose(&namespace, &["tcp dport 4001 tcp flags & (syn | fin) == 0 numgen inc mod 3 == 1"]);
    namespace.inside(|| {
        let there = listeners(4000..4004);
        let mut tops = ["retransmits", "queue", "rtt"]
            .map(|by| (by, Probe::at(&namespace, &format!("top: {{by: {by}, count: 2}}"))));
        let mut pairs: Vec<Pair> = there.iter().map(|(listener, to)| connection(listener, to)).collect();
        let name = |pair: &Pair| {
            let ports = [pair.0.local_addr().unwrap().port(), pair.0.peer_addr().unwrap().port()];
            format!("{}-{}", ports[0], ports[1])
        };
        for (place, bytes) in [(2, 50_000), (3, 20_000), (0, 10)] {
            std::io::Write::write_all(&mut pairs[place].0, &vec![1; bytes]).unwrap();
        }
        for _ in 0..20 {
            let (client, server) = &mut pairs[1];
            send(client, server, 10);
        }
        for (by, probe) in &mut tops {
            let numbers = probe.read();
            let shown = worst(&numbers, by);
            assert!(shown.len() <= 2, "{shown:?}");
            match *by {
                "retransmits" => {
                    assert_eq!(
                        shown.keys().collect::<Vec<_>>(),
                        [&name(&pairs[1])],
                        "the only one that lost"
                    );
                    let again = numbers.sum("tcp.retransmits", &[]);
                    assert_eq!(shown.values().sum::<f64>(), again);
                    assert!(worst(&probe.read(), by).is_empty(), "since the last cycle there were none");
                }
                "queue" => {
                    // At the servers, who have not read it.
                    let reversed = |pair: &Pair| {
                        let name = name(pair);
                        let (client, server) = name.split_once('-').unwrap();
                        format!("{server}-{client}")
                    };
                    let expected = [(reversed(&pairs[2]), 50_000.0), (reversed(&pairs[3]), 20_000.0)].into();
                    assert_eq!(shown, expected);
                }
                _ => {
                    assert_eq!(shown.len(), 2);
                    assert!(shown.values().all(|rtt| *rtt > 0.0 && *rtt < 10.0), "{shown:?}");
                    let every = Probe::new("top: {by: rtt, count: 100}").read();
                    let every = worst(&every, by);
                    assert_eq!(every.len(), 8);
                }
            }
        }
        let labels = ["network.local.address=127.0.0.1", "network.peer.address=127.0.0.1"];
        assert_eq!(tops[1].1.read().series("tcp.top.queue", &labels).count(), 2);
    });
}

/// Sets a flag when it goes out of scope.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What must never fall.
fn falls(before: &Numbers, now: &Numbers) -> Vec<String> {
    let level = [
        "tcp.open_connections",
        "tcp.zero_window_connections",
        "tcp.stalled_connections",
        "tcp.path_mtu",
        "tcp.accept.oldest",
        "tcp.listen",
        "udp.queue",
        "system.",
        "connscope.sockets.tracked",
    ];
    let grows = before.0.iter().filter(|(series, _)| {
        !level.iter().any(|level| series.starts_with(level))
            && !series.starts_with("connscope.sockets.groups")
    });
    grows
        .filter(|(series, value)| now.0.get(*series).is_none_or(|now| now < value))
        .map(|(series, value)| format!("{series}: {value}, then {:?}", now.0.get(series)))
        .collect()
}

#[test]
fn counters_never_fall_while_sockets_come_and_go_under_two_readers() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let there = listeners(4000..4004);
        let mut probe = Probe::at(&namespace, "{}");
        let over = AtomicBool::new(false);
        let made = std::thread::scope(|scope| {
            let clients: Vec<_> = there
                .iter()
                .enumerate()
                .map(|(kind, (listener, to))| {
                    let over = &over;
                    let namespace = &namespace;
                    scope.spawn(move || {
                        namespace.inside(|| {
                            let (mut made, mut kept) = (0.0, Vec::new());
                            while !over.load(Ordering::Relaxed) {
                                let mut pair = connection(listener, to);
                                send(&mut pair.0, &mut pair.1, 100);
                                made += 1.0;
                                kept.push(pair);
                                // As fast as they can they would outrun an agent that is built without optimisation.
                                std::thread::sleep(Duration::from_millis(2));
                                if kept.len() > 20 * kind {
                                    let pair = kept.swap_remove(kept.len() / 2);
                                    if kind == 3 { abort(pair.0) } else { close(pair) }
                                }
                            }
                            (made, kept)
                        })
                    })
                })
                .collect();
            // The two readers of an agent ask in turns, at whatever moment; each sees what it saw and more.
            let mut seen = [Numbers::default(), Numbers::default()];
            let until = Instant::now() + Duration::from_secs(3);
            let mut cycles = 0_usize;
            // The clients end also where an assertion fails.
            let end = Ended(&over);
            while Instant::now() < until || cycles < 100 {
                let numbers = probe.read();
                let before = &mut seen[usize::from(cycles.is_multiple_of(3))];
                assert_eq!(falls(before, &numbers), [] as [String; 0]);
                let [opened, closed, reset, _] = numbers.events(&[]);
                assert_eq!(opened - closed - reset, numbers.sum("tcp.open_connections", &[]));
                *before = numbers;
                cycles += 1;
            }
            drop(end);
            clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
        });
        let total: f64 = made.iter().map(|(made, _)| made).sum();
        drop(made);
        let numbers = probe.until("all are over", |numbers| {
            numbers.sum("tcp.open_connections", &[]) == 0.0 && numbers.ended() == 2.0 * total
        });
        for side in [OUTGOING, INCOMING] {
            let [opened, closed, reset, failed] = numbers.events(&[side]);
            assert_eq!((opened, closed + reset, failed), (total, total, 0.0), "{side} {numbers:#?}");
        }
        assert_eq!(numbers.sum("connscope.sockets.events.lost", &[]), 0.0);
        let ports = numbers.values("tcp.connections", "server.port");
        // What was reset from here before a cycle saw it has lost its port.
        let known: Vec<_> = ports.iter().filter(|port| *port != "~unknown").collect();
        assert_eq!(known, ["4000", "4001", "4002", "4003"], "and no port of a client's");
    });
}
