//! Docker's `containers/ID/config.v2.json`, and the answer to `GET /containers/ID/json`, which has the same keys (pure).
//!
//! The format is `container.Container` of `github.com/moby/moby/container/container.go`. With cri-dockerd containers have
//! the kubelet's labels (`pkg/kubelet/types/labels.go`), and a pod's sandbox has `io.kubernetes.docker.type`.

use super::oci;
use crate::host::inventory::identity::{ContainerMetadata, Name};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Container {
    #[serde(rename = "Name", default)]
    name: String,
    #[serde(rename = "Config", default)]
    config: Option<Config>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(rename = "Image", default)]
    image: String,
    #[serde(rename = "Labels", default)]
    labels: Option<BTreeMap<String, String>>,
}

/// Who the container of a file is; `None` where it is not JSON, or has no name.
pub fn parse(text: &[u8]) -> Option<ContainerMetadata> {
    let Container { name, config } = serde_json::from_slice(text).ok()?;
    let Config { image, labels } = config.unwrap_or(Config { image: String::new(), labels: None });
    let labels = labels.unwrap_or_default();
    let pod = oci::of_pod(&|key| labels.get(key).map(String::as_str));
    let name = pod.or_else(|| {
        let name = name.trim_start_matches('/');
        (!name.is_empty()).then(|| Name::Engine("docker", name.to_owned()))
    })?;
    Some(ContainerMetadata { name, runtime: "docker", image })
}
