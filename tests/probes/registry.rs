//! The targets there are: what is kept of one that changes, how many there may be, and which are left out.

use super::settings;
use connscope::config::Probes as Settings;
use connscope::config::probes::Target as Configured;
use connscope::source::probes::attempt::Run;
use connscope::source::probes::registry::Registry;
use connscope::source::probes::target::Target;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// A target of a file, ready to be probed.
fn target(name: &str, all: bool, settings: &Settings) -> Target {
    let host = "h".to_owned();
    let target = Configured { name: name.to_owned(), host, port: Some(1), all, ..Default::default() };
    Target::new(&Arc::new(target), settings).unwrap()
}

#[test]
fn addresses_are_forgotten_where_one_is_probed_from_now_on_and_the_other_way_round() {
    let settings = settings("files: ['/x/*.yaml']\n");
    let registry = Registry::new(settings.most());
    for (all, address) in [(true, Some(IpAddr::V4(Ipv4Addr::LOCALHOST))), (false, None)] {
        let change = registry.set("file", vec![target("x", all, &settings)]);
        change.added[0].take(address, Run::new(false), &settings);
        let change = registry.set("file", vec![target("x", !all, &settings)]);
        assert_eq!((change.added.len(), change.removed.len()), (1, 1));
        assert!(change.added[0].addresses().is_empty(), "all: {all} has become {}", !all);
        registry.forget("file");
    }
}
