//! The checks of `connscope check` besides the methods: the memory of an entry, and another table of connections.

use super::table::Table;
use super::{NAME, cilium, limits, slab};
use crate::source::Check;
use std::path::Path;

/// The memory that an entry and a full table take.
pub(super) fn memory(table: &Table) -> Check {
    let result = slab::entry_size(Path::new(slab::SLABINFO)).map(|size| match (table.limit, table.buckets) {
        (Some(limit), Some(buckets)) if limit > 0 => {
            let full = limits::memory(limit, buckets, size) / (1024 * 1024);
            format!("{size} bytes an entry, {full} MiB for {limit} entries")
        }
        _ => format!("{size} bytes an entry"),
    });
    Check::new(NAME, "slabinfo", result)
}

/// Says that Cilium is here, and where its connections are; `None` where it is not.
pub(super) fn cilium(maps: &Path) -> Option<Check> {
    let found = cilium::found(maps);
    let detail = || {
        format!(
            "{} found: Cilium keeps connections in a table of its own, and nf_conntrack may be nearly empty; look at \
             Cilium's cilium_bpf_map_pressure and cilium_datapath_conntrack_gc_entries (docs/conntrack.md)",
            found.join(", ")
        )
    };
    (!found.is_empty()).then(|| Check::new(NAME, "cilium", Ok(detail())))
}
