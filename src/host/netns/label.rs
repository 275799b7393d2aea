//! The name of the container or pod that a network namespace belongs to.
//!
//! Engines have the names in files (see [inventory](crate::host::inventory::names)). The UID of a pod is in the path of
//! its control groups, and `/var/log/pods` has a directory `NAMESPACE_NAME_UID` for each pod (`BuildPodLogsDirectory`
//! in `pkg/kubelet/kuberuntime/helpers.go`). For LXC and systemd-nspawn the path has the name itself.

#![expect(clippy::disallowed_methods, reason = "a name is cached for a time")]

use crate::host::inventory::config;
use crate::host::inventory::identity::Name;
use crate::host::inventory::names::NameFiles;
use crate::host::{cgroup, process};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Maximum number of cached names.
const REMEMBERED: usize = 4096;

/// Time after which a name that was not found is looked up again.
const AGAIN: Duration = Duration::from_secs(10);

/// The kubelet's directory of the logs of pods.
const PODS: &str = "var/log/pods";

/// Cached names of containers and pods.
#[derive(Debug)]
pub struct ContainerNames {
    root: PathBuf,
    files: NameFiles,
    /// By id of the container or UID of the pod: the name, `None` if not found, and the time of the lookup.
    known: HashMap<String, (Option<String>, Instant)>,
}

impl Default for ContainerNames {
    fn default() -> Self {
        Self::below(Path::new("/"))
    }
}

impl ContainerNames {
    /// Uses the files below a root directory.
    pub fn below(root: &Path) -> Self {
        let files = NameFiles::below(root, &config::Names::default());
        Self { root: root.to_owned(), files, known: HashMap::new() }
    }

    /// The name of the container or pod that a process was started for: a container that its parent is not in. Other
    /// processes of a container may be in network namespaces that are not the container's.
    pub(super) fn of_process(&mut self, pid: u32) -> Option<String> {
        let path = cgroup::of_process(pid)?;
        let container = cgroup::container(&path)?;
        let parent = process::parent(pid).filter(|parent| *parent != 0).and_then(cgroup::of_process);
        if parent.as_deref().and_then(cgroup::container) == Some(container) {
            return None;
        }
        self.of_cgroup(&path)
    }

    /// The name of the pod of a control group, or else of the container.
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
        // A hexadecimal text is an id; any other text is the name itself.
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

    /// The name of a container by its id, or that of its pod.
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
