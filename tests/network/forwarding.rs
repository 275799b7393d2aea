//! A router of the test's own, and packets that are too big for its link.

use super::kernel::{nstat, read, source, sysctl};
use crate::support::{Namespace, eventually};
use std::net::UdpSocket;

/// A router between `namespace` and a link with a smaller MTU. Both ends of that link are its own.
fn router(namespace: &Namespace) -> Namespace {
    let router = Namespace::new().unwrap();
    let there = router.path();
    namespace.run("ip", &["link", "add", "west", "type", "veth", "peer", "name", "east", "netns", &there]);
    router.run("ip", &["link", "add", "narrow", "mtu", "1300", "type", "veth", "peer", "name", "end"]);
    let addresses = [
        (namespace, "west", "192.0.2.1/24", "2001:db8:1::1/64"),
        (&router, "east", "192.0.2.2/24", "2001:db8:1::2/64"),
    ];
    for (space, link, v4, v6) in
        addresses.into_iter().chain([(&router, "narrow", "198.51.100.1/24", "2001:db8:2::1/64")])
    {
        space.run("ip", &["address", "add", v4, "dev", link]);
        space.run("ip", &["address", "add", v6, "dev", link, "nodad"]);
        space.run("ip", &["link", "set", link, "up"]);
    }
    router.run("ip", &["link", "set", "end", "up"]);
    for (family, gateway) in [("-4", "192.0.2.2"), ("-6", "2001:db8:1::2")] {
        namespace.run("ip", &[family, "route", "add", "default", "via", gateway]);
    }
    for path in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
        sysctl(&router, path, "1");
    }
    router
}

#[test]
fn packets_that_do_not_fit_into_the_next_link_are_counted_by_router_and_sender() {
    let Some(sender) = Namespace::new() else { return };
    let router = router(&sender);
    // One to each address: for the next one to it the sender knows better.
    let v4: Vec<String> = (10..15).map(|host| format!("198.51.100.{host}:9")).collect();
    let v6: Vec<String> = (10..13).map(|host| format!("[2001:db8:2::{host}]:9")).collect();
    sender.inside(|| {
        for to in v4.iter().chain(&v6) {
            let from = if to.starts_with('[') { "[::]:0" } else { "0.0.0.0:0" };
            UdpSocket::bind(from).unwrap().send_to(&[0; 1400], to).unwrap();
        }
    });
    let failed = |family: &str| format!("ip.fragmentation.failures{{network.type={family}}}");
    let received =
        |kind: &str, family: &str| format!("icmp.errors.received{{icmp.type={kind},network.type={family}}}");
    eventually("the answers are there", || nstat(&sender, "Icmp6InPktTooBigs") == 3);
    let numbers = router.inside(|| read(&mut source(&[])));
    assert_eq!((numbers[&failed("ipv4")], numbers[&failed("ipv6")]), (5, 3));
    let counted = ["IpFragFails", "Ip6FragFails"].map(|name| nstat(&router, name));
    assert_eq!(counted, [5, 3], "as nstat says");
    let numbers = sender.inside(|| read(&mut source(&[])));
    assert_eq!(numbers[&received("destination_unreachable", "ipv4")], 5);
    assert_eq!(numbers[&received("packet_too_big", "ipv6")], 3);
    assert_eq!(numbers[&received("destination_unreachable", "ipv6")], 0);
    assert_eq!((numbers[&failed("ipv4")], numbers[&failed("ipv6")]), (0, 0));
}
