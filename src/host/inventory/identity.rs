//! From the path of a control group and the names that were found to an identity (pure).
//!
//! The identity is the name that people know: `/docker/web`, `/k8s/prod/web-0/app`, `/podman/db`, `/lxc/mail`,
//! `/system.slice/nginx.service`. A container that is restarted under its name is the same; its id is not.

use crate::host::cgroup;
use crate::metric::{Label, Labels};
use crate::text;
use std::sync::Arc;

/// Longest name that is kept, in bytes.
const LONGEST: usize = 255;

/// Digits of an id that tell apart two running containers with one name.
const DIGITS: usize = 12;

/// Whose a control group is, by its path alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CgroupOwner<'a> {
    /// The group of the container or service itself; what is below belongs to it.
    pub top: &'a str,
    /// What it is: the id of a container, the name of one that has no id, or slice and name of a service.
    pub what: OwnerKind<'a>,
}

/// What a control group is of.
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
    /// Whose a control group is; `None` for those of neither a container nor a service. Of nested containers it is the
    /// innermost; a service in a container is the container's.
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
        // What people log into, and what is started there, is not a service of the machine.
        if slice == "user.slice" {
            return None;
        }
        Some(Self { top: up_to(path, unit)?, what: OwnerKind::Unit(slice, unit) })
    }

    /// What stays the same while the container or the service is there, in every hierarchy.
    pub fn key(&self) -> String {
        match self.what {
            OwnerKind::Container(id) => id.to_owned(),
            OwnerKind::Named(kind, name) => format!("/{kind}/{name}"),
            OwnerKind::Unit(slice, unit) => format!("/{slice}/{unit}"),
        }
    }
}

/// Whether a name is that of a slice of systemd.
pub fn is_slice(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, kind)| kind == "slice")
}

/// The path up to the end of the name that has this part of it.
fn up_to<'a>(path: &'a str, part: &'a str) -> Option<&'a str> {
    let start = part.as_ptr().addr().checked_sub(path.as_ptr().addr())?;
    let end = path.get(start..)?.find('/').map_or(path.len(), |slash| start + slash);
    path.get(..end)
}

/// The engine that makes groups of this form; empty where nobody else's look different.
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

/// What an engine calls a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// A name that the engine of this word (`docker`, `podman`, `nerdctl`) knows.
    Engine(&'static str, String),
    /// A container of a pod.
    Kubernetes {
        /// Namespace of the pod.
        namespace: String,
        /// Name of the pod.
        pod: String,
        /// Name of the container in the pod.
        container: String,
    },
    /// A container of a pod, of which only the pod is known.
    Pod {
        /// Namespace of the pod.
        namespace: String,
        /// Name of the pod.
        pod: String,
    },
    /// The container that holds the namespaces of a pod and runs nothing else ("pause"); namespace and name of the pod, as
    /// far as they are known.
    Sandbox(Option<(String, String)>),
}

/// What was found of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerMetadata {
    /// What the engine or the kubelet calls it.
    pub name: Name,
    /// What runs it: `docker`, `containerd`, `cri-o`, `podman`; empty where that is not known.
    pub runtime: &'static str,
    /// Its image, as the engine writes it; empty where that is not known.
    pub image: String,
}

/// Who a container or a service is: what it is called, and the attributes of its series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// The number of its entry in the inventory. It stays the same when the container is restarted, and is not given
    /// twice.
    pub number: u64,
    /// Its identity; the label `container_id` of the classic names.
    pub identity: Arc<str>,
    /// The attributes *who*: of a pod's container `k8s.namespace.name`, `k8s.pod.name` and `k8s.container.name`, of
    /// another `container.name`, of a service `systemd.unit`, and `container.id` where nothing else is known.
    pub labels: Labels,
}

impl Workload {
    /// Who is at a place, with what was found of it. `twin`: another with the same name is running.
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

/// A name in at most 255 bytes, without what is not printable. Words of ours (`~other`) begin with `~`, so no name does.
fn cleaned(name: &str) -> Arc<str> {
    let name = if name.starts_with('~') { format!("_{name}") } else { name.to_owned() };
    text::bounded_unique(&name, LONGEST).into()
}
