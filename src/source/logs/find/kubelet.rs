//! The kubelet's links `/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log`, each to the log of a container at
//! `/var/log/pods/NAMESPACE_POD_UID/CONTAINER/N.log`.
//!
//! `LogSymlink` in `pkg/kubelet/kuberuntime/legacy.go` of Kubernetes. A link to somewhere else is not one of them: with
//! Docker below the kubelet they lead to files of Docker, which are found by Docker's own.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

/// Links that are looked at, at most.
const LINKS: usize = 20_000;

/// Where the logs are that the links lead to.
pub(super) const PODS: &str = "/var/log/pods";

/// Characters of an id.
const ID: usize = 64;

/// The logs by the ids of the containers.
pub(super) fn logs(directory: &Path) -> HashMap<String, PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return HashMap::new() };
    let links = entries.filter_map(Result::ok).take(LINKS);
    links
        .filter_map(|entry| {
            let id = id(entry.file_name().to_str()?)?.to_owned();
            let target = std::fs::read_link(entry.path()).ok()?;
            is_of_a_pod(&target).then_some((id, target))
        })
        .collect()
}

/// The id in the name of a link.
fn id(link: &str) -> Option<&str> {
    let (_, id) = link.strip_suffix(".log")?.rsplit_once('-')?;
    let is_id = id.len() == ID && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then_some(id)
}

/// Whether a path is of a log of a pod and nowhere else.
fn is_of_a_pod(target: &Path) -> bool {
    let plain = target.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    plain && target.starts_with(PODS)
}

#[cfg(test)]
mod tests {
    use super::{ID, logs};

    #[test]
    fn links_lead_to_the_logs_of_pods_and_nowhere_else() {
        let directory = tempfile::tempdir().unwrap();
        let ids = ["a", "b", "c", "d"].map(|digit| digit.repeat(ID));
        let link = |name: String, target: &str| {
            std::os::unix::fs::symlink(target, directory.path().join(name)).unwrap();
        };
        let log = "/var/log/pods/shop_web-0_0f5e/web/0.log";
        link(format!("web-0_shop_web-{}.log", ids[0]), log);
        link(format!("web-0_shop_web-{}.log", ids[1]), "/etc/shadow");
        link(format!("web-0_shop_web-{}.log", ids[2]), "/var/log/pods/../../../etc/shadow");
        link(format!("{}.log", ids[3]), log);
        link("web-0_shop_web-short.log".to_owned(), log);
        assert_eq!(logs(directory.path()), [(ids[0].clone(), log.into())].into());
        assert!(logs(&directory.path().join("absent")).is_empty());
    }
}
