//! Permissions of target files. The agent opens sockets, keys and network namespaces with privileges that a user who
//! can write the file may not have.

use crate::source::probes::config::Target;
use crate::source::probes::config::kind::Protocol;
use rustix::process::geteuid;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Maximum number of symbolic links in a path, as in the kernel (`MAXSYMLINKS`).
const LINKS: usize = 40;

/// The reason why only root and the agent's user may configure a target; `None` for a target without privileges.
pub fn privileged(target: &Target) -> Option<&'static str> {
    let tls = &target.tls;
    if target.kind.protocol() == Protocol::Unix {
        return Some("is of a kind that connects to sockets of this machine");
    }
    if tls.cert_file.is_some() || tls.key_file.is_some() {
        return Some("has a client certificate");
    }
    (!target.netns.is_empty()).then_some("is in another network namespace")
}

/// The first component of a path, with links followed, through which other users can change what is read; `None` if
/// there is none.
pub fn writable_by_others(path: &Path) -> io::Result<Option<PathBuf>> {
    let mut reached = PathBuf::from("/");
    let mut left: VecDeque<OsString> = names(&std::path::absolute(path)?).collect();
    let mut links = 0;
    if by_others(&std::fs::metadata(&reached)?) {
        return Ok(Some(reached));
    }
    while let Some(name) = left.pop_front() {
        if name == ".." {
            reached.pop();
            continue;
        }
        let next = reached.join(name);
        let found = std::fs::symlink_metadata(&next)?;
        if by_others(&found) {
            return Ok(Some(next));
        }
        if !found.is_symlink() {
            reached = next;
            continue;
        }
        links += 1;
        if links > LINKS {
            return Err(io::Error::other("too many links"));
        }
        let to = std::fs::read_link(&next)?;
        if to.is_absolute() {
            reached = PathBuf::from("/");
        }
        for name in names(&to).rev() {
            left.push_front(name);
        }
    }
    Ok(None)
}

/// The components of a path, from the root.
fn names(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(name)
}

/// Whether users other than root and the agent's user can write or replace a file. In a directory with the sticky bit
/// they cannot replace files of others, whatever its access control list; the mode of a link has no effect. The group
/// bits count for any group: with an access control list they are its mask, the maximum that any named user has
/// (acl(5)).
fn by_others(found: &Metadata) -> bool {
    let (owner, mode) = (found.uid(), found.mode());
    if owner != 0 && owner != geteuid().as_raw() {
        return true;
    }
    let kept = found.is_symlink() || (found.is_dir() && mode & 0o1000 != 0);
    !kept && mode & 0o022 != 0
}
