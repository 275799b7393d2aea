//! Connections that begin or end in other ways than a plain one: Multipath TCP, of which the kernel takes a subflow apart as
//! it aborts a connection, and TCP Fast Open, whose SYN has data.

use super::{INCOMING, Numbers, OUTGOING, Probe, abort, aborted, close, connection, join, listener, send};
use crate::support::{Namespace, skipped};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, socket_with};
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

fn multipath(address: &str, multipath: bool, listens: bool) -> std::io::Result<OwnedFd> {
    let protocol = if multipath { Some(rustix::net::ipproto::MPTCP) } else { None };
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, protocol)?;
    let address: SocketAddr = address.parse().unwrap();
    if listens {
        rustix::net::bind(&socket, &address)?;
        rustix::net::listen(&socket, 9)?;
    } else {
        rustix::net::connect(&socket, &address)?;
    }
    Ok(socket)
}

fn there_is_mptcp() -> bool {
    let tried = multipath("127.0.0.1:3999", true, true);
    if let Err(error) = &tried {
        skipped(&format!("this kernel has no MPTCP: {error}"));
    }
    tried.is_ok()
}

fn multipath_pair(port: u16) -> (TcpStream, TcpStream) {
    let address = format!("127.0.0.1:{port}");
    let listener = TcpListener::from(multipath(&address, true, true).unwrap());
    let client = TcpStream::from(multipath(&address, true, false).unwrap());
    (client, listener.accept().unwrap().0)
}

/// The kernel takes a subflow apart as it aborts a connection: one end of each has lost its counters and its peer's port.
#[test]
fn connections_of_mptcp_that_end_in_order_are_closed_with_their_bytes() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        if !there_is_mptcp() {
            return;
        }
        let mut probe = Probe::at(&namespace, "{}");
        // Whether the server speaks MPTCP, and who closes first.
        for (port, server, client_first) in [(4000, true, true), (4001, false, true), (4002, true, false)] {
            let address = format!("127.0.0.1:{port}");
            let listener = TcpListener::from(multipath(&address, server, true).unwrap());
            for _ in 0..10 {
                let mut client = TcpStream::from(multipath(&address, true, false).unwrap());
                let (mut server, _) = listener.accept().unwrap();
                send(&mut server, &mut client, 1000);
                send(&mut client, &mut server, 500);
                close(if client_first { (client, server) } else { (server, client) });
            }
        }
        let numbers = probe.until("all have ended", |numbers| numbers.ended() == 60.0);
        for side in [INCOMING, OUTGOING] {
            assert_eq!(numbers.events(&[side]), [30.0, 30.0, 0.0, 0.0], "{side}");
        }
        assert_eq!(numbers.values("tcp.open_connections", "server.port"), ["4000", "4001", "4002"]);
        // A FIN is one byte received, and one that was not acknowledged yet is not in what the other end says.
        for (side, io) in [(INCOMING, [30_000.0, 15_030.0]), (OUTGOING, [15_000.0, 30_030.0])] {
            let seen = numbers.io(&[side]);
            let close = seen.iter().zip(io).all(|(seen, io)| (seen - io).abs() <= 30.0);
            assert!(close, "{side}: {seen:?}, not {io:?}");
        }
        // What is reset beside it is reset.
        let plain = listener("127.0.0.1:4003");
        for _ in 0..5 {
            let (client, server) = connection(&plain, "127.0.0.1:4003");
            abort(server);
            aborted(client);
        }
        let numbers = probe.until("these have ended too", |numbers| numbers.ended() == 70.0);
        assert_eq!(numbers.became("reset", &["server.port=4003"]), 10.0);
        assert_eq!(numbers.became("reset", &[]), 10.0);
    });
}

/// The other end is on another machine, so that the number of resets sent is all there is; those of before are none of its own.
#[test]
fn an_end_of_mptcp_whose_peer_is_elsewhere_is_told_by_the_resets_that_were_sent() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(elsewhere) = Namespace::new() else { return };
    join(&namespace, &elsewhere);
    namespace.inside(|| {
        if !there_is_mptcp() {
            return;
        }
        // Resets of before.
        (0..5).for_each(|_| drop(elsewhere.inside(|| TcpStream::connect("10.9.0.1:4999").unwrap_err())));
        let mut probe = Probe::at(&namespace, "{}");
        let listener = TcpListener::from(multipath("10.9.0.1:4000", true, true).unwrap());
        let orders =
            ["client", "server", "abort", "client", "client", "abort", "server", "client", "peer", "server"];
        // Whether a dump sees them while they are open.
        for (seen, first) in
            orders.map(|first| (false, first)).into_iter().chain(orders.map(|first| (true, first)))
        {
            let before = probe.read();
            let mut client =
                TcpStream::from(elsewhere.inside(|| multipath("10.9.0.1:4000", true, false).unwrap()));
            let (mut server, _) = listener.accept().unwrap();
            send(&mut server, &mut client, 1000);
            if seen {
                probe.read();
            }
            match first {
                "client" => close((client, server)),
                "server" => close((server, client)),
                "peer" => {
                    abort(client);
                    aborted(server);
                }
                _ => abort(server),
            }
            let event = if matches!(first, "abort" | "peer") { "reset" } else { "closed" };
            let numbers = probe.until("it has ended", |numbers| numbers.ended() == before.ended() + 1.0);
            assert_eq!(numbers.became(event, &[]), before.became(event, &[]) + 1.0, "{first}, seen: {seen}");
        }
        // And an agent that starts when MPTCP is in use already.
        (0..5).for_each(|_| drop(elsewhere.inside(|| TcpStream::connect("10.9.0.1:4999").unwrap_err())));
        let mut late = Probe::at(&namespace, "{}");
        let client = TcpStream::from(elsewhere.inside(|| multipath("10.9.0.1:4000", true, false).unwrap()));
        close((client, listener.accept().unwrap().0));
        let numbers = late.until("it has ended", |numbers| numbers.ended() == 1.0);
        assert_eq!(numbers.became("closed", &[]), 1.0, "{numbers:#?}");
    });
}

#[test]
fn a_connection_of_mptcp_that_is_aborted_is_reset_whether_a_dump_has_seen_it_or_not() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        if !there_is_mptcp() {
            return;
        }
        let mut probe = Probe::at(&namespace, "{}");
        // Those of before are none of theirs.
        let plain = listener("127.0.0.1:4002");
        for _ in 0..3 {
            let (client, server) = connection(&plain, "127.0.0.1:4002");
            abort(server);
            aborted(client);
        }
        probe.until("these were reset", |numbers| numbers.became("reset", &[]) == 6.0);
        let ended = |numbers: &Numbers| numbers.ended() - 6.0;
        let reset = |numbers: &Numbers| numbers.became("reset", &[]) - 6.0;
        let mut count = 0.0;
        for (seen, by_client) in [(true, true), (true, false), (false, true), (false, false)] {
            let (client, server) = multipath_pair(4000);
            if seen {
                let numbers = probe.read();
                assert_eq!(numbers.sum("tcp.open_connections", &["server.port=4000"]), 2.0);
            }
            let (first, second) = if by_client { (client, server) } else { (server, client) };
            abort(first);
            aborted(second);
            count += 2.0;
            let numbers = probe.until("both ends are told of", |numbers| ended(numbers) == count);
            assert_eq!(reset(&numbers), count / 2.0 + 1.0, "seen: {seen}, by the client: {by_client}");
            // One that ends in order beside it does.
            let pair = multipath_pair(4001);
            probe.read();
            close(pair);
            count += 2.0;
            let numbers = probe.until("both ends are told of", |numbers| ended(numbers) == count);
            assert_eq!(numbers.became("closed", &["server.port=4001"]), count / 2.0);
            assert_eq!(reset(&numbers), count / 2.0);
        }
    });
}

/// Connects with so many bytes in the SYN.
fn with_data(to: &str, bytes: usize) -> TcpStream {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    let fast_open = SendFlags::from_bits_retain(libc::MSG_FASTOPEN.cast_unsigned());
    let to: SocketAddr = to.parse().unwrap();
    assert_eq!(rustix::net::sendto(&socket, &vec![1; bytes], fast_open, &to).unwrap(), bytes);
    socket.into()
}

#[test]
fn connections_whose_syn_has_data_keep_their_direction() {
    let Some(namespace) = Namespace::new() else { return };
    // Both ends, without cookies, at any listener.
    namespace
        .run("sysctl", &["-qw", "net.ipv4.tcp_fastopen=0x607", "net.ipv4.ip_local_reserved_ports=50001"]);
    namespace.inside(|| {
        let mut probe = Probe::at(&namespace, "{}");
        let mut count = 0.0;
        for (answer, in_order) in [(0, true), (0, false), (3000, true), (3000, false)] {
            let listener = listener("127.0.0.1:50001");
            let client = with_data("127.0.0.1:50001", 10);
            let (mut server, _) = listener.accept().unwrap();
            drop(listener);
            server.read_exact(&mut [0; 10]).unwrap();
            let mut client = client;
            send(&mut server, &mut client, answer);
            if in_order {
                close((client, server));
            } else {
                abort(server);
                aborted(client);
            }
            count += 1.0;
            let numbers = probe.until("both ends are told of", |numbers| numbers.ended() == 2.0 * count);
            let resets = f64::from(u8::from(!in_order)) + (count / 2.0 - 0.5).floor();
            for side in [OUTGOING, INCOMING] {
                assert_eq!(
                    numbers.events(&[side, "server.port=50001"]),
                    [count, count - resets, resets, 0.0],
                    "{side}, {answer} bytes, in order: {in_order}"
                );
            }
        }
        let syns = namespace.run("nstat", &["-asz", "TcpExtTCPFastOpenPassive"]);
        assert!(syns.contains("TCPFastOpenPassive        4 "), "no SYN had data: {syns}");
    });
}
