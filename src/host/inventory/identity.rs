//! The identity of a container or service, from the path of its control group and its metadata (pure).
//!
//! The identity has the name that people use: `/docker/web`, `/k8s/prod/web-0/app`, `/podman/db`, `/lxc/mail`,
//! `/system.slice/nginx.service`. It stays the same when the container is restarted; the id does not.

use crate::host::cgroup;
use crate::metric::{Label, Labels};
use crate::text;
use std::sync::Arc;

/// Maximum length of a name, bytes.
const LONGEST: usize = 255;

/// Number of digits of the id that distinguish two running containers with the same name.
const DIGITS: usize = 12;

/// The owner of a control group, from its path alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CgroupOwner<'a> {
    /// Path of the container's or service's own group; its descendants have the same owner.
    pub top: &'a str,
    /// The kind of the owner, with its id or name.
    pub what: OwnerKind<'a>,
}

/// Kind of the owner of a control group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerKind<'a> {
    /// A container with an id.
    Container(&'a str),
    /// A container that is known by its name, and by whom.
    Named(&'static str, &'a str),
    /// A systemd service: its outermost slice and its name.
    Unit(&'a str, &'a str),
}

impl<'a> CgroupOwner<'a> {
    /// The owner of a control group; `None` if it belongs to neither a container nor a service. The innermost of nested
    /// containers; a service in a container belongs to the container.
    pub fn of(path: &'a str) -> Option<Self> {
        if let Some(id) = cgroup::container(path) {
            let top = up_to(path, id)?;
            let hexadecimal = id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
            let lxc = top.contains("lxc.payload") || top.contains("/lxc/");
            let what = match (hexadecimal, lxc) {
                (_, true) => OwnerKind::Named("lxc", id),
                (true, false) => OwnerKind::Container(id),
                (false, false) => OwnerKind::Named("machine", id),
            };
            return Some(Self { top, what });
        }
        let unit = cgroup::unit(path)
            .filter(|unit| unit.rsplit_once('.').is_some_and(|(_, kind)| kind == "service"))?;
        let slice = path.trim_start_matches('/').split('/').next().filter(|slice| is_slice(slice))?;
        // Login sessions and user services are not services of the machine.
        if slice == "user.slice" {
            return None;
        }
        Some(Self { top: up_to(path, unit)?, what: OwnerKind::Unit(slice, unit) })
    }

    /// Key of the running instance, the same in every hierarchy.
    pub fn key(&self) -> String {
        match self.what {
            OwnerKind::Container(id) => id.to_owned(),
            OwnerKind::Named(kind, name) => format!("/{kind}/{name}"),
            OwnerKind::Unit(slice, unit) => format!("/{slice}/{unit}"),
        }
    }
}

/// Whether a name is that of a systemd slice.
pub fn is_slice(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, kind)| kind == "slice")
}

/// The path up to the end of the component that contains `part`, a slice of it.
fn up_to<'a>(path: &'a str, part: &'a str) -> Option<&'a str> {
    let start = part.as_ptr().addr().checked_sub(path.as_ptr().addr())?;
    let end = path.get(start..)?.find('/').map_or(path.len(), |slash| start + slash);
    path.get(..end)
}

/// The engine that uses this form of name; empty if several do.
pub fn runtime(top: &str) -> &'static str {
    let name = top.rsplit('/').next().unwrap_or_default();
    let name = name.rsplit_once(".slice:").map_or(name, |(_, name)| name);
    let forms = [
        ("docker-", "docker"),
        ("cri-containerd", "containerd"),
        ("nerdctl-", "containerd"),
        ("crio-", "cri-o"),
        ("libpod-", "podman"),
        ("lxc.payload", "lxc"),
        ("machine-", "systemd-nspawn"),
        ("systemd-nspawn@", "systemd-nspawn"),
    ];
    let above = top.strip_suffix(name).unwrap_or_default();
    let form = forms.iter().find(|(form, _)| name.starts_with(form)).map(|(_, runtime)| *runtime);
    let by_parent = || match above.trim_end_matches('/').rsplit('/').next() {
        Some("docker") => Some("docker"),
        Some("libpod_parent") => Some("podman"),
        Some("lxc" | "lxc.payload") => Some("lxc"),
        _ => None,
    };
    form.or_else(by_parent).unwrap_or_default()
}

/// Name of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// Name that an engine (`docker`, `podman`, `nerdctl`) has given.
    Engine(&'static str, String),
    /// Container of a Kubernetes pod.
    Kubernetes {
        /// Namespace of the pod.
        namespace: String,
        /// Name of the pod.
        pod: String,
        /// Name of the container in the pod.
        container: String,
    },
    /// Container of a Kubernetes pod, of which only the pod is known.
    Pod {
        /// Namespace of the pod.
        namespace: String,
        /// Name of the pod.
        pod: String,
    },
    /// The sandbox of a pod ("pause"), which holds its namespaces and runs nothing else; namespace and name of the pod,
    /// if known.
    Sandbox(Option<(String, String)>),
}

/// Metadata of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerMetadata {
    /// Name from the engine or the kubelet.
    pub name: Name,
    /// Engine: `docker`, `containerd`, `cri-o`, `podman`; empty if unknown.
    pub runtime: &'static str,
    /// Image as the engine has it; empty if unknown.
    pub image: String,
}

/// Name and attributes of a container or service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Number of its entry in the inventory. It survives restarts, and is never reused.
    pub number: u64,
    /// Identity; the label `container_id` of the classic names.
    pub identity: Arc<str>,
    /// Identifying attributes: for a container of a pod `k8s.namespace.name`, `k8s.pod.name` and `k8s.container.name`,
    /// for another container `container.name`, for a service `systemd.unit`, and `container.id` if nothing else is
    /// known.
    pub labels: Labels,
}

impl Workload {
    /// The workload of a control group with this metadata. `twin` says that another container with the same name is
    /// running.
    pub fn new(number: u64, place: CgroupOwner<'_>, found: Option<&ContainerMetadata>, twin: bool) -> Self {
        let (mut identity, mut labels) = match (found.map(|found| &found.name), place.what) {
            (Some(Name::Engine(engine, name)), _) => {
                let name = cleaned(name);
                (format!("/{engine}/{name}"), vec![(Label::ContainerName, name)])
            }
            (Some(Name::Kubernetes { namespace, pod, container }), _) => {
                let [namespace, pod, container] = [namespace, pod, container].map(|name| cleaned(name));
                (
                    format!("/k8s/{namespace}/{pod}/{container}"),
                    vec![
                        (Label::K8sNamespaceName, namespace),
                        (Label::K8sPodName, pod),
                        (Label::K8sContainerName, container),
                    ],
                )
            }
            (Some(Name::Pod { namespace, pod }), OwnerKind::Container(id)) => {
                let [namespace, pod] = [namespace, pod].map(|name| cleaned(name));
                (
                    format!("/k8s/{namespace}/{pod}/{id}"),
                    vec![
                        (Label::K8sNamespaceName, namespace),
                        (Label::K8sPodName, pod),
                        (Label::ContainerId, id.into()),
                    ],
                )
            }
            (Some(Name::Sandbox(_)) | None, OwnerKind::Container(id)) => {
                (format!("/container/{id}"), vec![(Label::ContainerId, id.into())])
            }
            (_, OwnerKind::Named(kind, name)) => {
                let name = cleaned(&name.replace("\\x2d", "-"));
                (format!("/{kind}/{name}"), vec![(Label::ContainerName, name)])
            }
            (_, OwnerKind::Unit(slice, unit)) => {
                let (slice, unit) = (cleaned(slice), cleaned(unit));
                (format!("/{slice}/{unit}"), vec![(Label::SystemdUnit, unit)])
            }
        };
        if twin && let OwnerKind::Container(id) = place.what {
            let digits: String = id.chars().take(DIGITS).collect();
            identity = format!("{identity}/{digits}");
            labels.push((Label::ContainerId, id.into()));
        }
        Self { number, identity: identity.into(), labels: Labels::new(labels) }
    }
}

/// A name of at most 255 bytes, without unprintable characters. Reserved values (`~other`) begin with `~`, so no name
/// does.
fn cleaned(name: &str) -> Arc<str> {
    let name = if name.starts_with('~') { format!("_{name}") } else { name.to_owned() };
    text::bounded_unique(&name, LONGEST).into()
}
