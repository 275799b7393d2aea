//! What the container or pod is called that a network namespace belongs to.
//!
//! Engines say it in files; nothing is asked over their sockets. A pod's UID is in the path of its control groups, and
//! `/var/log/pods` has a directory `NAMESPACE_NAME_UID` for each pod (`BuildPodLogsDirectory` in
//! `pkg/kubelet/kuberuntime/helpers.go`). A container's id is there too; Docker has its name in `config.v2.json`, podman in
//! `containers.json`, containerd and CRI-O among the annotations of the bundle's `config.json`. LXC and systemd-nspawn have
//! the name itself in the path.

#![expect(clippy::disallowed_methods, reason = "a name is kept for a while")]

use crate::host::{cgroup, process};
use serde_json::Value;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Names that are remembered.
const REMEMBERED: usize = 4096;

/// How long nobody knows the name of a container before its files are looked at again.
const AGAIN: Duration = Duration::from_secs(10);

/// Largest file of an engine that is read.
const MOST: u64 = 1024 * 1024;

/// Where Docker keeps a directory for each container.
const DOCKER: &str = "var/lib/docker/containers";
/// Where podman keeps the list of the containers.
const PODMAN: &str = "var/lib/containers/storage/overlay-containers/containers.json";
/// Where containerd keeps the bundles, by its own namespace (`k8s.io`, `moby`, `default`).
const CONTAINERD: &str = "run/containerd/io.containerd.runtime.v2.task";
/// Where CRI-O and podman keep the bundles.
const CRI_O: &str = "run/containers/storage/overlay-containers";
/// Where the kubelet has the logs of the pods.
const PODS: &str = "var/log/pods";

/// Annotations that name a pod and its Kubernetes namespace (containerd, CRI-O).
const POD: [[&str; 2]; 2] = [
    ["io.kubernetes.cri.sandbox-namespace", "io.kubernetes.cri.sandbox-name"],
    ["io.kubernetes.pod.namespace", "io.kubernetes.pod.name"],
];

/// The names of containers and pods, each looked for once.
#[derive(Debug)]
pub struct ContainerNames {
    root: PathBuf,
    /// By the id of the container or the UID of the pod; `None` where none was found at that time.
    known: HashMap<String, (Option<String>, Instant)>,
}

impl Default for ContainerNames {
    fn default() -> Self {
        Self::below(Path::new("/"))
    }
}

impl ContainerNames {
    /// Those that the files below a directory tell of.
    pub fn below(root: &Path) -> Self {
        Self { root: root.to_owned(), known: HashMap::new() }
    }

    /// The name of the container or pod that a process was started for: it is in one that its parent is not in. Other
    /// processes of a container may be in network namespaces that are not its own.
    pub(super) fn of_process(&mut self, pid: u32) -> Option<String> {
        let path = cgroup::of_process(pid)?;
        let container = cgroup::container(&path)?;
        let parent = process::parent(pid).filter(|parent| *parent != 0).and_then(cgroup::of_process);
        if parent.as_deref().and_then(cgroup::container) == Some(container) {
            return None;
        }
        self.of_cgroup(&path)
    }

    /// The name of the pod, or else of the container, that a control group belongs to.
    pub fn of_cgroup(&mut self, path: &str) -> Option<String> {
        let id = cgroup::container(path)?;
        let pod = cgroup::pod(path);
        let key = pod.as_deref().unwrap_or(id);
        if let Some((name, at)) = self.known.get(key)
            && (name.is_some() || at.elapsed() < AGAIN)
        {
            return name.clone();
        }
        let name = pod.as_deref().and_then(|uid| self.pod(uid)).or_else(|| self.container(id));
        // Only what is hexadecimal is an id; the rest are names.
        let named = !id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        let name = name.or_else(|| named.then(|| id.replace("\\x2d", "-")));
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        self.known.insert(key.to_owned(), (name.clone(), Instant::now()));
        name
    }

    /// `NAMESPACE/NAME` of a pod, by its UID.
    fn pod(&self, uid: &str) -> Option<String> {
        let entries = std::fs::read_dir(self.root.join(PODS)).ok()?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.into_iter().find_map(|directory| {
            let (name, of) = directory.rsplit_once('_')?;
            let (namespace, pod) = name.split_once('_')?;
            (of == uid).then(|| format!("{namespace}/{pod}"))
        })
    }

    /// The name of a container, by its id.
    fn container(&self, id: &str) -> Option<String> {
        self.docker(id).or_else(|| self.podman(id)).or_else(|| self.bundle(id))
    }

    fn docker(&self, id: &str) -> Option<String> {
        let file = json(&self.root.join(DOCKER).join(id).join("config.v2.json"))?;
        let name = file.get("Name")?.as_str()?.trim_start_matches('/');
        (!name.is_empty()).then(|| name.to_owned())
    }

    fn podman(&self, id: &str) -> Option<String> {
        let list = json(&self.root.join(PODMAN))?;
        let mut containers = list.as_array()?.iter();
        let container =
            containers.find(|container| container.get("id").and_then(Value::as_str) == Some(id))?;
        // CRI-O keeps its containers there too, and gives them names that nobody uses.
        let name = container.get("names")?.get(0)?.as_str()?;
        (!name.starts_with("k8s_")).then(|| name.to_owned())
    }

    fn bundle(&self, id: &str) -> Option<String> {
        let namespaces = std::fs::read_dir(self.root.join(CONTAINERD)).into_iter().flatten();
        let containerd = namespaces.filter_map(|entry| Some(entry.ok()?.path().join(id)));
        let cri_o = self.root.join(CRI_O).join(id).join("userdata");
        containerd.chain([cri_o]).find_map(|bundle| {
            let config = json(&bundle.join("config.json"))?;
            let annotations = config.get("annotations")?;
            let annotation = |key: &str| annotations.get(key).and_then(Value::as_str);
            let pod = POD.iter().find_map(|[namespace, name]| {
                Some(format!("{}/{}", annotation(namespace)?, annotation(name)?))
            });
            pod.or_else(|| annotation("nerdctl/name").map(str::to_owned))
        })
    }
}

/// A file of an engine; `None` where there is none, or it may not be read.
fn json(path: &Path) -> Option<Value> {
    serde_json::from_str(&crate::sys::read_limited(path, MOST).ok()?).ok()
}
