//! What became of connections, and what they carried: between two cycles, before the agent, by resets from either end.

use super::{
    Ends, INCOMING, Numbers, OUTGOING, Pair, Probe, abort, aborted, begin, close, connection, listener, lose,
    send,
};
use crate::support::{Namespace, PATIENCE, eventually};
use connscope::filter::Filter;
use connscope::source::sockets::diag::Record;
use connscope::source::sockets::sock_diag::SockDiag;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};

const BOTH: [&str; 2] = [OUTGOING, INCOMING];

/// Opened, closed, reset and failed of the clients' and of the servers' side.
fn events(numbers: &Numbers) -> [[f64; 4]; 2] {
    BOTH.map(|side| numbers.events(&[side]))
}

/// What is open and what was counted say the same.
fn consistent(numbers: &Numbers) {
    let [opened, closed, reset, _] = numbers.events(&[]);
    assert_eq!(opened - closed - reset, numbers.sum("tcp.open_connections", &[]), "{numbers:#?}");
}

/// Whoever reads no further leaves the kernel in the middle of its answer, which takes no other question until then.
#[test]
fn an_answer_that_was_not_read_to_its_end_does_not_stand_for_the_next_one() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let pairs: Vec<_> = (0..300).map(|_| connection(&listener, "127.0.0.1:4000")).collect();
        let filter = Filter::default();
        let mut space = SockDiag::open(&filter).unwrap();
        let mut stop = |_: &Record<'_>, _| panic!("a test");
        let stopped = catch_unwind(AssertUnwindSafe(|| space.connections(&filter, false, &mut stop)));
        assert!(stopped.is_err());
        let mut count = 0;
        space.connections(&filter, false, &mut |_, _| count += 1).unwrap();
        assert_eq!(count, 600);
        drop(pairs);
    });
}

#[test]
fn a_connection_between_two_cycles_is_counted_with_its_bytes() {
    let Some(namespace) = Namespace::new() else { return };
    for (address, connections) in [("127.0.0.1:4000", 1), ("[::1]:4000", 3)] {
        let count = f64::from(connections);
        namespace.inside(|| {
            let listener = listener(address);
            let mut probe = Probe::at(&namespace, "{}");
            for _ in 0..connections {
                let mut pair = connection(&listener, address);
                send(&mut pair.0, &mut pair.1, 1000);
                send(&mut pair.1, &mut pair.0, 300);
                close(pair);
            }
            let numbers =
                probe.until("both ends are told of", |numbers| numbers.became("closed", &[]) == 2.0 * count);
            assert_eq!(events(&numbers), [[count, count, 0.0, 0.0]; 2]);
            // A FIN is one byte received.
            assert_eq!(numbers.io(&[OUTGOING, "server.port=4000"]), [1000.0 * count, 301.0 * count]);
            assert_eq!(numbers.io(&[INCOMING, "server.port=4000"]), [300.0 * count, 1001.0 * count]);
            assert_eq!(numbers.values("tcp.io", "server.port"), ["4000"]);
            assert_eq!(numbers.sum("tcp.rtt.count", &[OUTGOING]), count, "one sample at close");
            assert!(numbers.sum("tcp.segments", &[OUTGOING]) >= 5.0 * count);
            consistent(&numbers);
            let later = probe.read();
            for (series, value) in numbers.0.iter().filter(|(series, _)| series.starts_with("tcp.")) {
                assert_eq!(later.0.get(series), Some(value), "{series} after it is over");
            }
        });
    }
}

#[test]
fn without_the_events_what_lives_between_two_cycles_is_not_seen() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let mut probe = Probe::at(&namespace, "close_events: false");
        let mut pair = connection(&listener, "127.0.0.1:4000");
        send(&mut pair.0, &mut pair.1, 1000);
        close(pair);
        let mut seen = connection(&listener, "127.0.0.1:4000");
        send(&mut seen.0, &mut seen.1, 10);
        let numbers = probe.read();
        assert_eq!(events(&numbers), [[1.0, 0.0, 0.0, 0.0]; 2], "the one that is there");
        assert_eq!(numbers.io(&[INCOMING]), [0.0, 10.0]);
        assert_eq!(numbers.series("connscope.sockets.events", &[]).count(), 0);
        close(seen);
        let numbers = probe.read();
        assert_eq!(events(&numbers), [[1.0, 1.0, 0.0, 0.0]; 2], "gone is closed");
        assert_eq!(numbers.io(&[INCOMING]), [0.0, 10.0]);
        consistent(&numbers);
    });
}

#[test]
fn what_was_there_before_is_counted_from_where_it_stands() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let mut pair = connection(&listener, "127.0.0.1:4000");
        send(&mut pair.0, &mut pair.1, 5000);
        let mut probe = Probe::at(&namespace, "{}");
        let numbers = probe.read();
        assert_eq!(events(&numbers), [[0.0; 4]; 2]);
        assert_eq!(numbers.sum("tcp.open_connections", &[]), 2.0);
        assert_eq!(BOTH.map(|side| numbers.io(&[side])), [[0.0; 2]; 2]);
        send(&mut pair.0, &mut pair.1, 70);
        let numbers = probe.read();
        assert_eq!(BOTH.map(|side| numbers.io(&[side])), [[70.0, 0.0], [0.0, 70.0]]);
        send(&mut pair.0, &mut pair.1, 8);
        close(pair);
        let numbers = probe.until("both ends have closed", |numbers| numbers.became("closed", &[]) == 2.0);
        assert_eq!(events(&numbers), [[0.0, 1.0, 0.0, 0.0]; 2]);
        assert_eq!(BOTH.map(|side| numbers.io(&[side])), [[78.0, 1.0], [0.0, 79.0]]);
        assert_eq!(numbers.sum("tcp.open_connections", &[]), 0.0);
    });
}

/// A connection that a cycle has seen, if `known`, is ended; both ends' events.
fn ended(known: bool, address: &str, end: impl Fn(Pair) + Sync) -> Option<[[f64; 4]; 2]> {
    let namespace = Namespace::new()?;
    let answer = namespace.inside(|| {
        let listener = listener(address);
        let mut probe = Probe::at(&namespace, "{}");
        let mut pair = connection(&listener, address);
        send(&mut pair.0, &mut pair.1, 100);
        send(&mut pair.1, &mut pair.0, 100);
        if known {
            assert_eq!(events(&probe.read()), [[1.0, 0.0, 0.0, 0.0]; 2]);
        }
        let mut ends = Ends::new();
        end(pair);
        ends.wait(2);
        let numbers = probe.until("both ends are over", |numbers| {
            numbers.sum("tcp.connections", &["event=closed"])
                + numbers.sum("tcp.connections", &["event=reset"])
                == 2.0
        });
        consistent(&numbers);
        // The port of a peer that was reset from here is not known any more, if no cycle has seen it.
        let ports = numbers.values("tcp.connections", "server.port");
        assert!(ports.iter().all(|port| port == "4000" || port == "~unknown" && !known), "{ports:?}");
        events(&numbers)
    });
    Some(answer)
}

const CLOSED: [f64; 4] = [1.0, 1.0, 0.0, 0.0];
const RESET: [f64; 4] = [1.0, 0.0, 1.0, 0.0];

#[test]
fn a_reset_from_either_end_is_a_reset_at_both() {
    for address in ["127.0.0.1:4000", "[::1]:4000"] {
        for known in [true, false] {
            let Some(by_client) = ended(known, address, |(client, server)| {
                abort(client);
                aborted(server);
            }) else {
                return;
            };
            assert_eq!(by_client, [RESET; 2], "the client resets {address}, known: {known}");
            let by_server = ended(known, address, |(client, server)| {
                abort(server);
                aborted(client);
            });
            assert_eq!(by_server, Some([RESET; 2]), "the server resets {address}, known: {known}");
        }
    }
}

#[test]
fn who_closes_with_something_unread_resets() {
    for known in [true, false] {
        let Some(unread) = ended(known, "127.0.0.1:4000", |(client, server)| {
            (&client).write_all(b"nobody reads this").unwrap();
            eventually("it is there", || server.peek(&mut [0; 17]).is_ok_and(|bytes| bytes == 17));
            drop(server);
            aborted(client);
        }) else {
            return;
        };
        assert_eq!(unread, [RESET; 2], "known: {known}");
    }
}

#[test]
fn whoever_closes_first_it_is_in_order() {
    for known in [true, false] {
        let Some(by_client) = ended(known, "127.0.0.1:4000", close) else { return };
        assert_eq!(by_client, [CLOSED; 2], "the client closes, known: {known}");
        let by_server = ended(known, "127.0.0.1:4000", |(client, server)| close((server, client)));
        assert_eq!(by_server, Some([CLOSED; 2]), "the server closes, known: {known}");
    }
}

#[test]
fn connections_that_never_were_have_failed() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| std::fs::write("/proc/sys/net/ipv4/tcp_syn_retries", "1")).unwrap();
    lose(&namespace, &["tcp dport 4001"]);
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let mut probe = Probe::at(&namespace, "{}");
        TcpStream::connect("127.0.0.1:4009").unwrap_err();
        TcpStream::connect("[::1]:4009").unwrap_err();
        let numbers = probe.until("both refusals", |numbers| numbers.became("failed", &[]) == 2.0);
        assert_eq!(events(&numbers), [[0.0, 0.0, 0.0, 2.0], [0.0; 4]]);
        // Which port was refused the kernel has forgotten by then.
        assert_eq!(numbers.values("tcp.connections", "server.port"), ["~unknown"]);
        // One that a cycle has seen while it was tried has its port.
        let trying = std::thread::spawn({
            let stream = begin("127.0.0.1:4001");
            move || {
                let mut watched = [rustix::event::PollFd::new(&stream, rustix::event::PollFlags::OUT)];
                rustix::event::poll(&mut watched, None).unwrap();
                rustix::net::sockopt::socket_error(&stream).unwrap()
            }
        });
        let numbers = probe.read();
        assert_eq!(numbers.state("syn_sent", &[]), 1.0);
        assert_eq!(numbers.sum("tcp.open_connections", &[]), 0.0, "it is not open");
        assert_eq!(trying.join().unwrap(), Err(rustix::io::Errno::TIMEDOUT));
        let numbers = probe.until("it has failed", |numbers| numbers.became("failed", &[]) == 3.0);
        assert_eq!(events(&numbers), [[0.0, 0.0, 0.0, 3.0], [0.0; 4]]);
        assert_eq!(numbers.became("failed", &[OUTGOING, "server.port=4001"]), 1.0);
        consistent(&numbers);
        drop(listener);
    });
}

#[test]
fn a_connection_that_is_half_closed_is_open_and_counted_on() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let mut probe = Probe::at(&namespace, "{}");
        let (mut client, mut server) = connection(&listener, "127.0.0.1:4000");
        probe.read();
        client.shutdown(Shutdown::Write).unwrap();
        eventually("the end is there", || server.peek(&mut [0]).is_ok_and(|bytes| bytes == 0));
        send(&mut server, &mut client, 5000);
        let numbers = probe.read();
        assert_eq!(events(&numbers), [[1.0, 0.0, 0.0, 0.0]; 2]);
        assert_eq!(BOTH.map(|side| numbers.sum("tcp.open_connections", &[side])), [1.0; 2]);
        assert_eq!(BOTH.map(|side| numbers.io(&[side])), [[0.0, 5000.0], [5000.0, 1.0]]);
        drop(server);
        drop(client);
        let numbers = probe.until("both ends have closed", |numbers| numbers.became("closed", &[]) == 2.0);
        assert_eq!(events(&numbers), [CLOSED; 2]);
        consistent(&numbers);
    });
}

#[test]
fn connections_that_nobody_accepted_are_reset_with_their_listener() {
    for known in [true, false] {
        let Some(namespace) = Namespace::new() else { return };
        namespace.inside(|| {
            let listener = listener("127.0.0.1:4000");
            let mut probe = Probe::at(&namespace, "{}");
            let clients = [(); 3].map(|()| TcpStream::connect("127.0.0.1:4000").unwrap());
            if known {
                let numbers = probe.until("all are open", |numbers| numbers.became("opened", &[]) == 6.0);
                assert_eq!(numbers.sum("tcp.listen.queue.usage", &[INCOMING]), 3.0);
            }
            let mut ends = Ends::new();
            drop(listener);
            clients.into_iter().for_each(aborted);
            ends.wait(6);
            let numbers = probe.until("all are over", |numbers| numbers.became("reset", &[]) == 6.0);
            assert_eq!(events(&numbers), [[3.0, 0.0, 3.0, 0.0]; 2], "known: {known}");
            consistent(&numbers);
        });
    }
}

#[test]
fn who_does_not_answer_any_more_is_reset_by_time_out() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let mut probe = Probe::at(&namespace, "{}");
        let (mut client, server) = connection(&listener, "127.0.0.1:4000");
        probe.read();
        rustix::net::sockopt::set_tcp_user_timeout(&client, 300).unwrap();
        lose(&namespace, &["tcp dport 4000"]);
        client.write_all(b"hello?").unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        let error = std::io::Read::read(&mut client, &mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        let mut ends = Ends::new();
        drop(client);
        ends.wait(1);
        let numbers = probe.until("it is over", |numbers| {
            numbers.became("opened", &[OUTGOING]) == 1.0 && numbers.became("reset", &[]) == 1.0
        });
        assert_eq!(events(&numbers), [RESET, [1.0, 0.0, 0.0, 0.0]], "the server has not noticed");
        assert!(numbers.sum("tcp.retransmits", &[OUTGOING]) >= 1.0);
        drop(server);
    });
}

#[test]
fn what_has_ended_and_is_not_closed_is_counted_once() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let mut probe = Probe::at(&namespace, "{}");
        let (client, server) = connection(&listener, "127.0.0.1:4000");
        probe.read();
        let mut ends = Ends::new();
        abort(client);
        ends.wait(1);
        eventually("the reset is there", || server.take_error().unwrap().is_some());
        // The server's process has not noticed for many cycles, in which no dump has its socket any more.
        for _ in 0..5 {
            consistent(&probe.read());
        }
        let numbers =
            probe.until("it is not open", |numbers| numbers.sum("tcp.open_connections", &[]) == 0.0);
        let [opened, closed, reset, _] = numbers.events(&[INCOMING]);
        assert_eq!((opened, closed + reset), (1.0, 1.0));
        let told = |numbers: &Numbers| numbers.sum("connscope.sockets.events", &[]);
        let before = told(&numbers);
        drop(server);
        let numbers = probe.until("it is told of", |numbers| told(numbers) > before);
        let [opened, closed, reset, failed] = numbers.events(&[INCOMING]);
        assert_eq!((opened, closed + reset, failed), (1.0, 1.0, 0.0));
        assert_eq!(numbers.events(&[OUTGOING]), RESET);
        consistent(&numbers);
        assert_eq!(numbers.sum("connscope.sockets.tracked", &[]), 1.0, "the listener");
    });
}

#[test]
fn a_socket_that_is_connected_anew_does_not_wrap() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let mut probe = Probe::at(&namespace, "top: {by: retransmits, count: 5}");
        let (mut client, mut server) = connection(&listener, "127.0.0.1:4000");
        for _ in 0..20 {
            send(&mut client, &mut server, 1000);
        }
        let sent = ["network.io.direction=transmit", OUTGOING];
        let before = probe.read().sum("tcp.segments", &sent);
        assert!(before >= 20.0);
        rustix::net::connect_unspec(&client).unwrap();
        aborted(server);
        let to: std::net::SocketAddr = "127.0.0.1:4000".parse().unwrap();
        rustix::net::connect(&client, &to).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        send(&mut client, &mut server, 10);
        let after = probe.read().sum("tcp.segments", &sent);
        assert!((before..before + 20.0).contains(&after), "{before}, then {after}");
    });
}
