//! Which sockets are looked at: filters that the kernel runs and filters that only the agent can, of what is there and of
//! what ends.

use super::{INCOMING, OUTGOING, Probe, close, connection, listener, send};
use crate::support::Namespace;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;

/// A connection with a mark.
#[expect(unsafe_code, reason = "no safe crate has this option")]
fn marked(to: &str, mark: u32) -> TcpStream {
    let to: SocketAddr = to.parse().unwrap();
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    // SAFETY: the descriptor is open, and the kernel reads 4 bytes from `mark`, which is as long and outlives the call.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MARK, (&raw const mark).cast(), 4)
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    rustix::net::connect(&socket, &to).unwrap();
    socket.into()
}

#[test]
fn only_what_the_filter_lets_through_is_counted_there_and_at_its_end() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let there = [listener("127.0.0.1:4000"), listener("127.0.0.1:4001")];
        let mut probe = Probe::at(&namespace, "filter: 'sport = :4001 or dport = :4001'");
        let udp = [4000, 4001].map(|port| UdpSocket::bind(("127.0.0.1", port)).unwrap());
        let pair = |place: usize| {
            let mut pair = connection(&there[place], ["127.0.0.1:4000", "127.0.0.1:4001"][place]);
            send(&mut pair.0, &mut pair.1, 100);
            pair
        };
        let pairs = [pair(0), pair(1), pair(1)];
        [pair(0), pair(0), pair(1)].into_iter().for_each(close);
        let numbers = probe.until("both ends of one are told of", |numbers| {
            numbers.became("closed", &[]) >= 2.0 && numbers.sum("connscope.sockets.events", &[]) >= 6.0
        });
        assert_eq!(numbers.events(&[OUTGOING]), [3.0, 1.0, 0.0, 0.0]);
        assert_eq!(numbers.events(&[INCOMING]), [3.0, 1.0, 0.0, 0.0]);
        assert_eq!(numbers.values("tcp.connections", "server.port"), ["4001"]);
        assert_eq!(
            ["established", "listen", "time_wait"].map(|state| numbers.state(state, &[])),
            [4.0, 1.0, 1.0]
        );
        let datagrams = ["network.transport=udp", "network.connection.state=closed"];
        assert_eq!(numbers.sum("system.network.connection.count", &datagrams), 1.0);
        drop((pairs, udp));
    });
}

/// The kernel has cleared the local address of what was refused.
#[test]
fn what_only_its_end_is_known_of_counts_where_that_is_enough_for_the_filter() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let refused = || TcpStream::connect("127.0.0.1:4000").unwrap_err();
        let mut probe = Probe::at(&namespace, "filter: not src 127.0.0.0/8");
        refused();
        let numbers = probe.until("its end is told of", |numbers| {
            numbers.sum("connscope.sockets.left_out", &["key=filter"]) > 0.0
        });
        assert_eq!(numbers.events(&[]), [0.0; 4]);
        let mut probe = Probe::at(&namespace, "filter: dst 127.0.0.0/8");
        refused();
        let numbers = probe.until("it has failed", |numbers| numbers.became("failed", &[]) > 0.0);
        assert_eq!(numbers.sum("connscope.sockets.left_out", &["key=filter"]), 0.0);
    });
}

/// Without `CAP_NET_ADMIN` the kernel compares no marks and tells none, so the agent takes the rest of the filter and
/// holds each mark to be 0.
#[test]
fn what_the_kernel_does_not_decide_the_agent_does() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let there = [listener("127.0.0.1:4000"), listener("127.0.0.1:4001")];
        let clients = [marked("127.0.0.1:4000", 7), marked("127.0.0.1:4000", 8), marked("127.0.0.1:4001", 8)];
        let accepted = [0, 0, 1].map(|place: usize| there[place].accept().unwrap());
        let yaml = "filter: 'state established ( fwmark = 7 or dport = :4001 )'";
        let may = Probe::new(yaml).read();
        assert_eq!(may.state("established", &[]), 2.0, "{may:#?}");
        assert_eq!(may.sum("tcp.open_connections", &["server.port=4000"]), 1.0);
        let may_not = namespace.inside(|| {
            let none = CapabilitySet::empty();
            set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
                .unwrap();
            let mut probe = Probe::new(yaml);
            probe.read();
            probe.read()
        });
        assert_eq!(may_not.state("established", &[]), 1.0, "{may_not:#?}");
        assert_eq!(may_not.values("tcp.open_connections", "server.port"), ["4001"]);
        drop((clients, accepted));
    });
}

/// Whether the kernel chose a socket's port it compares, and does not tell.
#[test]
fn sockets_that_listen_pass_autobound_only_if_the_kernel_chose_their_port() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let chosen = [listener("127.0.0.1:4000"), listener("[::1]:4001")];
        let autobound = listener("127.0.0.1:0");
        let port = autobound.local_addr().unwrap().port();
        // The kernel gives a port, and so it is bound to it; to listen without having been bound is to leave it to it.
        let unbound =
            socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        rustix::net::listen(&unbound, 1).unwrap();
        for (filter, listening) in [
            ("autobound".to_owned(), 2.0),
            ("not autobound".to_owned(), 2.0),
            (format!("autobound and sport = :{port}"), 1.0),
            ("autobound or sport = :4000".to_owned(), 3.0),
            ("not autobound and sport = :4001".to_owned(), 1.0),
        ] {
            let numbers = Probe::at(&namespace, &format!("filter: '{filter}'")).read();
            assert_eq!(numbers.state("listen", &[]), listening, "{filter}: {numbers:#?}");
        }
        drop((chosen, autobound, unbound));
    });
}
