//! The annotations in the `config.json` of a container's bundle, as containerd, CRI-O and nerdctl write them (pure).
//!
//! containerd: `pkg/cri/annotations/annotations.go`; CRI-O: `pkg/annotations` and the kubelet's labels, which it copies;
//! the file is that of the OCI runtime specification, `config.md`, "Annotations".

use crate::host::inventory::identity::{ContainerMetadata, Name};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Bundle {
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// Keys of one who writes annotations: what kind of container it is, namespace and name of the pod, name of the container.
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

/// What containers have by the kubelet's names for it where the engine is Docker.
const DOCKER_TYPE: &str = "io.kubernetes.docker.type";

/// Where each writes the name of the image, and who it is then.
const IMAGES: [(&str, &str); 3] = [
    ("io.kubernetes.cri.image-name", "containerd"),
    ("io.kubernetes.cri-o.ImageName", "cri-o"),
    ("nerdctl/image-ref", "containerd"),
];

/// Who the container of a bundle is; `None` where the text is not JSON or no annotation says it.
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

/// The container of a pod, by annotations or labels.
pub(super) fn of_pod<'a>(value: &impl Fn(&str) -> Option<&'a str>) -> Option<Name> {
    let named = |key: &str| value(key).filter(|name| !name.is_empty()).map(str::to_owned);
    let kinds = KEYS.iter().map(|[kind, ..]| *kind).chain([DOCKER_TYPE]);
    let mut kinds = kinds.filter_map(value);
    let sandbox = kinds.any(|kind| matches!(kind, "sandbox" | "podsandbox"));
    let pod = KEYS
        .iter()
        .find_map(|[_, namespace, pod, container]| Some((named(namespace)?, named(pod)?, named(container))));
    match pod {
        // Before there was a key for it, the kubelet called the sandbox so.
        Some((namespace, pod, container)) if sandbox || container.as_deref() == Some("POD") => {
            Some(Name::Sandbox(Some((namespace, pod))))
        }
        None => sandbox.then_some(Name::Sandbox(None)),
        Some((namespace, pod, Some(container))) => Some(Name::Kubernetes { namespace, pod, container }),
        Some((namespace, pod, None)) => Some(Name::Pod { namespace, pod }),
    }
}
