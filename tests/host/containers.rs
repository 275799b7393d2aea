//! What a network namespace's container or pod is called, by the files of the engines.

use connscope::host::cgroup::pod;
use connscope::host::netns::ContainerNames;
use std::path::Path;

const ID: &str = "c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00c0ffee00";
const OTHER: &str = "decaf000decaf000decaf000decaf000decaf000decaf000decaf000decaf000";
const UID: &str = "0f5e7d3c-1a2b-4c3d-8e9f-0123456789ab";

fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn the_uid_of_a_pod_is_in_the_path_of_its_control_groups() {
    let slice = format!(
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice",
        UID.replace('-', "_")
    );
    for path in [
        format!("/kubepods/burstable/pod{UID}/{ID}"),
        format!("/kubepods/pod{UID}/{ID}"),
        format!("{slice}/cri-containerd-{ID}.scope"),
        format!("/kubelet.slice{slice}:cri-containerd:{ID}"),
        slice,
    ] {
        assert_eq!(pod(&path).as_deref(), Some(UID), "{path}");
    }
    // A static pod has a hash.
    let hash = UID.replace('-', "");
    assert_eq!(pod(&format!("/kubepods/pod{hash}/{ID}")).as_deref(), Some(hash.as_str()));
    for path in
        ["/", "/system.slice/sshd.service", "/user.slice/podman-123.scope", "/kubepods/podx", "/podium/x"]
    {
        assert_eq!(pod(path), None, "{path}");
    }
}

#[test]
fn a_container_is_called_what_its_engine_calls_it() {
    let root = tempfile::tempdir().unwrap();
    let docker = format!("/system.slice/docker-{ID}.scope");
    write(
        root.path(),
        &format!("var/lib/docker/containers/{ID}/config.v2.json"),
        r#"{"ID":"x","Name":"/web-1"}"#,
    );
    let mut names = ContainerNames::below(root.path());
    assert_eq!(names.of_cgroup(&docker).as_deref(), Some("web-1"));
    // It is looked for once.
    std::fs::remove_dir_all(root.path().join("var")).unwrap();
    assert_eq!(names.of_cgroup(&docker).as_deref(), Some("web-1"));
    let mut names = ContainerNames::below(root.path());
    assert_eq!(names.of_cgroup(&docker), None, "nobody knows it");
    let list = format!(r#"[{{"id":"{OTHER}","names":["db"]}},{{"id":"{ID}","names":["k8s_POD_x"]}}]"#);
    write(root.path(), "var/lib/containers/storage/overlay-containers/containers.json", &list);
    let mut names = ContainerNames::below(root.path());
    assert_eq!(names.of_cgroup(&format!("/machine.slice/libpod-{OTHER}.scope")).as_deref(), Some("db"));
    assert_eq!(
        names.of_cgroup(&format!("/machine.slice/crio-{ID}.scope")),
        None,
        "no name that anybody uses"
    );
    let bundle = format!("run/containerd/io.containerd.runtime.v2.task/default/{ID}/config.json");
    write(root.path(), &bundle, r#"{"annotations":{"nerdctl/name":"cache"}}"#);
    let mut names = ContainerNames::below(root.path());
    assert_eq!(names.of_cgroup(&format!("/system.slice/nerdctl-{ID}.scope")).as_deref(), Some("cache"));
    assert_eq!(names.of_cgroup("/lxc.payload.mail/init.scope").as_deref(), Some("mail"));
    assert_eq!(names.of_cgroup("/machine.slice/machine-build\\x2dhost.scope").as_deref(), Some("build-host"));
    assert_eq!(names.of_cgroup("/system.slice/sshd.service"), None);
}

#[test]
fn a_container_of_a_pod_has_the_name_of_the_pod() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join(format!("var/log/pods/shop_web-7d9f_{UID}"))).unwrap();
    std::fs::create_dir_all(root.path().join("var/log/pods/shop_other_1")).unwrap();
    let path = format!("/kubepods/burstable/pod{UID}/{ID}");
    assert_eq!(ContainerNames::below(root.path()).of_cgroup(&path).as_deref(), Some("shop/web-7d9f"));
    // Without the directory, by the annotations of either runtime.
    for (file, annotations) in [
        (
            format!("run/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/config.json"),
            r#"{"annotations":{"io.kubernetes.cri.sandbox-namespace":"shop","io.kubernetes.cri.sandbox-name":"db-0"}}"#,
        ),
        (
            format!("run/containers/storage/overlay-containers/{ID}/userdata/config.json"),
            r#"{"annotations":{"io.kubernetes.pod.namespace":"shop","io.kubernetes.pod.name":"db-0"}}"#,
        ),
    ] {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &file, annotations);
        assert_eq!(
            ContainerNames::below(root.path()).of_cgroup(&path).as_deref(),
            Some("shop/db-0"),
            "{file}"
        );
    }
}

#[test]
fn files_that_make_no_sense_give_no_name() {
    for text in ["", "null", "[]", r#"{"Name":7}"#, r#"{"Name":"/"}"#, "\u{0}"] {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &format!("var/lib/docker/containers/{ID}/config.v2.json"), text);
        write(root.path(), "var/lib/containers/storage/overlay-containers/containers.json", text);
        let path = format!("/docker/{ID}");
        assert_eq!(ContainerNames::below(root.path()).of_cgroup(&path), None, "{text}");
    }
}
