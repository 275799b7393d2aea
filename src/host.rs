//! What several sources need to know of the machine: control groups, processes and network namespaces, and which containers
//! there are.

use crate::cloud::Cloud;
use inventory::Inventory;
use std::sync::{Arc, OnceLock};

pub mod bpf;
pub mod cgroup;
pub mod ephemeral;
pub mod inventory;
pub mod machine;
pub mod netns;
pub mod process;

/// What the sources of one agent share of the machine.
#[derive(Debug)]
pub struct Host {
    settings: inventory::config::Inventory,
    inventory: OnceLock<Arc<Inventory>>,
    cloud: Option<Arc<Cloud>>,
}

impl Host {
    /// With the settings that are the agent's own and no source's; nothing is looked at yet.
    pub fn new(inventory: &inventory::config::Inventory) -> Self {
        Self { settings: inventory.clone(), inventory: OnceLock::new(), cloud: None }
    }

    /// The same machine, in this cloud.
    #[must_use]
    pub fn in_cloud(self, cloud: &Arc<Cloud>) -> Self {
        Self { cloud: Some(Arc::clone(cloud)), ..self }
    }

    /// The cloud that the machine is in, or may be; `None` where nobody looked.
    pub fn cloud(&self) -> Option<&Arc<Cloud>> {
        self.cloud.as_ref()
    }

    /// Containers and services that the inventory has at most.
    pub fn most_containers(&self) -> usize {
        self.settings.limit
    }

    /// The containers and services there are; the same inventory for every source.
    pub fn inventory(&self) -> Arc<Inventory> {
        Arc::clone(self.inventory.get_or_init(|| Arc::new(Inventory::new(&self.settings))))
    }
}
