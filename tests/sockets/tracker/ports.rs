//! Ports that are needed once, and the services whose place they must not take.

use super::{Connection, End, Event, GroupBy, Key, Label, Numbers, Tracked};

/// The ports that have groups, without `~other`, in order.
fn ports(tracked: &Tracked) -> Vec<u16> {
    let port = |(key, text): &(Label, std::sync::Arc<str>)| {
        if *key == Label::ServerPort { text.parse().ok() } else { None }
    };
    let mut ports: Vec<u16> =
        tracked.tracker.groups.iter().filter_map(|group| group.labels.iter().find_map(port)).collect();
    ports.sort_unstable();
    ports
}

/// Connections from here to these ports of a peer that begin and end between two dumps.
fn needed(tracked: &mut Tracked, first: u64, ports: impl Iterator<Item = u16>) {
    for (cookie, port) in (first..).zip(ports) {
        let now = Numbers { segments: 3, ..Numbers::default() };
        tracked.closed(&Connection {
            ended: Some(End::InOrder),
            now,
            ..Connection::new(cookie, 50_000, port)
        });
    }
}

#[test]
fn ports_of_a_peer_that_are_needed_once_leave_room_for_services() {
    // A quarter of the limit is for ports, half of it for those of peers.
    for passive in [45_000..45_300, 20_000..20_300] {
        let mut tracked = Tracked::started(&[GroupBy::ServicePort], 500);
        needed(&mut tracked, 1, passive.clone());
        let others = ports(&tracked).len();
        assert_eq!(others, if passive.start == 45_000 { 31 } else { 48 }, "{passive:?}");
        let repeated = [443, 8080].into_iter().cycle().take(10);
        needed(&mut tracked, 1000, repeated.clone());
        let (https, http) =
            (tracked.group(Label::ServerPort, "443"), tracked.group(Label::ServerPort, "8080"));
        assert_eq!(https.map(|counted| counted.of(Event::Closed)), Some(5), "{passive:?}");
        if passive.start == 45_000 {
            assert_eq!(http.map(|counted| counted.of(Event::Closed)), Some(5), "it is no ephemeral port");
        } else {
            // What was counted last has to be reported before its group may end.
            assert_eq!(http, None);
            tracked.tracker.groups.observed();
            needed(&mut tracked, 2000, repeated);
            let http = tracked.group(Label::ServerPort, "8080");
            assert_eq!(
                http.map(|counted| counted.of(Event::Closed)),
                Some(5),
                "five attempts were refused before"
            );
            assert_eq!(ports(&tracked).len(), others + 1, "it has the place of another");
        }
    }
}

#[test]
fn a_port_that_is_needed_repeatedly_takes_the_place_of_one_that_was_needed_once() {
    let mut tracked = Tracked::started(&[GroupBy::ServicePort], 500);
    needed(&mut tracked, 1, 45_000..45_300);
    tracked.tracker.groups.observed();
    let all = ports(&tracked);
    // Once more, each of them: a port is needed repeatedly from the third attempt on.
    needed(&mut tracked, 1000, 46_000..46_300);
    assert_eq!(ports(&tracked), all, "series do not come and go with such ports");
    needed(&mut tracked, 2000, std::iter::repeat_n(46_000, 4));
    let counted = tracked.group(Label::ServerPort, "46000").unwrap();
    assert_eq!(counted.of(Event::Closed), 3, "the first two of five were refused");
    assert_eq!(ports(&tracked).len(), all.len());
    // What is in use stays.
    let mut tracked = Tracked::started(&[GroupBy::ServicePort], 500);
    let open: Vec<Connection> =
        (45_000..45_300).map(|port| Connection::new(u64::from(port), 50_000, port)).collect();
    tracked.dump(&open);
    tracked.tracker.groups.observed();
    let all = ports(&tracked);
    needed(&mut tracked, 1, std::iter::repeat_n(46_000, 9));
    assert_eq!(ports(&tracked), all);
    assert_eq!(all.len(), 31);
    assert_eq!(tracked.tracker.groups.left_out(Key::ServicePort), 300 - 31 + 9);
}
