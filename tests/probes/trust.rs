//! Files of targets that others may write, that are larger than they look, and that name what is no file.

use super::files::told;
use super::{read, settings, value};
use crate::support::{Namespace, eventually};
use connscope::source::probes::Probes;
use connscope::source::probes::discovery::{file_sd, trust};
use connscope::stop::Stop;
use connscope::sys::namespace;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Gives a user these rights (4 reads, 2 writes, 1 searches a directory) by the access control list of a file (`struct posix_acl_xattr_header` and `_entry` of
/// `include/uapi/linux/posix_acl_xattr.h`): its owner and that user may, the group and others may not.
fn name_in_acl(path: &Path, user: u32, rights: u16) -> rustix::io::Result<()> {
    let (owner, named, group, mask, other): (u16, u16, u16, u16, u16) = (0x01, 0x02, 0x04, 0x10, 0x20);
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in [
        (owner, rights, u32::MAX),
        (named, rights, user),
        (group, 0, u32::MAX),
        (mask, rights, u32::MAX),
        (other, 0, u32::MAX),
    ] {
        list.extend(tag.to_le_bytes());
        list.extend(rights.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    rustix::fs::setxattr(path, "system.posix_acl_access", &list, rustix::fs::XattrFlags::empty())
}

#[test]
fn who_may_write_a_file_is_whoever_may_write_a_part_of_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let (inner, file, link) = (root.join("a"), root.join("a/list.json"), root.join("link"));
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(&file, "[]").unwrap();
    symlink("a/../a", &link).unwrap();
    let by = |path: &Path| trust::writable_by_others(path).unwrap();
    if by(&root).is_some() {
        crate::support::skipped("the directory for temporary files is somebody else's: run it as root");
        return;
    }
    mode(&inner, 0o755);
    mode(&file, 0o600);
    assert_eq!(by(&file), None, "its own, in its own");
    assert_eq!(by(&link.join("list.json")), None, "through a link");
    for (part, bits) in [(&file, 0o602), (&inner, 0o757)] {
        let before = std::fs::metadata(part).unwrap().permissions();
        mode(part, bits);
        assert_eq!(by(&file).as_ref(), Some(part), "{bits:o}");
        assert_eq!(by(&link.join("list.json")).as_ref(), Some(part), "{bits:o}, through a link");
        std::fs::set_permissions(part, before).unwrap();
    }
    symlink("loop", root.join("loop")).unwrap();
    assert!(trust::writable_by_others(&root.join("loop")).is_err());
    assert!(trust::writable_by_others(&root.join("nothing")).is_err());
    // Where nobody may touch what is not theirs, only the file itself counts.
    mode(&inner, 0o1777);
    assert_eq!(by(&file), None);
    if chown(&file, Some(65534), None).is_ok() {
        assert_eq!(by(&file).as_ref(), Some(&file), "somebody else's");
        for group in [65534, 0] {
            chown(&file, Some(0), Some(group)).unwrap();
            mode(&file, 0o660);
            assert_eq!(by(&file).as_ref(), Some(&file), "that of group {group}");
        }
    }
    mode(&file, 0o600);
    assert_eq!(by(&file), None);
    if let Err(error) = name_in_acl(&file, 65534, 6) {
        crate::support::skipped(&format!("no access control list can be set here: {error}"));
        return;
    }
    assert_eq!(by(&file).as_ref(), Some(&file), "that of a user named in its access control list");
    mode(&file, 0o600);
    assert_eq!(by(&file), None, "the mask of the list lets nobody write");
    mode(&inner, 0o755);
    assert_eq!(by(&file), None);
    name_in_acl(&inner, 65534, 7).unwrap();
    assert_eq!(by(&file).as_ref(), Some(&inner), "a user named in the list of the directory may replace it");
    // With the sticky bit that user may make files there, and neither remove nor rename those of others.
    mode(&inner, 0o1775);
    assert_eq!(by(&file), None, "whatever the list says");
    let theirs = inner.join("theirs.json");
    std::fs::write(&theirs, "[]").unwrap();
    chown(&theirs, Some(65534), None).unwrap();
    assert_eq!(by(&theirs).as_ref(), Some(&theirs), "what that user made there");
    let replaces = |from: &Path| {
        let mut rename = Command::new("setpriv");
        rename.args(["--reuid=65534", "--clear-groups", "--", "mv", "-f"]).arg(from).arg(&file);
        rename.output().unwrap().status.success()
    };
    mode(&root, 0o755);
    assert!(!replaces(&theirs), "the kernel refuses it as well");
    mode(&inner, 0o775);
    name_in_acl(&inner, 65534, 7).unwrap();
    assert!(replaces(&theirs), "the user that the list names may replace it without the sticky bit");
}

#[test]
fn a_file_that_others_may_write_takes_no_privilege_of_the_agent() {
    let Some(namespace) = Namespace::new() else { return };
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("targets");
    std::fs::create_dir(&place).unwrap();
    mode(&place, 0o757);
    let file = place.join("a.yaml");
    let certificate = "kind: tls, host: 127.0.0.1, port: 1, tls: {cert_file: /c.pem, key_file: /k.pem}";
    for (target, why) in [
        ("kind: unix, path: /run/docker.sock", "sockets of this machine"),
        ("kind: unixgram, path: '@x'", "sockets of this machine"),
        ("host: 127.0.0.1, port: 1, netns: other", "another network namespace"),
        (certificate, "client certificate"),
    ] {
        std::fs::write(&file, format!("- {{name: x, {target}}}\n")).unwrap();
        for trusted in [false, true] {
            let text = format!("trust_files: {trusted}\nfiles: ['{}/*.yaml']\n", place.display());
            let stop = Stop::new().unwrap();
            let mut source = namespace.inside(|| Probes::start(&settings(&text), &stop)).unwrap();
            let mut failures = Vec::new();
            let mut targets = None;
            eventually("the file is read", || {
                let (readings, failed) = told(&mut source);
                failures = failed;
                let count = readings.iter().find(|one| one.metric.name == "connscope.probes.targets");
                targets = count.map(|one| one.value.clone());
                !failures.is_empty() || targets == Some(connscope::metric::Value::I64(1))
            });
            let refused =
                failures.iter().any(|failed| failed.contains(why) && failed.contains("trust_files"));
            assert_eq!(refused, !trusted, "{target}: {failures:?}, {targets:?}");
        }
    }
    // What takes no privilege is anybody's.
    std::fs::write(&file, "- {name: x, host: 127.0.0.1, port: 1}\n").unwrap();
    let text = format!("files: ['{}/*.yaml']\n", place.display());
    let stop = Stop::new().unwrap();
    let mut source = namespace.inside(|| Probes::start(&settings(&text), &stop)).unwrap();
    eventually("it is probed", || value(&read(&mut source), "probe.up", "x", &[]) == Some(0.0));
}

#[test]
fn labels_of_a_group_are_shared_and_what_is_over_the_limit_is_counted_only() {
    let ports: Vec<String> = (1..=50_000).map(|port| format!("'a:{port}'")).collect();
    let label = "y".repeat(100_000);
    let text = format!("- targets: [{}]\n  labels: {{x: {label}}}\n", ports.join(","));
    let listed = file_sd::read(&text, false, 1000).unwrap();
    assert_eq!((listed.targets.len(), listed.beyond), (1000, 49_000));
    let first = &listed.targets[0].labels;
    assert!(listed.targets.iter().all(|target| Arc::ptr_eq(&target.labels, first)), "one for all of them");
    let value = &first["x"];
    assert_eq!(value.len(), 256, "as long as a series shows it: {value}");
    assert!(value.contains('…'), "cut visibly: {value}");
    // What is over the limit is not looked at either; a list of our own, too.
    let text = "- {name: a, host: a, port: 1}\n".repeat(5) + "- {host: b}\n- targets: [nonsense]\n";
    let listed = file_sd::read(&text, false, 5).unwrap();
    assert_eq!((listed.targets.len(), listed.beyond), (5, 2));
    assert!(file_sd::read(&text, false, 6).is_err());
}

#[test]
fn labels_of_all_files_have_a_most() {
    let Some(namespace) = Namespace::new() else { return };
    let dir = tempfile::tempdir().unwrap();
    let ports: Vec<String> = (1..=10).map(|port| format!("'127.0.0.1:{port}'")).collect();
    let labels = (0..12).map(|n| format!("l{n}: {}", "v".repeat(100))).collect::<Vec<_>>().join(", ");
    let write = |name: &str, labels: &str| {
        let text = format!("- targets: [{}]\n  labels: {{name: {name}, {labels}}}\n", ports.join(", "));
        std::fs::write(dir.path().join(name), text).unwrap();
    };
    write("a.yaml", &labels);
    // Ten targets take 12,260 bytes; 40 times 512 are there.
    let text = format!("limit: 40\nrefresh: 1s\nfiles: ['{}/*.yaml']\n", dir.path().display());
    let stop = Stop::new().unwrap();
    let mut source = namespace.inside(|| Probes::start(&settings(&text), &stop)).unwrap();
    let mut now = || {
        let (readings, failed) = told(&mut source);
        let count = readings.iter().find(|one| one.metric.name == "connscope.probes.targets");
        (count.map(|one| one.value.clone()), failed)
    };
    let targets = |count| Some(connscope::metric::Value::I64(count));
    eventually("the first file is read", || now() == (targets(10), Vec::new()));
    write("b.yaml", &labels);
    eventually("the second is refused", || {
        let (count, failed) = now();
        count == targets(10)
            && failed.iter().any(|why| why.contains("12260 bytes in total, and only 8220 are left"))
    });
    write("a.yaml", "");
    eventually("there is room for it again", || now() == (targets(20), Vec::new()));
}

#[test]
fn a_file_is_no_larger_than_it_looks() {
    let most = 10_000;
    let many = (0..60).map(|n| format!("l{n}: {}", "v".repeat(100))).collect::<Vec<_>>().join(", ");
    let error =
        file_sd::read(&format!("- targets: ['a:1']\n  labels: {{{many}}}\n"), false, most).unwrap_err();
    assert!(error.contains("at most 4096 are allowed"), "{error}");
    let body = "b".repeat(100_000);
    let first = format!("- {{name: a, kind: http, url: 'http://a/', http: &h {{body: {body}}}}}\n");
    let text = first + &"- {name: a, kind: http, url: 'http://a/', http: *h}\n".repeat(200);
    let error = file_sd::read(&text, false, most).unwrap_err();
    assert!(error.contains("aliases followed"), "{error:.200}");
    let billion: String =
        ('a'..='h').zip('b'..='i').fold("- &a [x,x,x,x,x,x,x,x,x]\n".to_owned(), |all, (one, next)| {
            all + &format!("- &{next} [{}]\n", vec![format!("*{one}"); 9].join(","))
        });
    assert!(file_sd::read(&billion, false, most).unwrap_err().contains("aliases followed"));
    for (deep, json) in
        [("[".repeat(100_000), true), ("[".repeat(100_000), false), ("- ".repeat(100_000), false)]
    {
        assert!(file_sd::read(&deep, json, most).is_err());
    }
    // Whatever is wrong, what is said of it is short.
    let long = "k".repeat(1 << 20);
    for text in [
        format!("- {long}: 1\n"),
        format!("- {{targets: ['{long}']}}\n"),
        format!("- {{targets: ['a:1'], labels: {{__kind__: '{long}'}}}}\n"),
        format!("- {{targets: ['a:1'], labels: {{? '{long}-' : x}}}}\n"),
        format!("- {{name: a, kind: '{long}'}}\n"),
        format!("- {{name: a, interval: '{long}'}}\n"),
    ] {
        let error = file_sd::read(&text, false, most).unwrap_err();
        assert!(error.len() < 6000, "{} bytes: {error:.300}", error.len());
    }
}

#[test]
fn a_network_namespace_is_no_other_file() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // Opening it for good would wait for ever.
    for path in [fifo.as_path(), Path::new("/dev/zero"), dir.path(), Path::new("/proc/self/status")] {
        let error = namespace::open(path).unwrap_err();
        assert!(error.to_string().contains("not a network namespace"), "{}: {error}", path.display());
    }
    assert!(namespace::open(Path::new("/proc/self/ns/net")).is_ok());
}
