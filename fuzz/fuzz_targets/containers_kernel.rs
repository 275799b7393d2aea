//! What the kernel says to the source of the containers: records of the maps and of the ring, answers of conntrack, and the files
//! of a network namespace, which whoever is in it can shape.
#![no_main]

use connscope::host::inventory::names::docker;
use connscope::netlink::Progress;
use connscope::source::containers::addresses::{fib_trie, if_inet6, tcp};
use connscope::source::containers::kernel::records::{
    Destination, Event, Group, Listener, ConnectionId, Totals, parse_endpoint,
};
use connscope::source::containers::translate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(destination) = Destination::parse(bytes) {
        assert_eq!(Destination::parse(&destination.bytes()), Some(destination));
    }
    if let Some(totals) = Totals::parse(bytes) {
        assert_eq!(totals.plus(&totals).since(&totals), totals);
    }
    if let Some(group) = Group::parse(bytes) {
        assert!(group.path.starts_with('/'));
    }
    if let Some(question) = ConnectionId::parse(bytes) {
        assert_eq!(ConnectionId::parse(&question.bytes()), Some(question));
    }
    let (_, _, _) = (Listener::parse(bytes), Event::parse(bytes), parse_endpoint(bytes));
    let mut got = None;
    if !matches!(translate::parse(bytes, 1, &mut got), Ok(Progress::More)) {
        let _kept_or_not = got;
    }
    let text = String::from_utf8_lossy(bytes);
    let addresses = fib_trie(&text);
    assert!(addresses.is_sorted() && addresses.len() <= text.lines().count());
    assert!(if_inet6(&text).len() <= text.lines().count());
    assert!(tcp(&text).len() <= text.lines().count());
    assert!(docker::published(bytes).iter().all(|at| at.port() != 0));
});
