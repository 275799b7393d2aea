//! What files of engines and the paths of control groups say, both of which a container's owner can shape.
#![no_main]

use connscope::host::cgroup::{mounts, mounts_of_version_1, numbers};
use connscope::host::inventory::identity::{CgroupOwner, Workload};
use connscope::host::inventory::names::{docker, kubelet, oci, podman};
use libfuzzer_sys::fuzz_target;

const ID: &str = "0d276a2bd4776624d4e348fa317037c2521c44d40dd8aada249c69e3e480229d";

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let (_, _, _) = (mounts(&text), mounts_of_version_1(&text, "memory"), numbers(&text));
    let own = CgroupOwner::of("/docker/0d276a2bd4776624d4e348fa317037c2521c44d40dd8aada249c69e3e480229d");
    let own = own.expect("it is the path of a container");
    let found = [docker::parse(bytes), oci::parse(bytes), podman::parse(bytes, ID), kubelet::parse(&text, ID)];
    for place in [Some(own), CgroupOwner::of(&text)].into_iter().flatten() {
        assert!(text.starts_with(place.top) || own.top == place.top, "the group is on its own path");
        for found in found.iter().map(Option::as_ref).chain([None]) {
            let who = Workload::new(1, place, found, true);
            assert!(who.identity.starts_with('/'));
            for (_, value) in &*who.labels {
                assert!(!value.starts_with('~') && !value.chars().any(char::is_control), "{value:?}");
            }
        }
    }
});
