//! Whether Cilium is on this machine, which keeps the connections of pods in a table of its own.
//!
//! Its table is a BPF map for each family and kind of protocol (`cilium_ct4_global`, `cilium_ct_any6_global`, by endpoint
//! `cilium_ct4_00042`), pinned in a BPF file system; connections that only Cilium handles never reach `nf_conntrack`.

use crate::netlink::{self, Client};
use std::path::Path;

/// Where Cilium pins its maps.
pub const MAPS: &str = "/sys/fs/bpf/tc/globals";

/// Interfaces that Cilium makes on every node, and the beginning of the names of its tunnels.
const INTERFACES: &[&str] = &["cilium_host", "cilium_net", "cilium_vxlan", "cilium_geneve"];

/// What is there of Cilium: its interfaces in the calling thread's network namespace, and its tables of connections
/// among the maps in a directory. What may not be read is not there.
pub fn found(maps: &Path) -> Vec<String> {
    let links = Client::open(None, "route")
        .ok()
        .and_then(|mut client| client.rows(netlink::links_request, netlink::parse_links).ok())
        .unwrap_or_default();
    let links = links.into_iter().filter_map(|link| String::from_utf8(link.name).ok());
    let interfaces = links.filter(|name| INTERFACES.contains(&name.as_str()));
    let files = std::fs::read_dir(maps).into_iter().flatten();
    let tables = files
        .filter_map(|file| file.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with("cilium_ct4_") || name.starts_with("cilium_ct6_"));
    let mut found: Vec<String> = interfaces.chain(tables).collect();
    found.sort_unstable();
    found.truncate(8);
    found
}
