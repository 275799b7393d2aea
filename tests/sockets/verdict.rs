//! Which end opened a connection, where its own numbers do not tell: listeners, transparent proxies, ports.

use connscope::host::ephemeral::EphemeralPorts;
use connscope::source::sockets::diag::{Family, Record, SocketOptions, State};
use connscope::source::sockets::direction::Direction::{self, Incoming, Outgoing, Unknown};
use connscope::source::sockets::direction::{NamespaceEvidence, Verdict};
use connscope::source::sockets::listen::Listeners;
use connscope::source::sockets::mptcp::{column, mptcp_in_use};
use connscope::source::sockets::tcp_info::TcpInfo;
use connscope::source::sockets::timeouts::LISTENER_CLOSED;
use std::net::SocketAddr;
use std::time::Instant;

/// A connection as a kernel tells of it that counts no bytes.
fn record(local: &str, peer: &str) -> Record<'static> {
    let (local, peer): (SocketAddr, SocketAddr) = (local.parse().unwrap(), peer.parse().unwrap());
    let tcp = Some(TcpInfo::new(&[]));
    Record { tcp, ..Record::new(Family::V4, State::Established, local, peer) }
}

fn listeners(addresses: &[&str], options: [u8; 2]) -> Listeners {
    let mut listeners = Listeners::default();
    for address in addresses {
        let local: SocketAddr = address.parse().unwrap();
        let family = if local.is_ipv4() { Family::V4 } else { Family::V6 };
        let nobody = if local.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().unwrap();
        let options = Some(SocketOptions(options));
        listeners.add(&Record { options, ..Record::new(family, State::Listen, local, nobody) });
    }
    listeners
}

fn judge(record: &Record<'_>, listeners: &Listeners) -> (Direction, bool, bool) {
    let ephemeral = EphemeralPorts::default();
    let Verdict { direction, certain, certain_port } =
        Verdict::of(record, &NamespaceEvidence { listeners, ephemeral, seen_in_handshake: false });
    (direction, certain, certain_port)
}

#[test]
fn what_was_seen_of_the_handshake_comes_first() {
    let listening = listeners(&["0.0.0.0:4000"], [0; 2]);
    let mut connection = record("10.0.0.1:4000", "10.0.0.2:5000");
    let ephemeral = EphemeralPorts::default();
    let nobody = Listeners::default();
    let seen = NamespaceEvidence { listeners: &nobody, ephemeral, seen_in_handshake: true };
    assert_eq!(Verdict::of(&connection, &seen), Verdict::certain(Incoming));
    connection.state = State::SynSent;
    assert_eq!(judge(&connection, &listening), (Outgoing, true, true));
}

/// The kernel reads the state first, and then waits for the process that closes the socket.
#[test]
fn a_fin_that_comes_while_the_kernel_reads_is_not_taken_for_a_syn() {
    let delivered = |segments: u32| {
        let mut info = [0; 248];
        info[120..128].copy_from_slice(&1_u64.to_ne_bytes()); // tcpi_bytes_acked
        info[192..196].copy_from_slice(&segments.to_ne_bytes());
        let tcp = TcpInfo::new(&info);
        let waits = Record { state: State::CloseWait, ..record("10.0.0.1:4000", "10.0.0.2:50000") };
        judge(&Record { tcp: Some(tcp), ..waits }, &listeners(&["0.0.0.0:4000"], [0; 2]))
    };
    assert_eq!(delivered(1), (Outgoing, true, true), "its SYN");
    assert_eq!(delivered(2), (Incoming, true, true), "the SYN-ACK and its FIN");
}

#[test]
fn a_listener_is_evidence_also_at_another_address_and_minutes_later() {
    let local = "10.0.0.1:40000";
    let connection = record(local, "10.0.0.2:80");
    for address in [local, "0.0.0.0:40000", "[::]:40000", "10.0.0.9:40000"] {
        assert_eq!(judge(&connection, &listeners(&[address], [0; 2])), (Incoming, true, true), "{address}");
    }
    let now = Instant::now();
    let closed = Listeners::default().replacing(listeners(&[local], [0; 2]), now);
    assert_eq!(judge(&connection, &closed), (Incoming, true, true));
    let later = Listeners::default().replacing(closed, now + LISTENER_CLOSED);
    assert_eq!(judge(&connection, &later), (Outgoing, false, true), "its port is the kernel's again");
}

#[test]
fn a_transparent_proxy_takes_connections_to_ports_that_nobody_listens_on() {
    // The sixth bit, from either end.
    let transparent =
        listeners(&["127.0.0.1:15001"], if cfg!(target_endian = "little") { [0x20, 0] } else { [0x04, 0] });
    assert!(transparent.transparent());
    let toward = |local: &str| judge(&record(local, "10.0.0.2:20000"), &transparent);
    assert_eq!(toward("192.0.2.1:443"), (Incoming, false, true));
    assert_eq!(toward("192.0.2.1:8443"), (Incoming, false, false));
    assert_eq!(toward("192.0.2.1:50000"), (Outgoing, false, false), "that is the other half of a proxy");
}

#[test]
fn ports_are_a_guess_and_no_port_of_a_client_is_a_services() {
    let nobody = Listeners::default();
    for (local, peer, expected) in [
        // The kernel gave the local port.
        (50_000, 443, (Outgoing, false, true)),
        (50_000, 5001, (Outgoing, false, false)),
        // It did not.
        (443, 50_000, (Incoming, false, true)),
        (8080, 50_000, (Incoming, false, false)),
        (443, 20_000, (Incoming, false, false)),
        // Nobody knows.
        (50_000, 50_001, (Unknown, false, false)),
        (8080, 9090, (Unknown, false, false)),
        (700, 800, (Unknown, false, false)),
        (50_000, 0, (Unknown, false, false)),
        (8080, 0, (Unknown, false, false)),
        (700, 0, (Unknown, false, false)),
    ] {
        let connection = record(&format!("10.0.0.1:{local}"), &format!("10.0.0.2:{peer}"));
        assert_eq!(judge(&connection, &nobody), expected, "{local} to {peer}");
    }
}

/// CRIU makes the sockets of a program anew: no SYN was sent, and its bytes are acknowledged nowhere.
#[test]
fn a_client_that_was_restored_is_not_taken_for_a_service() {
    let nobody = Listeners::default();
    for (delivered, expected) in [(3_u32, (Outgoing, false, true)), (4, (Incoming, true, true))] {
        let mut bytes = [0; 232];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(120, &500_u64.to_ne_bytes()); // acknowledged
        put(200, &500_u64.to_ne_bytes()); // sent, in three segments
        put(156, &3_u32.to_ne_bytes());
        put(192, &delivered.to_ne_bytes());
        let connection =
            Record { tcp: Some(TcpInfo::new(&bytes)), ..record("10.0.0.1:40000", "10.0.0.2:443") };
        assert_eq!(judge(&connection, &nobody), expected, "{delivered} delivered");
    }
}

#[test]
fn the_kernels_counters_are_read_by_name() {
    assert_eq!(EphemeralPorts::parse("32768\t60999\n"), Some(EphemeralPorts::default()));
    assert_eq!(EphemeralPorts::parse("1024\n"), None);
    let snmp =
        "Udp: OutRsts\nUdp: 1\nTcp: RtoAlgorithm RtoMin OutSegs OutRsts InCsumErrors\nTcp: 1 200 7 42 0\n";
    assert_eq!(column(snmp, "Tcp: ", "OutRsts"), Some(42));
    assert_eq!(column("Tcp: RtoAlgorithm\nTcp: 1\n", "Tcp: ", "OutRsts"), None);
    assert!(!mptcp_in_use("TcpExt: A\nTcpExt: 1\n"));
    assert!(!mptcp_in_use("MPTcpExt: MPCapableSYNRX MPCapableSYNTX\nMPTcpExt: 0 0\n"));
    assert!(mptcp_in_use("MPTcpExt: MPCapableSYNRX MPCapableSYNTX\nMPTcpExt: 0 2\n"));
}
