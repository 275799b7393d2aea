//! Parameters of the BPF programs, and their overall counters.

/// Which programs are loaded.
#[derive(Debug, Clone, Copy)]
pub struct ProgramSelection {
    /// The programs for TCP, with their parameters.
    pub tcp: Option<Limits>,
    /// The programs for connections that fail immediately.
    pub immediate_failures: bool,
    /// The programs for delays.
    pub delay: bool,
    /// The program for OOM kills.
    pub oom: bool,
}

/// Parameters of the programs, set before they are loaded.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Maximum number of destinations.
    pub destinations: u32,
    /// Entries for connections; all but an eighth of them, at most 1024, may be open ones.
    pub connections: u32,
    /// Whether connections to loopback of other network namespaces are counted.
    pub loopback: bool,
    /// Whether new connections are reported, to ask for their translation.
    pub translate: bool,
    /// Inode of the agent's own network namespace.
    pub netns: u32,
}

impl Limits {
    /// Parameters if the programs are not loaded: their maps have one entry.
    pub(super) const NONE: Self =
        Self { destinations: 1, connections: 1, loopback: false, translate: false, netns: 0 };

    /// Maximum number of open connections that are tracked. The other entries are kept for connections that are being opened
    /// meanwhile, which are counted as opened or failed. The map has no entries beyond `connections`: the kernel rounds the
    /// number of hash buckets up to a power of two.
    pub(super) const fn tracked(&self) -> u32 {
        let part = self.connections / 8;
        self.connections - if part < 1024 { part } else { 1024 }
    }
}

/// Overall counters since the programs were loaded, in the order of `bpf/group.h`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Approximate number of destinations in the map.
    pub destinations: u64,
    /// Open connections that are tracked.
    pub followed: u64,
    /// Events lost because the ring buffer was full, and runs that were skipped because a program was interrupted.
    pub lost: u64,
    /// Events of destinations that did not fit into the map.
    pub no_destination: u64,
    /// Connections that were not tracked.
    pub no_connection: u64,
    /// Connections of control groups that did not fit into the map.
    pub no_group: u64,
    /// Listening sockets that did not fit into the map.
    pub no_listener: u64,
}
