//! The machine, as several sources need it: control groups, processes, network namespaces, BPF programs, ICMP
//! echoes, and the inventory of containers and services.

use crate::cloud::Cloud;
use inventory::Inventory;
use std::sync::{Arc, OnceLock};

pub mod bpf;
pub mod cgroup;
pub mod counter;
pub mod datagram;
pub mod ephemeral;
pub mod icmp;
pub mod inventory;
pub mod machine;
pub mod netns;
pub mod process;

/// State about the machine that the sources of an agent share.
#[derive(Debug)]
pub struct Host {
    settings: inventory::config::Inventory,
    inventory: OnceLock<Arc<Inventory>>,
    cloud: Option<Arc<Cloud>>,
}

impl Host {
    /// Creates it from the agent's settings. Nothing is read yet.
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

    /// Maximum number of containers and services in the inventory.
    pub fn container_limit(&self) -> usize {
        self.settings.limit
    }

    /// The inventory of containers and services; the same for every source.
    pub fn inventory(&self) -> Arc<Inventory> {
        Arc::clone(self.inventory.get_or_init(|| Arc::new(Inventory::new(&self.settings))))
    }
}
