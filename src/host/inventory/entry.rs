//! An entry of the inventory, and its keys (pure).

use super::identity::{self, CgroupOwner, ContainerMetadata, OwnerKind, Workload};
use crate::text::{LONGEST_NAME, bounded_unique};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

/// What is not known yet.
static EMPTY: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from(""));

/// A control group.
#[derive(Debug, Clone, Copy)]
pub struct CgroupRef<'a> {
    /// Number of the hierarchy (`cgroup_root.hierarchy_id`); 0 is v2.
    pub hierarchy: u32,
    /// Id (`kernfs_node.id`): inode of the directory. In one hierarchy a newer group has a larger id.
    pub id: u64,
    /// Path from the root of the hierarchy.
    pub path: &'a str,
}

/// The control group of a container or service itself, and not one of its descendants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopGroup {
    /// Number of the hierarchy.
    pub hierarchy: u32,
    /// Id of the group: the inode of its directory.
    pub id: u64,
    /// Path of the group below the root of its hierarchy.
    pub path: Arc<str>,
}

/// The first process of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitProcess {
    /// PID in the agent's PID namespace.
    pub pid: u32,
    /// Start time, in clock ticks since boot.
    pub started: u64,
}

/// A container or service that runs, or ran recently.
#[derive(Debug)]
pub struct Entry {
    /// Name and attributes.
    pub workload: Arc<Workload>,
    /// Image; empty if unknown.
    pub image: Arc<str>,
    /// Engine; empty if unknown.
    pub runtime: &'static str,
    /// Number of restarts.
    pub restarts: u64,
    /// Whether it was running before the agent, and was not restarted since.
    pub before: bool,
    /// Time of its end; `None` while it runs.
    pub ended: Option<Instant>,
    /// First process, as far as it was looked up.
    pub first: Option<InitProcess>,
    /// Time when the first process was last seen, in clock ticks since boot; `None` if none was seen since the restart.
    pub seen: Option<u64>,
    /// Id of the running or last container; `None` without an id.
    pub container: Option<Arc<str>>,
    /// Path of the control group.
    pub cgroup: Arc<str>,
    /// Whether its name was found.
    pub named: bool,
    /// Key of the running or last instance.
    pub(super) key: Arc<str>,
}

impl Entry {
    /// An entry of a new container or service.
    pub(super) fn new(
        workload: Workload,
        key: &Arc<str>,
        place: &CgroupOwner<'_>,
        found: Option<&ContainerMetadata>,
    ) -> Self {
        let mut entry = Self {
            workload: Arc::new(workload),
            image: Arc::clone(&EMPTY),
            runtime: "",
            restarts: 0,
            before: false,
            ended: None,
            first: None,
            seen: None,
            container: None,
            cgroup: Arc::clone(&EMPTY),
            named: found.is_some() || !matches!(place.what, OwnerKind::Container(_)),
            key: Arc::clone(key),
        };
        entry.runs(key, place, found);
        entry
    }

    /// Counts a restart.
    pub(super) fn restarted(&mut self) {
        self.restarts += 1;
        self.ended = None;
        self.before = false;
        (self.first, self.seen) = (None, None);
    }

    /// Sets the running instance, and its metadata.
    pub(super) fn runs(
        &mut self,
        key: &Arc<str>,
        place: &CgroupOwner<'_>,
        found: Option<&ContainerMetadata>,
    ) {
        self.key = Arc::clone(key);
        self.container = matches!(place.what, OwnerKind::Container(_)).then(|| Arc::clone(key));
        self.cgroup = bounded_unique(place.top, LONGEST_NAME).into();
        if let Some(found) = found {
            let image = bounded_unique(&found.image, LONGEST_NAME);
            self.image = if image.is_empty() { Arc::clone(&EMPTY) } else { image.into() };
            self.runtime = found.runtime;
        }
        if self.runtime.is_empty() {
            self.runtime = identity::runtime(place.top);
        }
    }
}
