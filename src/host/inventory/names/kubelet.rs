//! The kubelet's links `/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log` (pure).
//!
//! `LogSymlink` in `pkg/kubelet/kuberuntime/legacy.go` of Kubernetes. Names of pods and namespaces have no `_`. A
//! sandbox has no link.

use crate::host::inventory::identity::{ContainerMetadata, Name};

/// Metadata of the container with this id, from the name of a link; `None` if the link is of another container.
pub fn parse(link: &str, id: &str) -> Option<ContainerMetadata> {
    let name = link.strip_suffix(".log")?.strip_suffix(id)?.strip_suffix('-')?;
    let (pod, rest) = name.split_once('_')?;
    let (namespace, container) = rest.split_once('_')?;
    if id.is_empty() || [pod, namespace, container].contains(&"") {
        return None;
    }
    let [namespace, pod, container] = [namespace, pod, container].map(str::to_owned);
    Some(ContainerMetadata {
        name: Name::Kubernetes { namespace, pod, container },
        runtime: "",
        image: String::new(),
    })
}
