//! One entry of the inventory, and what it is known by (pure).

use super::identity::{self, CgroupOwner, ContainerMetadata, OwnerKind, Workload};
use crate::text::{LONGEST_NAME, bounded_unique};
use std::sync::Arc;
use std::time::Instant;

/// A control group, as whoever found it knows it.
#[derive(Debug, Clone, Copy)]
pub struct CgroupRef<'a> {
    /// Number of its hierarchy (`cgroup_root.hierarchy_id`); 0 is version 2.
    pub hierarchy: u32,
    /// Its id (`kernfs_node.id`), the inode of its directory. In one hierarchy a newer group has a larger one.
    pub id: u64,
    /// Its path from the root of the hierarchy.
    pub path: &'a str,
}

/// A group that belongs to a container or service itself and not to what is below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopGroup {
    /// Number of its hierarchy.
    pub hierarchy: u32,
    /// Id of the group: the inode of its directory.
    pub id: u64,
    /// Path of the group below the root of its hierarchy.
    pub path: Arc<str>,
}

/// The first process of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InitProcess {
    /// Its number, in the agent's pid namespace.
    pub pid: u32,
    /// When it was started, in ticks since the machine was.
    pub started: u64,
}

/// A container or service that runs, or ran recently.
#[derive(Debug)]
pub struct Entry {
    /// Name and attributes.
    pub workload: Arc<Workload>,
    /// Its image; empty where that is not known.
    pub image: Arc<str>,
    /// What runs it; empty where that is not known.
    pub runtime: &'static str,
    /// How often it was restarted.
    pub restarts: u64,
    /// Whether it was there before the agent, and was not restarted since.
    pub before: bool,
    /// When it ended; `None` while it is there.
    pub ended: Option<Instant>,
    /// Its first process, as far as that was looked for.
    pub first: Option<InitProcess>,
    /// When the first process was last seen, in ticks since the machine was started; `None` where none was seen since the
    /// container was restarted.
    pub seen: Option<u64>,
    /// The id of the container that runs, or ran last; `None` of what has no id.
    pub container: Option<Arc<str>>,
    /// The path of its control group.
    pub cgroup: Arc<str>,
    /// Whether anybody knows a name for it.
    pub named: bool,
    /// Key of the container instance that runs, or ran last.
    pub(super) key: Arc<str>,
}

impl Entry {
    /// One that is there now for the first time.
    pub(super) fn new(
        workload: Workload,
        key: &Arc<str>,
        place: &CgroupOwner<'_>,
        found: Option<&ContainerMetadata>,
    ) -> Self {
        let mut entry = Self {
            workload: Arc::new(workload),
            image: "".into(),
            runtime: "",
            restarts: 0,
            before: false,
            ended: None,
            first: None,
            seen: None,
            container: None,
            cgroup: "".into(),
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

    /// What runs, and what was found of it.
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
            self.image = bounded_unique(&found.image, LONGEST_NAME).into();
            self.runtime = found.runtime;
        }
        if self.runtime.is_empty() {
            self.runtime = identity::runtime(place.top);
        }
    }
}
