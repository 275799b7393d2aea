//! What the container or pod is called that a network namespace belongs to.
//!
//! Engines say it in files, which the [inventory](crate::host::inventory::names) knows. A pod's UID is in the path of its
//! control groups, and `/var/log/pods` has a directory `NAMESPACE_NAME_UID` for each pod (`BuildPodLogsDirectory` in
//! `pkg/kubelet/kuberuntime/helpers.go`). LXC and systemd-nspawn have the name itself in the path.

#![expect(clippy::disallowed_methods, reason = "a name is kept for a while")]

use crate::host::inventory::config;
use crate::host::inventory::identity::Name;
use crate::host::inventory::names::NameFiles;
use crate::host::{cgroup, process};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Names that are remembered.
const REMEMBERED: usize = 4096;

/// How long nobody knows the name of a container before its files are looked at again.
const AGAIN: Duration = Duration::from_secs(10);

/// Where the kubelet has the logs of the pods.
const PODS: &str = "var/log/pods";

/// The names of containers and pods, each looked for once.
#[derive(Debug)]
pub struct ContainerNames {
    root: PathBuf,
    files: NameFiles,
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
        let files = NameFiles::below(root, &config::Names::default());
        Self { root: root.to_owned(), files, known: HashMap::new() }
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

    /// The name of a container, or else that of its pod, by its id.
    fn container(&mut self, id: &str) -> Option<String> {
        match self.files.of(id)?.name {
            Name::Engine(_, name) => Some(name),
            Name::Kubernetes { namespace, pod, .. }
            | Name::Pod { namespace, pod }
            | Name::Sandbox(Some((namespace, pod))) => Some(format!("{namespace}/{pod}")),
            Name::Sandbox(None) => None,
        }
    }
}
