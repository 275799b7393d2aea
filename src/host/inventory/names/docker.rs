//! Docker's `containers/ID/config.v2.json`, and the response to `GET /containers/ID/json`, which has the same keys
//! (pure).
//!
//! The format is `container.Container` of `github.com/moby/moby/container/container.go`. With cri-dockerd, containers
//! have the kubelet's labels (`pkg/kubelet/types/labels.go`), and the sandbox of a pod has `io.kubernetes.docker.type`.

use super::oci;
use crate::host::inventory::identity::{ContainerMetadata, Name};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

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

#[derive(Deserialize)]
struct Networks {
    #[serde(rename = "NetworkSettings", default)]
    settings: Option<Settings>,
}

#[derive(Deserialize)]
struct Settings {
    #[serde(rename = "Ports", default)]
    ports: Option<BTreeMap<String, Option<Vec<Published>>>>,
}

#[derive(Deserialize)]
struct Published {
    #[serde(rename = "HostIp", default)]
    address: String,
    #[serde(rename = "HostPort", default)]
    port: String,
}

/// Maximum number of ports of a container that are read.
const PORTS: usize = 1024;

/// Published TCP ports of a container (`NetworkSettings.Ports`, `nat.PortMap` of
/// `github.com/docker/go-connections/nat`); an empty address is `0.0.0.0`.
pub fn published(text: &[u8]) -> Vec<SocketAddr> {
    let ports = serde_json::from_slice::<Networks>(text).ok().and_then(|networks| networks.settings?.ports);
    let tcp = ports.unwrap_or_default().into_iter().filter(|(port, _)| port.ends_with("/tcp"));
    let all = tcp.filter_map(|(_, published)| published).flatten().filter_map(|published| {
        let address = match published.address.as_str() {
            "" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            address => address.parse().ok()?,
        };
        let port = published.port.parse().ok().filter(|port| *port != 0)?;
        Some(SocketAddr::new(address, port))
    });
    all.take(PORTS).collect()
}

/// Metadata of a container; `None` if the text is not JSON, or has no name.
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
