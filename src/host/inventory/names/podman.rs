//! podman's `overlay-containers/containers.json` (pure).
//!
//! The format is `Container` of `github.com/containers/storage`, `containers.go`; the metadata is a string with JSON.
//! CRI-O stores its containers there too, with internal names (`k8s_…`).

use crate::host::inventory::identity::{ContainerMetadata, Name};
use serde::Deserialize;

#[derive(Deserialize)]
struct Container {
    #[serde(default)]
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    metadata: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "image-name", default)]
    image: String,
}

/// Metadata of the container with this id; `None` if the text is not JSON or does not have it.
pub fn parse(text: &[u8], id: &str) -> Option<ContainerMetadata> {
    let containers: Vec<Container> = serde_json::from_slice(text).ok()?;
    let container = containers.into_iter().find(|container| container.id == id)?;
    let name = container.names?.into_iter().next()?;
    if name.is_empty() || name.starts_with("k8s_") {
        return None;
    }
    let metadata = container.metadata.and_then(|text| serde_json::from_str(&text).ok());
    let image = metadata.map(|Metadata { image }| image).unwrap_or_default();
    Some(ContainerMetadata { name: Name::Engine("podman", name), runtime: "podman", image })
}
