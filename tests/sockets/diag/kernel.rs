//! The running kernel, in network namespaces where only the test makes sockets.

mod ss;

use super::{EVERYTHING, records};
use crate::support::{Namespace, PATIENCE, eventually, skipped, tcp_info};
use connscope::netlink::Progress;

use connscope::source::sockets::diag::{
    Family, MPTCP, Record, Request, State, TCP_DESTROY, TCP_DESTROY_V6, UDP, extension, parse, parse_event,
};
use connscope::source::sockets::tcp_info::TcpInfo;
use connscope::sys::netlink::NetlinkSocket;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_cookie};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, ipproto, socket_with};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

fn open() -> NetlinkSocket {
    NetlinkSocket::open(rustix::net::netlink::SOCK_DIAG, PATIENCE).unwrap()
}

/// What the kernel of this thread's namespace answers, or the number of its error.
fn ask(request: &[u8]) -> Result<Vec<Record<'static>>, i32> {
    let mut netlink = open();
    netlink.send(request).unwrap();
    let mut all = Vec::new();
    loop {
        let datagram: &'static [u8] = netlink.receive().unwrap().to_vec().leak();
        let (records, progress) = records(datagram, 1).unwrap();
        all.extend(records);
        match progress {
            // Where no dump was asked for, one message is all there is.
            Progress::More if request[7] == 0 => return Ok(all),
            Progress::More => {}
            Progress::Done => return Ok(all),
            Progress::Refused(number) => return Err(number),
            Progress::Interrupted => panic!("nobody else is here"),
        }
    }
}

/// Both families' answers to one question.
fn dump(request: &Request<'_>) -> Vec<Record<'static>> {
    let of = |family| ask(&Request { family, ..*request }.dump(1).unwrap()).unwrap();
    Family::ALL.into_iter().flat_map(of).collect()
}

fn in_state(state: State) -> Request<'static> {
    Request { states: state.mask(), ..EVERYTHING }
}

fn cookie(socket: impl AsFd) -> u64 {
    socket_cookie(socket).unwrap()
}

fn with_cookie(records: &[Record<'static>], cookie: u64) -> Record<'static> {
    let found: Vec<_> = records.iter().filter(|record| record.cookie == cookie).collect();
    let [record] = found[..] else { panic!("{cookie} is there {} times in {records:#?}", found.len()) };
    *record
}

/// A client and who accepted it.
fn connection(listener: &TcpListener, to: &str) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(to).unwrap();
    (client, listener.accept().unwrap().0)
}

/// Sends both ways, and waits until nothing moves any more on either end.
fn talk((client, server): &mut (TcpStream, TcpStream), there: usize, back: usize) {
    let mut bytes = vec![0; there.max(back)];
    client.write_all(&vec![1; there]).unwrap();
    server.read_exact(&mut bytes[..there]).unwrap();
    server.write_all(&vec![1; back]).unwrap();
    client.read_exact(&mut bytes[..back]).unwrap();
    let now = || [&*client, &*server].map(|end| still(TcpInfo::new(&tcp_info(end))));
    let mut before = now();
    eventually("nothing moves any more", || {
        // Longer than an acknowledgement is delayed.
        std::thread::sleep(Duration::from_millis(250));
        let after = now();
        std::mem::replace(&mut before, after.clone()) == after
    });
}

/// What does not move while nothing is sent.
fn still(tcp: TcpInfo<'_>) -> String {
    let moving = ["last_data_sent", "last_data_recv", "last_ack_recv"];
    let fields = format!("{tcp:#?}");
    fields.lines().filter(|line| !moving.iter().any(|name| line.contains(name))).collect()
}

#[test]
fn both_ends_know_of_themselves_what_we_read() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        for (address, there, back) in
            [("127.0.0.1:4000", 123_456, 7), ("[::1]:4000", 1, 0), ("[::1]:4001", 0, 99_999)]
        {
            let listener = TcpListener::bind(address).unwrap();
            let mut connection = connection(&listener, address);
            talk(&mut connection, there, back);
            let all = dump(&in_state(State::Established));
            for (end, sent, received) in [(&connection.0, there, back), (&connection.1, back, there)] {
                let record = with_cookie(&all, cookie(end));
                assert_eq!(
                    (record.local, record.peer),
                    (end.local_addr().unwrap(), end.peer_addr().unwrap())
                );
                let (own, ours) = (tcp_info(end), record.tcp.unwrap());
                assert_eq!(own.len(), ours.bytes().len());
                assert_eq!(still(TcpInfo::new(&own)), still(ours));
                assert_eq!(ours.bytes_sent(), Some(sent.try_into().unwrap()));
                assert_eq!(ours.bytes_received(), Some(received.try_into().unwrap()));
            }
        }
    });
}

#[test]
fn six_sockets_of_three_kinds_of_addresses_are_six() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let four = TcpListener::bind("127.0.0.1:4000").unwrap();
        let six = TcpListener::bind("[::1]:4001").unwrap();
        let both = TcpListener::bind("[::]:4002").unwrap();
        let pairs = [
            connection(&four, "127.0.0.1:4000"),
            connection(&six, "[::1]:4001"),
            connection(&both, "127.0.0.1:4002"),
        ];
        let all = dump(&in_state(State::Established));
        assert_eq!(all.len(), 6);
        let of = |pair: &(TcpStream, TcpStream)| {
            let [client, server] = [&pair.0, &pair.1].map(|end| with_cookie(&all, cookie(end)));
            assert_eq!((client.local, client.peer), (server.peer, server.local));
            [client.family, server.family]
        };
        assert_eq!(pairs.each_ref().map(of), [[Family::V4; 2], [Family::V6; 2], [Family::V4; 2]]);

        let listening = dump(&in_state(State::Listen));
        assert_eq!(listening.len(), 3);
        let v6_only = [&four, &six, &both].map(|listener| with_cookie(&listening, cookie(listener)).v6_only);
        assert_eq!(v6_only, [None, Some(true), Some(false)], "one bound to an address of IPv6 takes no IPv4");
    });
}

#[test]
fn a_full_listener_has_three_of_two_waiting() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = TcpListener::bind("127.0.0.1:4000").unwrap();
        rustix::net::listen(&listener, 2).unwrap();
        let waiting = [(); 3].map(|()| TcpStream::connect("127.0.0.1:4000").unwrap());
        eventually("three wait", || {
            let record = with_cookie(&dump(&in_state(State::Listen)), cookie(&listener));
            let tcp = record.tcp.unwrap();
            assert_eq!((record.write_queue, tcp.sacked()), (2, Some(2)));
            (record.receive_queue, tcp.unacked()) == (3, Some(3))
        });
        drop(waiting);
    });
}

#[test]
fn a_closed_connection_is_told_of_and_stays_in_time_wait_with_its_cookie() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let events = listening_for_ends();
        for address in ["127.0.0.1:4000", "[::1]:4000"] {
            let listener = TcpListener::bind(address).unwrap();
            let mut connection = connection(&listener, address);
            talk(&mut connection, 1000, 10);
            let cookies = [cookie(&connection.0), cookie(&connection.1)];
            let before = dump(&in_state(State::Established));
            drop(connection.0);
            drop(connection.1);
            let mut found = [None; 2];
            while found.contains(&None) {
                let mut datagram = vec![0; 4096];
                let (length, _) =
                    rustix::net::recv(&events, datagram.as_mut_slice(), RecvFlags::empty()).unwrap();
                let datagram: &'static [u8] = datagram.leak();
                parse_event(&datagram[..length], |record| {
                    // The listener of the other family ends too.
                    if let Some(end) = cookies.iter().position(|cookie| *cookie == record.cookie) {
                        found[end] = Some(*record);
                    }
                })
                .unwrap();
            }
            for (record, bytes) in found.map(|record| record.unwrap()).iter().zip([(1000, 11), (10, 1001)]) {
                let last = with_cookie(&before, record.cookie);
                assert_eq!((record.local, record.peer, record.family), (last.local, last.peer, last.family));
                assert_eq!((record.state, record.protocol, record.inode), (State::Close, Some(6), 0));
                let tcp = record.tcp.unwrap();
                // Who closes last still receives the other's end: one more than there were bytes.
                assert_eq!((tcp.bytes_sent(), tcp.bytes_received()), (Some(bytes.0), Some(bytes.1)));
            }
            let late = with_cookie(&dump(&in_state(State::TimeWait)), cookies[0]);
            assert_eq!((late.tcp, late.inode, late.uid), (None, 0, 0));
            assert_eq!(late.peer, address.parse::<SocketAddr>().unwrap());
        }
    });
}

/// A socket that hears of the end of connections: groups up to 32 are joined when it is bound.
fn listening_for_ends() -> OwnedFd {
    let protocol = Some(rustix::net::netlink::SOCK_DIAG);
    let netlink =
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol).unwrap();
    let groups = [TCP_DESTROY, TCP_DESTROY_V6].iter().map(|group| 1 << (group - 1)).sum();
    rustix::net::bind(&netlink, &SocketAddrNetlink::new(0, groups)).unwrap();
    set_socket_timeout(&netlink, Timeout::Recv, Some(PATIENCE)).unwrap();
    netlink
}

#[test]
fn a_bound_socket_is_asked_for_by_a_state_of_its_own() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let socket =
            socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        rustix::net::bind(&socket, &"127.0.0.1:4000".parse::<SocketAddr>().unwrap()).unwrap();
        if connscope::sys::kernel_release() < Some((6, 8)) {
            return skipped("Linux 6.8 is the first to tell of sockets that are only bound");
        }
        let all = dump(&in_state(State::BoundInactive));
        let record = with_cookie(&all, cookie(&socket));
        assert_eq!((record.state, record.local.to_string()), (State::Close, "127.0.0.1:4000".to_owned()));
    });
}

#[test]
fn a_connection_that_is_being_made_is_syn_sent_here_and_syn_received_there() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run("nft", &["add rule inet t o tcp flags & (syn|ack) == (syn|ack) drop"]);
    namespace.inside(|| {
        let listener = TcpListener::bind("127.0.0.1:4000").unwrap();
        let address: SocketAddr = "127.0.0.1:4000".parse().unwrap();
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let client = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
        rustix::net::connect(&client, &address).unwrap_err();
        eventually("it was answered", || !dump(&in_state(State::SynRecv)).is_empty());
        let sent = with_cookie(&dump(&in_state(State::SynSent)), cookie(&client));
        let [received] = dump(&in_state(State::SynRecv))[..] else { panic!("one") };
        assert_eq!((sent.state, received.state), (State::SynSent, State::SynRecv));
        assert_eq!((received.local, received.peer), (sent.peer, sent.local));
        assert_eq!((received.inode, received.uid, received.tcp), (0, 0, None));
        assert_eq!((sent.tcp.unwrap().rtt(), sent.tcp.unwrap().min_rtt()), (None, None));
        let either = in_state(State::NewSynRecv);
        assert_eq!(dump(&either).len(), 1, "asked for by either number");
        assert_eq!(dump(&Request { states: either.states | State::SynRecv.mask(), ..either }).len(), 1);
        drop(listener);
    });
}

#[test]
fn what_udp_had_no_room_for_is_counted() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let receiver = UdpSocket::bind("[::]:4000").unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size(&receiver, 4096).unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect("127.0.0.1:4000").unwrap();
        for _ in 0..50 {
            sender.send(&[0; 500]).unwrap();
        }
        let all = dump(&Request { protocol: UDP, ..EVERYTHING });
        let (to, from) = (with_cookie(&all, cookie(&receiver)), with_cookie(&all, cookie(&sender)));
        assert_eq!((to.state, from.state), (State::Close, State::Established));
        assert_eq!((to.family, from.family, to.v6_only), (Family::V6, Family::V4, Some(false)));
        assert_eq!((to.tcp, from.tcp), (None, None));
        let drops = to.memory.unwrap().drops().unwrap();
        let waiting = std::iter::from_fn(|| {
            receiver.set_nonblocking(true).unwrap();
            receiver.recv(&mut [0; 500]).ok()
        });
        assert_eq!(drops as usize + waiting.count(), 50);
        assert!(drops > 0 && to.receive_queue > 0);
        let all = dump(&Request { protocol: UDP, extensions: 0, ..EVERYTHING });
        assert_eq!(with_cookie(&all, cookie(&receiver)).memory, None, "which is not sent unasked");
    });
}

/// A dump of TCP has each subflow of a connection of MPTCP as one more connection, which says what it is, and not the
/// connection itself: nothing is repeated unless MPTCP is asked for as well.
#[test]
fn mptcp_is_seen_by_tcp_as_subflows_that_share_the_inode_of_the_connection() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let socket = || {
            socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::MPTCP))
        };
        let Ok(listener) = socket() else {
            return skipped("the kernel has no MPTCP, or net.mptcp.enabled is 0");
        };
        let address: SocketAddr = "127.0.0.1:4000".parse().unwrap();
        rustix::net::bind(&listener, &address).unwrap();
        rustix::net::listen(&listener, 8).unwrap();
        let client = socket().unwrap();
        rustix::net::connect(&client, &address).unwrap();
        let mut pair = (TcpStream::from(client), TcpListener::from(listener).accept().unwrap().0);
        pair.0.write_all(&[1; 1000]).unwrap();
        pair.1.read_exact(&mut [0; 1000]).unwrap();

        let subflows = dump(&in_state(State::Established));
        assert_eq!(subflows.len(), 2);
        assert!(subflows.iter().all(|record| record.ulp == Some("mptcp")));
        assert!(subflows.iter().all(|record| ![cookie(&pair.0), cookie(&pair.1)].contains(&record.cookie)));

        let mut netlink = open();
        let request = Request { protocol: MPTCP, ..in_state(State::Established) };
        netlink.send(&request.dump(1).unwrap()).unwrap();
        let mut whole = Vec::new();
        let mut take = |datagram: &[u8]| {
            let datagram: &'static [u8] = datagram.to_vec().leak();
            parse(datagram, 1, |record| whole.push(*record)).unwrap()
        };
        while take(netlink.receive().unwrap()) == Progress::More {}
        assert_eq!(whole.len(), 2);
        for end in [&pair.0, &pair.1] {
            let record = with_cookie(&whole, cookie(end));
            assert_eq!(record.ulp, None);
            let of_it: Vec<_> = subflows.iter().filter(|subflow| subflow.inode == record.inode).collect();
            assert_eq!(of_it.len(), 1);
            assert_eq!((of_it[0].local, of_it[0].peer), (record.local, record.peer));
        }
    });
}

/// `INET_DIAG_BC_D_EQ` and its port: falls off the end, or jumps behind it.
fn peer_port_is(port: u16) -> Vec<u8> {
    let operation = |code: u8, yes: u8, no: u16| [[code, yes].to_vec(), no.to_ne_bytes().to_vec()].concat();
    [operation(12, 8, 12), operation(0, 0, port)].concat()
}

#[test]
fn the_kernel_leaves_out_what_was_not_asked_for() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listeners =
            ["127.0.0.1:4000", "127.0.0.1:4001"].map(|address| TcpListener::bind(address).unwrap());
        let first = connection(&listeners[0], "127.0.0.1:4000");
        let second = connection(&listeners[1], "127.0.0.1:4001");
        let only = |request: &Request<'_>| {
            let mut cookies: Vec<_> = dump(request).iter().map(|record| record.cookie).collect();
            cookies.sort_unstable();
            cookies
        };
        let established = in_state(State::Established);
        assert_eq!(only(&established).len(), 4);
        assert_eq!(only(&Request { peer_port: 4001, ..established }), [cookie(&second.0)]);
        assert_eq!(only(&Request { local_port: 4000, ..established }), [cookie(&first.1)]);
        assert_eq!(only(&Request { bytecode: &peer_port_is(4000), ..established }), [cookie(&first.0)]);
        assert_eq!(only(&Request { bytecode: &peer_port_is(1), ..established }), [] as [u64; 0]);
        let wrong = Request { bytecode: &peer_port_is(4000)[..6], ..established };
        assert_eq!(ask(&wrong.dump(1).unwrap()), Err(libc::EINVAL));

        let bare = dump(&Request { extensions: 0, ..established });
        let record = with_cookie(&bare, cookie(&first.0));
        assert_eq!((record.tcp, record.memory, record.congestion, record.bbr), (None, None, None, None));
        let some = dump(&Request { extensions: extension::INFO | extension::CONGESTION, ..established });
        let record = with_cookie(&some, cookie(&first.0));
        assert!(record.tcp.is_some() && record.congestion.is_some() && record.memory.is_none());
    });
}
