//! What the kernel wrote: records of the maps and of the ring, answers of conntrack, files of a network namespace.

use connscope::netlink::Progress;
use connscope::source::containers::addresses::{LISTEN, fib_trie, if_inet6, tcp};
use connscope::source::containers::kernel::records::{Destination, Ended, Event, Group, Listener, Totals};
use connscope::source::containers::translate;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/containers").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn text(name: &str) -> String {
    String::from_utf8(fixture(name)).unwrap()
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Every beginning of some bytes.
fn prefixes(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    (0..bytes.len()).map(|length| &bytes[..length])
}

#[test]
fn a_destination_and_its_totals_are_read_as_the_programs_write_them() {
    let entry = fixture("kernel/linux-6.18-destinations.bin");
    let (key, value) = entry.split_at(48);
    let destination = Destination::parse(key).unwrap();
    assert_eq!((destination.requested, destination.actual), (at("127.0.0.1:43805"), at("127.0.0.1:43805")));
    assert_eq!(destination.group >> 48, 4, "the hierarchy of the memory controller");
    assert_eq!(destination.bytes(), key);
    let totals = Totals::parse(value).unwrap();
    assert_eq!((totals.opened, totals.rtts), (0, 2), "{totals:?}");
    assert_eq!((totals.retransmits, totals.syn_retransmits), (0, 0), "{totals:?}");
    // Behind `rtts` in `struct totals`.
    let mut lossy = value.to_vec();
    lossy[60..64].copy_from_slice(&7_u32.to_ne_bytes());
    assert_eq!(Totals::parse(&lossy), Some(Totals { syn_retransmits: 7, ..totals }));
    assert_eq!(Totals::of_numbers(&Totals { syn_retransmits: 7, ..totals }.numbers()).syn_retransmits, 7);
    assert!(prefixes(&key[..44]).all(|part| Destination::parse(part).is_none()));
    assert!(prefixes(value).all(|part| Totals::parse(part).is_none()));
}

#[test]
fn numbers_that_began_again_at_zero_are_followed() {
    let before = Totals { opened: u32::MAX, sent: u64::MAX, ..Totals::default() };
    let more = Totals { opened: 3, sent: 10, retransmits: 2, syn_retransmits: 1, ..Totals::default() };
    assert_eq!(before.plus(&more).since(&before), more);
}

#[test]
fn the_path_of_a_control_group_is_put_together_from_its_names() {
    let entry = fixture("kernel/linux-6.18-group.bin");
    let group = Group::parse(&entry[8..]).unwrap();
    assert_eq!(group.path, format!("/docker/{}", "ab".repeat(32)));
    for part in prefixes(&entry[8..]) {
        // What is behind the names is not looked at.
        assert!(Group::parse(part).is_none_or(|read| read == group));
    }
    assert_eq!(Group::parse(&Group::ignored()).unwrap().path, "/");
}

#[test]
fn a_listening_socket_is_read_as_the_programs_write_it() {
    let entries = fixture("kernel/linux-6.18-listeners.bin");
    let listener = Listener::parse(&entries[8..48]).unwrap();
    assert_eq!((listener.at, listener.only), (at("127.0.0.1:44837"), false));
    assert_eq!(listener.netns, 0xefff_fff9);
    assert!(prefixes(&entries[8..40]).all(|part| Listener::parse(part).is_none()));
}

#[test]
fn events_of_each_kind_are_read() {
    let group = fixture("kernel/linux-6.18-event-1.bin");
    assert!(matches!(Event::parse(&group), Some(Event::Group(key)) if key >> 48 == 4));
    let requested = fixture("kernel/linux-6.18-event-2.bin");
    let Some(Event::Established(connection)) = Event::parse(&requested) else { panic!("{requested:?}") };
    assert_eq!(connection.requested, at("127.0.0.1:43805"));
    assert_eq!(connection.local.ip(), at("127.0.0.1:0").ip());
    let end = fixture("kernel/linux-6.18-event-3.bin");
    let Some(Event::Ended(ended)) = Event::parse(&end) else { panic!("{end:?}") };
    assert!(ended.handshake.is_some_and(|nanoseconds| nanoseconds < 1_000_000), "{ended:?}");
    assert!(ended.opened && ended.reset && ended.rtt > 0, "{ended:?}");
    assert_eq!((ended.retransmits, ended.syn_retransmits), (0, 0), "{ended:?}");
    // The last two bytes of `struct event`; before them is when it began.
    let mut lossy = end.clone();
    lossy[102..104].copy_from_slice(&3_u16.to_ne_bytes());
    let Some(Event::Ended(lossy)) = Event::parse(&lossy) else { panic!("{lossy:?}") };
    assert_eq!(lossy, Ended { syn_retransmits: 3, ..ended });
    for event in [group, requested, end] {
        for part in prefixes(&event) {
            let _event_or_not = Event::parse(part);
        }
        assert!(prefixes(&event[..100]).all(|part| Event::parse(part).is_none()));
    }
    assert_eq!(Event::parse(&[9; 104]), None, "of a kind that nobody knows");
}

#[test]
fn the_source_of_the_reply_is_what_a_connection_has_got() {
    let ask = |name: &str| {
        let mut actual = None;
        let progress =
            translate::parse(&fixture(&format!("ctnetlink/linux-6.18-{name}.bin")), 1, &mut actual);
        (progress.unwrap(), actual)
    };
    assert_eq!(ask("translated"), (Progress::More, Some(at("127.0.0.1:8080"))));
    assert_eq!(ask("ipv6"), (Progress::More, Some(at("[::1]:8080"))));
    assert_eq!(ask("missing"), (Progress::Refused(libc::ENOENT), None));
    for name in ["translated", "ipv6", "missing"] {
        let datagram = fixture(&format!("ctnetlink/linux-6.18-{name}.bin"));
        for part in prefixes(&datagram) {
            let _refused_or_not = translate::parse(part, 1, &mut None);
        }
    }
}

#[test]
fn the_addresses_of_a_network_namespace_are_each_told_once() {
    let all =
        |addresses: &[&str]| addresses.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
    let trie = text("proc/linux-6.18-fib_trie");
    assert_eq!(fib_trie(&trie), all(&["10.5.0.2", "127.0.0.1", "192.0.2.1"]));
    let inet6 = text("proc/linux-6.18-if_inet6");
    let found = if_inet6(&inet6);
    assert!(
        found.contains(&"fd05::2".parse().unwrap()) && found.contains(&"::1".parse().unwrap()),
        "{found:?}"
    );
    for part in prefixes(trie.as_bytes()) {
        drop(fib_trie(&String::from_utf8_lossy(part)));
    }
    for part in prefixes(inet6.as_bytes()) {
        drop(if_inet6(&String::from_utf8_lossy(part)));
    }
}

#[test]
fn sockets_of_procfs_have_their_addresses_and_states() {
    let four = tcp(&text("proc/linux-6.18-tcp"));
    assert!(
        four.iter().any(|socket| socket.local == at("127.0.0.1:8080") && socket.state == LISTEN),
        "{four:?}"
    );
    let client = four.iter().find(|socket| socket.local == at("192.0.2.1:40001")).unwrap();
    assert_eq!((client.peer, client.state), (at("192.0.2.1:80"), 1));
    let six = tcp(&text("proc/linux-6.18-tcp6"));
    assert!(six.iter().any(|socket| socket.peer == at("[::1]:8080") && socket.state == 1), "{six:?}");
    for name in ["proc/linux-6.18-tcp", "proc/linux-6.18-tcp6"] {
        for part in prefixes(text(name).as_bytes()) {
            drop(tcp(&String::from_utf8_lossy(part)));
        }
    }
}
