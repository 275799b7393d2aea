//! What the programs are told before they are loaded, and what they say of the whole.

/// Which programs are loaded.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Those for TCP, with what they are told.
    pub tcp: Option<Limits>,
    /// Those for connections that fail at once.
    pub immediate_failures: bool,
    /// Those for the time that tasks wait.
    pub delay: bool,
    /// That for processes that are killed because memory ran out.
    pub oom: bool,
}

/// What the programs are told before they are loaded.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Entries for destinations.
    pub destinations: u32,
    /// Open connections that are followed.
    pub connections: u32,
    /// Whether connections to loopback of other network namespaces are counted.
    pub loopback: bool,
    /// Whether new connections are reported, to ask for their translation.
    pub translate: bool,
    /// Inode of the agent's own network namespace.
    pub netns: u32,
}

impl Limits {
    /// Of programs that are not loaded: their maps have one entry.
    pub(super) const NONE: Self =
        Self { destinations: 1, connections: 1, loopback: false, translate: false, netns: 0 };
}

/// Numbers of the whole since the programs were loaded, in the order of `bpf/group.h`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Destinations in the map, about.
    pub destinations: u64,
    /// Open connections that are followed.
    pub followed: u64,
    /// Events lost because the ring was full, and runs of programs that interrupted one another.
    pub lost: u64,
    /// Events of destinations that found no room.
    pub no_destination: u64,
    /// Connections that were not followed.
    pub no_connection: u64,
    /// Connections of control groups that found no room.
    pub no_group: u64,
    /// Listening sockets that found no room.
    pub no_listener: u64,
}
