//! Which network namespaces are found, and which are left out.

use crate::support::agent::behind;
use crate::support::{Namespace, command, connscope, skipped};
use connscope::host::netns::{Finder, FoundNamespaces, is_gone, is_pattern, namespace_limit};
use connscope::metric::label::Reason;
use connscope::reading::{SourceError, chain};
use connscope::sys::namespace;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

fn find(entries: &[&str]) -> FoundNamespaces {
    let entries: Vec<String> = entries.iter().map(ToString::to_string).collect();
    Finder::new(&entries).find()
}

fn labels(found: &FoundNamespaces) -> Vec<&str> {
    found.namespaces.iter().map(|namespace| &*namespace.label).collect()
}

fn own() -> String {
    format!("net:[{}]", namespace::file_identity(Path::new("/proc/thread-self/ns/net")).unwrap().1)
}

#[test]
fn with_all_the_own_comes_first_and_what_is_named_besides_is_read_too() {
    // No process is in it, and nothing but this path leads to it.
    let Some(besides) = Namespace::new() else { return };
    let path = besides.path();
    let found = find(&["all", &path, "/nowhere/ns"]);
    assert_eq!(labels(&found)[..2], [own(), path], "{found:?}");
    assert_eq!(found.missing.len(), 1);
    assert_eq!(found.missing[0].1.reason(), Reason::Absent);
    assert_eq!(found.left_out, 0);
}

#[test]
fn a_pattern_names_those_whose_files_match() {
    let Some(first) = Namespace::new() else { return };
    let second = Namespace::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    symlink(second.path(), path("cni-b")).unwrap();
    symlink(first.path(), path("cni-a")).unwrap();
    symlink(first.path(), path("other")).unwrap();
    // `ip netns del` leaves a file behind for a moment.
    std::fs::write(path("cni-c"), "").unwrap();
    let found = find(&[&path("cni-*")]);
    assert_eq!(labels(&found), [path("cni-a"), path("cni-b")]);
    assert!(found.missing.is_empty() && found.unmatched.is_empty(), "{found:?}");
    assert_eq!(
        labels(&find(&[&path("cni-[b-d]"), &path("cni-?")])),
        [path("cni-b"), path("cni-a")],
        "each once"
    );
    let found = find(&[&path("none-*")]);
    assert_eq!((labels(&found).len(), found.unmatched), (0, vec![path("none-*")]));
    assert!(is_pattern("cni-*") && !is_pattern("blue"));
    assert_eq!(namespace_limit(&["blue".to_owned()]), 1);
    assert_eq!(namespace_limit(&["cni-*".to_owned()]), 512);
}

#[test]
fn of_more_than_can_be_read_the_own_is_not_left_out() {
    let Some(_may) = Namespace::new() else { return };
    connscope::sys::process::raise_descriptors().unwrap();
    let files: Vec<_> = (0..520).map(|_| Namespace::bare().unwrap()).collect();
    let folder = tempfile::tempdir().unwrap();
    for (number, file) in files.iter().enumerate() {
        let target = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        symlink(target, folder.path().join(format!("n{number:03}"))).unwrap();
    }
    let pattern = folder.path().join("*").display().to_string();
    let found = find(&[&pattern, "all"]);
    assert_eq!(labels(&found)[0], own());
    assert_eq!(labels(&found)[1], folder.path().join("n000").display().to_string());
    assert_eq!(found.namespaces.len(), 512);
    assert!(found.left_out >= 9, "{}", found.left_out);
}

/// Of processes with more capabilities than one's own, the kernel does not tell the namespace.
#[test]
fn what_may_not_be_looked_at_is_said_and_the_own_is_read() {
    let Some(_may) = Namespace::new() else { return };
    let found = std::thread::spawn(|| {
        let none = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
            .unwrap();
        find(&["all"])
    });
    let found = found.join().unwrap();
    let Some(error) = &found.incomplete else {
        return skipped("every process may be looked at here without a capability");
    };
    assert_eq!((error.reason(), error.capability()), (Reason::Denied, Some("CAP_SYS_PTRACE")));
    assert!(chain(error).contains("processes cannot be seen"), "{}", chain(error));
    assert_eq!(labels(&found)[0], own());
    assert_eq!(
        find(&["all"]).incomplete.map(|error| chain(&error)),
        None,
        "with every capability there is no more"
    );
}

#[test]
fn check_lists_all_that_are_missing_and_says_denied_where_a_capability_helps() {
    let Some(other) = Namespace::new() else { return };
    let check = |entries: &[&str], works: bool| {
        let entries: Vec<String> = entries.iter().map(ToString::to_string).collect();
        let read = || if works { Ok(()) } else { Err(SourceError::absent("reading", "no module")) };
        connscope::source::netns::check(&entries, read)
    };
    let (own, path) = ("/proc/self/ns/net", other.path());
    let missing = "cannot be looked up: /nowhere/a, /nowhere/b";
    let error = check(&["/nowhere/a", &path, "/nowhere/b"], true).unwrap_err();
    assert_eq!(error.reason(), Reason::Absent);
    assert!(chain(&error).contains(&format!("(1 network namespace; {missing})")), "{}", chain(&error));
    let denied = std::thread::scope(|scope| {
        let without = || {
            let none = CapabilitySet::empty();
            set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
                .unwrap();
            check(&["/nowhere/a", own, &path, "/nowhere/b"], false).unwrap_err()
        };
        scope.spawn(without).join().unwrap()
    });
    assert_eq!((denied.reason(), denied.capability()), (Reason::Denied, Some("CAP_SYS_ADMIN")), "{denied}");
    assert!(chain(&denied).contains("2 of 2 failed"), "{}", chain(&denied));
    assert!(chain(&denied).contains(missing), "{}", chain(&denied));
    assert_eq!(check(&[&path], true).unwrap(), "1 network namespace");
}

#[test]
fn a_path_that_leads_nowhere_or_elsewhere_is_of_one_that_is_gone_and_a_path_that_is_denied_is_not() {
    let (Some(one), Some(other)) = (Namespace::new(), Namespace::new()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("ns");
    symlink(one.path(), &link).unwrap();
    let file = namespace::file_identity(Path::new(&one.path())).unwrap();
    assert!(!is_gone(&link, file));
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o000)).unwrap();
    let (denied, cause) = std::thread::scope(|scope| {
        let without = || {
            let none = CapabilitySet::empty();
            set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
                .unwrap();
            (is_gone(&link, file), namespace::file_identity(&link).unwrap_err())
        };
        scope.spawn(without).join().unwrap()
    });
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    assert!(!denied && cause.kind() == ErrorKind::PermissionDenied, "{cause}");
    std::fs::remove_file(&link).unwrap();
    assert!(is_gone(&link, file) && is_gone(&link.join("below"), file));
    symlink(other.path(), &link).unwrap();
    assert!(is_gone(&link, file));
    // `ip netns del` leaves a file behind for a moment.
    std::fs::remove_file(&link).unwrap();
    std::fs::write(&link, "").unwrap();
    assert!(is_gone(&link, file) && is_gone(&link.join("below"), file));
}

/// Docker Swarm keeps its namespaces in `/run/docker/netns`, without a process.
#[test]
fn all_are_found_by_their_mounts_too() {
    let Some(_may) = Namespace::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mount = folder.path().join("ingress sbox");
    std::fs::write(&mount, "").unwrap();
    let config = folder.path().join("connscope.yaml");
    let yaml = "sources: {conntrack: {enabled: false}, sockets: {netns: all, close_events: false}}\n";
    std::fs::write(&config, yaml).unwrap();
    let once = command(&["once", "--format", "prometheus", "--config", config.to_str().unwrap()]);
    let script = "unshare -n mount --bind /proc/self/ns/net \"$0\" && exec \"$@\"";
    let starter = ["unshare", "-m", "sh", "-c", script, mount.to_str().unwrap()];
    let output = behind(&starter, &once).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let series = format!("connscope_netns_up{{netns=\"{}\",source=\"sockets\"}} 1", mount.display());
    assert!(text.contains(&series), "{series}: {text}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn where_no_process_is_seen_proc_is_blamed() {
    let Some(_may) = Namespace::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("connscope.yaml");
    std::fs::write(&config, "sources: {conntrack: {enabled: false}, sockets: {netns: all}}\n").unwrap();
    let check = command(&["check", "--config", config.to_str().unwrap()]);
    let script = "mount -t tmpfs none /proc && exec \"$0\" \"$@\"";
    let output = behind(&["unshare", "-m", "sh", "-c", script], &check).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let line = |via: &str| text.lines().find(|line| line.contains(via)).unwrap_or_default().to_owned();
    for via in [" process ", " netns "] {
        assert!(line(via).contains("/proc shows no processes"), "{text}");
    }
    assert!(!text.contains("all 0 processes"), "{text}");
    assert!(!output.status.success());
}

#[test]
fn a_pattern_that_cannot_be_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("connscope.yaml");
    for (netns, says) in [("'/**'", "is not a pattern"), ("'cni-[a'", "is not a pattern")] {
        std::fs::write(&config, format!("sources: {{sockets: {{netns: [{netns}]}}}}\n")).unwrap();
        let output = connscope(&["check", "--config", config.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2), "{netns}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(says), "{output:?}");
    }
}

#[test]
fn check_says_what_a_pid_namespace_hides_and_asks_for_no_capability_that_is_there() {
    let Some(_may) = Namespace::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("connscope.yaml");
    std::fs::write(&config, "sources: {conntrack: {enabled: false}, sockets: {netns: all}}\n").unwrap();
    let check = |arguments: &[&str]| {
        let check = command(&["check", "--config", config.to_str().unwrap()]);
        let output = behind(&[&["unshare"], arguments].concat(), &check).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let text = check(&["-pf", "--mount-proc"]);
    assert!(text.contains("; those of processes outside the agent's PID namespace"), "{text}");
    assert!(text.contains("buffer has 16384 KiB"), "{text}");
    // In a user namespace the capability is held, and the limit of the machine holds all the same.
    let text = check(&["-Urn"]);
    let line = text.lines().find(|line| line.contains(" destroy ")).unwrap();
    assert!(!line.contains("CAP_NET_ADMIN"), "{line}");
}

/// A process of a container may be in another network namespace than its container.
#[test]
fn a_namespace_is_not_called_by_a_process_in_no_container() {
    let Some(namespace) = Namespace::new() else { return };
    let mut sleeper = namespace.inside(|| std::process::Command::new("sleep").arg("100").spawn().unwrap());
    let label = format!("net:[{}]", namespace.inode());
    let found = find(&["all"]);
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    assert!(labels(&found).contains(&label.as_str()), "{found:?}");
}
