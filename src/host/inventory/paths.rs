//! Configured paths that do not exist. The defaults are the paths of every engine, so most of them are absent.

use super::config::{Inventory, Names};
use super::names::below;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// A message for each configured path that does not exist, such as `inventory.root: /host is not a directory`.
pub(super) fn missing(settings: &Inventory) -> Vec<String> {
    let Inventory { root, names, .. } = settings;
    if !root.is_dir() {
        return vec![format!("inventory.root: {} is not a directory", root.display())];
    }
    let default = Names::default();
    let lists = [
        ("docker", &names.docker, &default.docker),
        ("containerd", &names.containerd, &default.containerd),
        ("crio", &names.crio, &default.crio),
    ];
    let lists = lists.into_iter().flat_map(|(key, paths, default)| {
        paths.iter().filter(|path| !default.contains(path)).map(move |path| (key, path))
    });
    let kubelet = names.kubelet.iter().filter(|path| default.kubelet.as_ref() != Some(path));
    let kubelet = kubelet.map(|path| ("kubelet", path));
    let folders = lists.chain(kubelet).filter_map(|(key, path)| {
        let path = below(root, path);
        Some(said(key, &path, folder(&path)?))
    });
    let socket = names.docker_socket.iter().filter_map(|path| {
        let path = below(root, path);
        Some(said("docker_socket", &path, socket(&path)?))
    });
    folders.chain(socket).collect()
}

fn said(key: &str, path: &Path, what: impl std::fmt::Display) -> String {
    format!("inventory.names.{key}: {}: {what}", path.display())
}

/// The error of a directory; `None` if it exists. Missing permissions are reported when it is read.
fn folder(path: &Path) -> Option<String> {
    match std::fs::metadata(path) {
        Ok(file) => (!file.is_dir()).then(|| "is not a directory".to_owned()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => None,
        Err(error) => Some(error.to_string()),
    }
}

/// The error of a socket; `None` if it exists.
fn socket(path: &Path) -> Option<String> {
    match std::fs::metadata(path) {
        Ok(file) if !file.file_type().is_socket() => Some("is not a socket".to_owned()),
        Ok(_) => accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS)
            .err()
            .map(|error| format!("{}; it takes root, or its group", std::io::Error::from(error))),
        Err(error) => Some(error.to_string()),
    }
}
