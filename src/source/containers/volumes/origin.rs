//! What a mount of a container is called outside: a volume of Docker, or of Kubernetes and who provides it, by the paths that
//! the engine and the kubelet give them (pure).

use super::mountinfo::BlockMount;

/// A volume by its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Who provides it: `csi`, `empty-dir`, `local-volume`; empty where it is no volume of Kubernetes.
    pub provisioner: String,
    /// Name of the volume; empty if the mount is no volume.
    pub volume: String,
}

/// The origin of a mount. `host` are the mounts of the host, where the same file system has its path; with that of what is
/// mounted it is the path of the volume.
pub fn of(mount: &BlockMount, host: &[BlockMount]) -> Origin {
    let same = host.iter().filter(|other| other.device == mount.device);
    let paths = same.filter_map(|other| {
        let below = below(&mount.root, &other.root)?;
        Some([other.point.as_slice(), b"/", below].concat())
    });
    // Where the host's mounts cannot be seen, the path in the file system may say enough.
    let paths: Vec<Vec<u8>> = paths.chain([mount.root.clone()]).collect();
    let find = |origin: fn(&[&str]) -> Option<Origin>| {
        paths.iter().find_map(|path| {
            let path = std::str::from_utf8(path).ok()?;
            origin(&path.split('/').filter(|name| !name.is_empty()).collect::<Vec<_>>())
        })
    };
    find(kubelet).or_else(|| find(docker)).unwrap_or_default()
}

/// The rest of a path below another.
fn below<'a>(path: &'a [u8], above: &[u8]) -> Option<&'a [u8]> {
    let above = above.strip_suffix(b"/").unwrap_or(above);
    let rest = path.strip_prefix(above)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b"/") }
}

/// `…/pods/UID/volumes/kubernetes.io~PROVISIONER/VOLUME`.
fn kubelet(names: &[&str]) -> Option<Origin> {
    names.windows(5).find_map(|names| {
        let ["pods", _, "volumes", provisioner, volume] = names else { return None };
        let provisioner = provisioner.split_once('~').map_or(*provisioner, |(_, name)| name);
        Some(Origin { provisioner: provisioner.to_owned(), volume: (*volume).to_owned() })
    })
}

/// `…/volumes/VOLUME/_data`, of Docker and podman.
fn docker(names: &[&str]) -> Option<Origin> {
    names.windows(3).find_map(|names| {
        let ["volumes", volume, "_data"] = names else { return None };
        Some(Origin { provisioner: String::new(), volume: (*volume).to_owned() })
    })
}
