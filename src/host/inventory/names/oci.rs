//! The annotations in the `config.json` of a container's bundle, as containerd, CRI-O and nerdctl write them (pure).
//!
//! containerd: `pkg/cri/annotations/annotations.go`; CRI-O: `pkg/annotations`, and the kubelet's labels, which it
//! copies. The file is specified in `config.md`, "Annotations", of the OCI runtime specification.

use crate::host::inventory::identity::{ContainerMetadata, Name};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Bundle {
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// Keys of the annotations of an engine: type of container, namespace and name of the pod, name of the container.
type Keys = [&'static str; 4];

const KEYS: [Keys; 2] = [
    [
        "io.kubernetes.cri.container-type",
        "io.kubernetes.cri.sandbox-namespace",
        "io.kubernetes.cri.sandbox-name",
        "io.kubernetes.cri.container-name",
    ],
    [
        "io.kubernetes.cri-o.ContainerType",
        "io.kubernetes.pod.namespace",
        "io.kubernetes.pod.name",
        "io.kubernetes.container.name",
    ],
];

/// Label of the type of container if the engine is Docker.
const DOCKER_TYPE: &str = "io.kubernetes.docker.type";

/// Annotations of the image, with the engine that writes each.
const IMAGES: [(&str, &str); 3] = [
    ("io.kubernetes.cri.image-name", "containerd"),
    ("io.kubernetes.cri-o.ImageName", "cri-o"),
    ("nerdctl/image-ref", "containerd"),
];

/// Metadata of the container of a bundle; `None` if the text is not JSON or has no known annotation.
pub fn parse(text: &[u8]) -> Option<ContainerMetadata> {
    let Bundle { annotations } = serde_json::from_slice(text).ok()?;
    let annotations = annotations?;
    let annotation = |key: &str| annotations.get(key).map(String::as_str);
    let image = IMAGES.iter().find_map(|(key, runtime)| Some((annotation(key)?.to_owned(), *runtime)));
    let nerdctl = || Some(Name::Engine("nerdctl", annotation("nerdctl/name")?.to_owned()));
    let name = of_pod(&annotation).or_else(nerdctl)?;
    let runtime = match &image {
        Some((_, runtime)) => runtime,
        None if annotations.keys().any(|key| key.starts_with("io.kubernetes.cri-o.")) => "cri-o",
        None if annotations.keys().any(|key| key.starts_with("io.kubernetes.cri.")) => "containerd",
        None => "",
    };
    Some(ContainerMetadata { name, runtime, image: image.map(|(image, _)| image).unwrap_or_default() })
}

/// The name of a container of a pod, from annotations or labels.
pub(super) fn of_pod<'a>(value: &impl Fn(&str) -> Option<&'a str>) -> Option<Name> {
    let named = |key: &str| value(key).filter(|name| !name.is_empty()).map(str::to_owned);
    let kinds = KEYS.iter().map(|[kind, ..]| *kind).chain([DOCKER_TYPE]);
    let mut kinds = kinds.filter_map(value);
    let sandbox = kinds.any(|kind| matches!(kind, "sandbox" | "podsandbox"));
    let pod = KEYS
        .iter()
        .find_map(|[_, namespace, pod, container]| Some((named(namespace)?, named(pod)?, named(container))));
    match pod {
        // Older kubelets have no key for the sandbox, and call the container POD.
        Some((namespace, pod, container)) if sandbox || container.as_deref() == Some("POD") => {
            Some(Name::Sandbox(Some((namespace, pod))))
        }
        None => sandbox.then_some(Name::Sandbox(None)),
        Some((namespace, pod, Some(container))) => Some(Name::Kubernetes { namespace, pod, container }),
        Some((namespace, pod, None)) => Some(Name::Pod { namespace, pod }),
    }
}
