//! What several sources need to know of the machine: control groups, processes and network namespaces.

pub mod cgroup;
pub mod netns;
pub mod process;
