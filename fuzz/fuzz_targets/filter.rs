//! The text of a filter: read, printed back, compiled, asked.
#![no_main]

use connscope::filter::{Filter, KernelCan, Names, Services, FilteredSocket};
use libfuzzer_sys::fuzz_target;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fuzz_target!(|text: &str| {
    let services = Services::read("ssh 22/tcp\nhttps 443/tcp\nhttps 443/udp\n");
    let Ok(filter) = Filter::parse(text, &services) else { return };
    let again: Filter = filter.to_string().parse().expect("what a filter prints is a filter");
    assert_eq!(filter, again, "and the same");
    let names = Names::default();
    for kernel in [KernelCan::ALL, KernelCan::MINIMUM] {
        assert!(filter.compile(&names, kernel).bytecode.len() <= 65_528);
    }
    for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
        let subject = FilteredSocket {
            local: address,
            peer: address,
            local_port: 443,
            peer_port: 50_000,
            state: 1,
            interface: 1,
            mark: None,
            cgroup: Some(1),
            autobound: None,
        };
        assert_eq!(filter.matches(&subject, &names), again.matches(&subject, &names));
    }
});
