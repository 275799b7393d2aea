//! The kubelet's links `/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log`, each to the log of a container at
//! `/var/log/pods/NAMESPACE_POD_UID/CONTAINER/N.log`; and that log itself, where the links cannot be read.
//!
//! `LogSymlink` in `pkg/kubelet/kuberuntime/legacy.go` of Kubernetes. A link to somewhere else is not one of them: with
//! Docker below the kubelet they lead to files of Docker, which are found by Docker's own.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

/// Links that are looked at, at most.
const LINKS: usize = 20_000;

/// The directory of the log files that the links lead to.
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

/// The newest log of a container in the directory of its pod; `N` is the number of its restarts. With Docker below the kubelet
/// it is a link to a file of Docker, which is found by Docker's own.
pub(super) fn newest(pods: &Path, [namespace, pod, uid, container]: [&str; 4]) -> Option<PathBuf> {
    let directory = format!("{namespace}_{pod}_{uid}");
    let is_name = |name: &str| !name.contains('/') && !name.starts_with('.');
    if !is_name(&directory) || !is_name(container) {
        return None;
    }
    let directory = pods.join(directory).join(container);
    let logs = std::fs::read_dir(&directory).ok()?.filter_map(Result::ok).take(LINKS);
    let numbers = logs.filter_map(|entry| {
        let name = entry.file_name();
        let number = name.to_str()?.strip_suffix(".log")?.parse::<u32>().ok()?;
        entry.file_type().is_ok_and(|kind| kind.is_file()).then_some(number)
    });
    Some(directory.join(format!("{}.log", numbers.max()?)))
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
    use super::{ID, logs, newest};

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

    #[test]
    fn the_newest_log_of_a_container_is_that_of_its_latest_restart() {
        let pods = tempfile::tempdir().unwrap();
        let directory = pods.path().join("shop_web-0_0f5e/web");
        std::fs::create_dir_all(directory.join("11.log")).unwrap();
        for name in ["2.log", "9.log", "10.log", "10.log.20261126-050000", "x.log"] {
            std::fs::write(directory.join(name), "").unwrap();
        }
        std::os::unix::fs::symlink("/etc/shadow", directory.join("12.log")).unwrap();
        let newest = |of| newest(pods.path(), of);
        assert_eq!(newest(["shop", "web-0", "0f5e", "web"]), Some(directory.join("10.log")));
        assert_eq!(newest(["shop", "web-0", "0f5e", "other"]), None);
        assert_eq!(newest(["shop", "web-0", "0f5e", "../../shop_web-0_0f5e/web"]), None);
        assert_eq!(newest([".", "/", "..", "web"]), None);
    }
}
