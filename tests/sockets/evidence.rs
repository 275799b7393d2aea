//! Which end opened a connection, where nobody listens any more, or who listens is not the one who was connected to.

use super::{
    Ends, INCOMING, Numbers, OUTGOING, Pair, Probe, abort, aborted, begin, close, connection, join, listener,
    lose, send,
};
use crate::support::{Namespace, eventually};
use rustix::net::sockopt::{set_socket_reuseaddr, set_socket_reuseport};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

const UNKNOWN: &str = "direction=~unknown";

/// A connection whose listener is closed as soon as it was accepted, as FTP's passive mode has them.
fn passive(to: &str) -> Pair {
    connection(&listener(to), to)
}

/// Keeps the kernel from giving these ports to clients: listeners come and go at them.
fn reserve(namespace: &Namespace, ports: &str) {
    namespace.run("sysctl", &["-qw", &format!("net.ipv4.ip_local_reserved_ports={ports}")]);
}

/// Connections that are open by direction.
fn open(numbers: &Numbers) -> [f64; 3] {
    [OUTGOING, INCOMING, UNKNOWN].map(|side| numbers.sum("tcp.open_connections", &[side]))
}

/// The ports that groups of connections have.
fn ports(numbers: &Numbers) -> Vec<String> {
    numbers.values("tcp.open_connections", "server.port")
}

fn left_out(numbers: &Numbers) -> f64 {
    numbers.sum("connscope.sockets.left_out", &["key=direction"])
}

#[test]
fn a_syn_with_options_is_no_connection() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run("sysctl", &["-qw", "net.ipv4.tcp_ecn=1"]);
    lose(&namespace, &["tcp dport 4001"]);
    namespace.inside(|| {
        let mut probe = Probe::at(&namespace, "{}");
        let unanswered: Vec<OwnedFd> = (0..5).map(|_| begin("127.0.0.1:4001")).collect();
        for _ in 0..5 {
            TcpStream::connect("127.0.0.1:4002").unwrap_err();
        }
        let numbers = probe.until("five were refused", |numbers| numbers.became("failed", &[]) == 5.0);
        assert_eq!(numbers.state("syn_sent", &[]), 5.0);
        assert_eq!(open(&numbers), [0.0; 3]);
        drop(unanswered);
        let numbers = probe.until("all have failed", |numbers| numbers.became("failed", &[]) == 10.0);
        assert_eq!(numbers.events(&[OUTGOING]), [0.0, 0.0, 0.0, 10.0]);
        assert_eq!(left_out(&numbers), 0.0);
    });
}

/// Each pair in a state of its own, with data in either direction and without: nobody listens when the agent starts.
#[test]
fn an_agent_that_starts_late_knows_the_direction_in_every_state() {
    for bytes in [[0, 0], [100, 3], [70_000, 1]] {
        let Some(namespace) = Namespace::new() else { return };
        namespace.run("nft", &["add chain inet t i { type filter hook input priority 0; }"]);
        namespace.inside(|| {
            let mut pairs: Vec<Pair> = Vec::new();
            for (port, first) in
                (4000..).zip(["none", "client", "server", "client", "server", "both", "both"])
            {
                let mut pair = passive(&format!("127.0.0.1:{port}"));
                send(&mut pair.0, &mut pair.1, bytes[0]);
                send(&mut pair.1, &mut pair.0, bytes[1]);
                if first == "client" {
                    pair.0.shutdown(Shutdown::Write).unwrap(); // FIN_WAIT_2, and CLOSE_WAIT at the server
                } else if first == "server" {
                    pair.1.shutdown(Shutdown::Write).unwrap();
                }
                pairs.push(pair);
            }
            eventually("their FINs are acknowledged", || {
                Probe::new("{}").read().state("fin_wait_2", &[]) == 4.0
            });
            // From here on nothing arrives: FINs and data stay unacknowledged.
            namespace.run("nft", &["add rule inet t i tcp dport 0-65535 drop"]);
            pairs[3].1.shutdown(Shutdown::Write).unwrap(); // LAST_ACK
            pairs[4].0.shutdown(Shutdown::Write).unwrap();
            pairs[5].0.shutdown(Shutdown::Write).unwrap(); // FIN_WAIT_1 on both sides
            pairs[5].1.shutdown(Shutdown::Write).unwrap();
            for mut end in [&pairs[0].0, &pairs[0].1, &pairs[6].0, &pairs[6].1] {
                end.write_all(&[7; 5000]).unwrap();
            }
            let numbers = Probe::new("{}").read();
            assert_eq!(numbers.state("last_ack", &[]), 2.0);
            assert_eq!(numbers.state("fin_wait_1", &[]), 2.0);
            assert_eq!(open(&numbers), [7.0, 7.0, 0.0], "{bytes:?}");
            assert_eq!(ports(&numbers), ["4000", "4001", "4002", "4003", "4004", "4005", "4006"]);
            assert_eq!(left_out(&numbers), 0.0);
        });
    }
}

/// The receiver does not read: much is written that was never sent.
#[test]
fn a_transfer_that_is_held_up_keeps_its_direction() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let (mut download, mut upload) = (passive("127.0.0.1:4000"), passive("127.0.0.1:4001"));
        for sender in [&mut download.1, &mut upload.0] {
            sender.set_nonblocking(true).unwrap();
            while sender.write(&[1; 8192]).is_ok() {}
        }
        let mut probe = Probe::at(&namespace, "{}");
        let numbers = probe.read();
        assert_eq!(open(&numbers), [2.0, 2.0, 0.0]);
        assert_eq!(ports(&numbers), ["4000", "4001"]);
        drop((download, upload));
    });
}

fn reusing(address: &str) -> OwnedFd {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    set_socket_reuseaddr(&socket, true).unwrap();
    set_socket_reuseport(&socket, true).unwrap();
    rustix::net::bind(&socket, &address.parse::<SocketAddr>().unwrap()).unwrap();
    socket
}

#[test]
fn a_connection_from_a_port_that_is_listened_on_is_outgoing() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let own = reusing("127.0.0.1:4001");
        rustix::net::listen(&own, 9).unwrap();
        let other = listener("127.0.0.1:4002");
        let mut probe = Probe::at(&namespace, "{}");
        let connect = |to: &str| -> Pair {
            let socket = reusing("127.0.0.1:4001");
            rustix::net::connect(&socket, &to.parse::<SocketAddr>().unwrap()).unwrap();
            (TcpStream::from(socket), other.accept().unwrap().0)
        };
        let pair = connect("127.0.0.1:4002");
        let numbers = probe.read();
        assert_eq!(numbers.sum("tcp.open_connections", &[OUTGOING, "server.port=4002"]), 1.0);
        assert_eq!(numbers.sum("tcp.open_connections", &[INCOMING, "server.port=4001"]), 0.0);
        assert_eq!(open(&numbers), [1.0, 1.0, 0.0]);
        close(pair);
        // And one that no dump has seen.
        let pair = connect("127.0.0.1:4002");
        close(pair);
        let numbers = probe.until("both have closed", |numbers| numbers.became("closed", &[]) == 4.0);
        assert_eq!(numbers.became("closed", &[OUTGOING, "server.port=4002"]), 2.0);
        assert_eq!(numbers.became("closed", &[INCOMING, "server.port=4002"]), 2.0);
    });
}

/// What was said before the peer's reset, by the client and by the server.
const SAID: [[usize; 2]; 4] = [[0, 0], [100, 0], [0, 100], [100, 1000]];

#[test]
fn short_connections_to_a_high_port_that_the_peer_resets_are_outgoing() {
    let Some(namespace) = Namespace::new() else { return };
    reserve(&namespace, "50001");
    namespace.inside(|| {
        let listener = listener("127.0.0.1:50001");
        let mut probe = Probe::at(&namespace, "{}");
        for [asked, answered] in SAID {
            for _ in 0..10 {
                let mut pair = connection(&listener, "127.0.0.1:50001");
                send(&mut pair.0, &mut pair.1, asked);
                send(&mut pair.1, &mut pair.0, answered);
                let (client, server) = pair;
                abort(server);
                aborted(client);
            }
        }
        let all = |numbers: &Numbers| numbers.became("reset", &[]) == 80.0;
        let numbers = probe.until("all were reset", all);
        assert_eq!(numbers.events(&[OUTGOING, "server.port=50001"]), [40.0, 0.0, 40.0, 0.0]);
        assert_eq!(numbers.events(&[INCOMING, "server.port=50001"]), [40.0, 0.0, 40.0, 0.0]);
        assert_eq!(ports(&numbers), ["50001"], "no port of a client's");
        assert_eq!(left_out(&numbers), 0.0);
    });
}

/// Listeners that come and go between two cycles, at ports that the kernel might give to clients as well.
#[test]
fn transfers_between_two_cycles_keep_their_direction() {
    let Some(namespace) = Namespace::new() else { return };
    reserve(&namespace, "40001");
    namespace.inside(|| {
        let mut probe = Probe::at(&namespace, "{}");
        let mut count = 0.0;
        for port in [2121, 20_001, 40_001, 60_001] {
            for (sent, received, server_first) in [
                (0, 0, true),
                (0, 500_000, true),
                (0, 500_000, false),
                (300_000, 0, false),
                (100, 3000, true),
                (100, 3000, false),
            ] {
                let mut pair = passive(&format!("127.0.0.1:{port}"));
                send(&mut pair.0, &mut pair.1, sent);
                // All at once, and closed at once: the FIN goes out with the last of the data.
                let (mut client, mut server) = pair;
                let sending = std::thread::spawn(move || {
                    server.write_all(&vec![1; received]).unwrap();
                    if server_first {
                        drop(server);
                        return None;
                    }
                    Some(server)
                });
                std::io::Read::read_exact(&mut client, &mut vec![0; received]).unwrap();
                if let Some(server) = sending.join().unwrap() {
                    close((client, server));
                } else {
                    assert_eq!(std::io::Read::read(&mut client, &mut [0]).unwrap(), 0);
                    drop(client);
                }
                count += 1.0;
            }
        }
        let numbers = probe.until("all have ended", |numbers| numbers.ended() == 2.0 * count);
        assert_eq!(numbers.events(&[OUTGOING]), [count, count, 0.0, 0.0]);
        assert_eq!(numbers.events(&[INCOMING]), [count, count, 0.0, 0.0]);
        assert_eq!(ports(&numbers), ["20001", "2121", "40001", "60001"]);
        assert_eq!(left_out(&numbers), 0.0);
    });
}

/// What is reset from here between two cycles has lost the peer's port and all that was counted.
#[test]
fn a_port_that_is_not_certain_to_be_a_services_has_no_group() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(elsewhere) = Namespace::new() else { return };
    join(&namespace, &elsewhere);
    namespace.inside(|| {
        let mut probe = Probe::at(&namespace, "{}");
        let mut ends = Ends::new();
        for port in (20_000..20_020).chain(40_000..40_010) {
            let listener = listener(&format!("10.9.0.1:{port}"));
            let client = elsewhere.inside(|| TcpStream::connect(("10.9.0.1", port)).unwrap());
            let (server, _) = listener.accept().unwrap();
            drop(listener);
            abort(server);
            aborted(client);
            ends.wait(1);
        }
        let numbers = probe.until("all were reset", |numbers| numbers.ended() == 30.0);
        assert_eq!(numbers.events(&[UNKNOWN, "server.port=~unknown"]), [30.0, 0.0, 30.0, 0.0]);
        assert_eq!(left_out(&numbers), 30.0);
    });
}

/// Neither the sequence numbers nor the counts of segments tell: a download, between two dumps, that its server resets.
#[test]
fn a_download_that_its_server_resets_is_reset() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(elsewhere) = Namespace::new() else { return };
    join(&namespace, &elsewhere);
    namespace.inside(|| {
        let mut probe = Probe::at(&namespace, "{}");
        let service = elsewhere.inside(|| listener("10.9.0.2:80"));
        for _ in 0..3 {
            let (mut client, mut server) = connection(&service, "10.9.0.2:80");
            for _ in 0..4 {
                send(&mut client, &mut server, 100);
                let sender = std::thread::spawn(move || {
                    server.write_all(&vec![1; 100_000]).unwrap();
                    server
                });
                std::io::Read::read_exact(&mut client, &mut vec![0; 100_000]).unwrap();
                server = sender.join().unwrap();
            }
            abort(server);
            aborted(client);
        }
        let numbers = probe.until("all have ended", |numbers| numbers.ended() == 3.0);
        assert_eq!(numbers.events(&[OUTGOING, "server.port=80"]), [3.0, 0.0, 3.0, 0.0]);
    });
}

/// The other end of a connection within this machine has what who reset it has lost.
#[test]
fn who_resets_has_the_direction_and_the_port_that_the_other_end_knows() {
    let Some(namespace) = Namespace::new() else { return };
    reserve(&namespace, "50001");
    namespace.inside(|| {
        let mut probe = Probe::at(&namespace, "{}");
        let mut ends = Ends::new();
        // Ports that the kernel gives to clients, and ports that it does not.
        for port in [20_001, 50_001] {
            for by_client in [true, false] {
                for address in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
                    let (client, server) = passive(&address);
                    let (first, second) = if by_client { (client, server) } else { (server, client) };
                    abort(first);
                    aborted(second);
                    ends.wait(2);
                }
            }
        }
        let numbers = probe.until("all were reset", |numbers| numbers.ended() == 16.0);
        for side in [OUTGOING, INCOMING] {
            for port in ["server.port=20001", "server.port=50001"] {
                assert_eq!(
                    numbers.events(&[side, port]),
                    [4.0, 0.0, 4.0, 0.0],
                    "{side} {port} {:?}",
                    numbers.series("tcp.connections", &["event=reset"]).collect::<Vec<_>>()
                );
            }
        }
        assert_eq!(left_out(&numbers), 0.0);
    });
}

#[test]
fn ports_that_are_listened_on_have_room_whatever_peers_there_are() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        // A fourth of the groups is for ports: ten.
        let mut probe = Probe::at(&namespace, "{group_by: [direction, service_port], limit: 40}");
        let pairs: Vec<Pair> = (4000..4030).map(|port| passive(&format!("127.0.0.1:{port}"))).collect();
        let numbers = probe.read();
        assert_eq!(
            numbers.values("tcp.open_connections", "server.port").len(),
            4 + 1,
            "three eighths, and ~other"
        );
        let services: Vec<TcpListener> =
            [443, 5001, 5002].map(|port| listener(&format!("127.0.0.1:{port}"))).into();
        let more: Vec<Pair> =
            services.iter().map(|one| connection(one, &one.local_addr().unwrap().to_string())).collect();
        let numbers = probe.read();
        for port in ["443", "5001", "5002"] {
            let port = format!("server.port={port}");
            assert_eq!(numbers.sum("tcp.open_connections", &[INCOMING, &port]), 1.0, "{port}");
        }
        drop((pairs, more));
    });
}

/// A listener that was seen is remembered: what ends later than it, and says nothing of itself, was connected to it.
#[test]
fn a_listener_that_was_closed_minutes_ago_is_remembered() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let one = listener("127.0.0.1:4000");
        let mut probe = Probe::at(&namespace, "{}");
        let (client, server) = connection(&one, "127.0.0.1:4000");
        drop(one);
        let mut ends = Ends::new();
        abort(server);
        aborted(client);
        ends.wait(2);
        let numbers = probe.until("both are told of", |numbers| numbers.became("reset", &[]) == 2.0);
        assert_eq!(numbers.events(&[INCOMING, "server.port=4000"]), [1.0, 0.0, 1.0, 0.0]);
        for _ in 0..3 {
            probe.read();
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(left_out(&probe.read()), 0.0);
    });
}
