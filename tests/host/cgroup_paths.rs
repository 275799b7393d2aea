//! What the paths of control groups say: the container, the unit, and which of a process's control groups says most.

use super::{A, every_beginning};
use connscope::host::cgroup::{container, membership, of_process, unit};

const B: &str = "9ec39b91f3d70e1beff50a308f77067065ea6be0d91a3378375056cd4422cf3d";

#[test]
fn containers_are_found_in_the_paths_of_every_engine() {
    let cases = [
        // Docker with cgroupfs and with systemd, and with a parent of its own.
        (format!("/docker/{A}"), Some(A)),
        (format!("/docker-ce/docker/{A}"), Some(A)),
        (format!("/system.slice/docker-{A}.scope"), Some(A)),
        (format!("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{A}.scope"), Some(A)),
        (format!("/{A}"), Some(A)),
        ("/system.slice/docker.service".to_owned(), None),
        ("/docker/buildkit/lm9dsg5rpg8v0l6g9dcrp1jdm".to_owned(), None),
        // Kubernetes: cgroupfs; systemd with containerd, CRI-O and Docker; one driver here and the other there.
        (format!("/kubepods/besteffort/pod74c13223-5a00-11e9-b385-42010a80018d/{A}"), Some(A)),
        (format!("/kubepods/burstable/pod1f4a3a5e9d1d6c6e9d8c3f9a7f0d3b11/{A}"), Some(A)),
        (
            format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod57e67067_89e4_4001_bdd4_8632d39ea02b.slice/cri-containerd-{A}.scope"
            ),
            Some(A),
        ),
        (
            format!(
                "/kubepods.slice/kubepods-pod2c48913c_b29f_11e7_9350_020968147796.slice/crio-{A}.scope/container"
            ),
            Some(A),
        ),
        (format!("/kubepods.slice/kubepods-pod2c48913c.slice/crio-conmon-{A}.scope"), None),
        (format!("/kubepods/burstable/pod2c48913c-b29f-11e7-9350-020968147796/crio-{A}"), Some(A)),
        (
            format!(
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod2c.slice/docker-{A}.scope"
            ),
            Some(A),
        ),
        (
            format!(
                "/system.slice/containerd.service/kubepods-besteffort-pod214f3ba8_4b69_4bdb_a7d5_5ecc73f04ae9.slice:cri-containerd:{A}"
            ),
            Some(A),
        ),
        (format!("/../../pod2c48913c-b29f-11e7-9350-020968147796/{A}"), Some(A)),
        ("/kubepods.slice/kubepods-burstable.slice".to_owned(), None),
        ("/system.slice/kubelet.service".to_owned(), None),
        // containerd by itself: a name can be anything, so only an id is one.
        (format!("/system.slice/nerdctl-{A}.scope"), Some(A)),
        (format!("/default/{A}"), Some(A)),
        ("/default/redis".to_owned(), None),
        // podman, as root, without, split (quadlet), cgroupfs; and its monitor.
        (format!("/machine.slice/libpod-{A}.scope/container"), Some(A)),
        (
            format!("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{A}.scope/init.scope"),
            Some(A),
        ),
        (format!("/system.slice/nginx.service/libpod-payload-{A}"), Some(A)),
        ("/system.slice/nginx.service/runtime".to_owned(), None),
        (format!("/libpod_parent/libpod-{A}"), Some(A)),
        (format!("/machine.slice/libpod-conmon-{A}.scope"), None),
        (format!("/libpod_parent/libpod-{A}/conmon"), Some(A)),
        // ECS, Fargate, Cloud Foundry.
        (format!("/ecs/55091c13-b8cf-4801-b527-f4601742204d/{A}"), Some(A)),
        (
            format!("/ecstasks.slice/ecstasks-447438d4540d4f32b2d7e4e4d2b54c0e.slice/docker-{A}.scope"),
            Some(A),
        ),
        (
            "/ecs/447438d4540d4f32b2d7e4e4d2b54c0e/447438d4540d4f32b2d7e4e4d2b54c0e-2531612879".to_owned(),
            Some("447438d4540d4f32b2d7e4e4d2b54c0e-2531612879"),
        ),
        (
            "/system.slice/garden.service/garden/6f265890-5165-7fab-6b52-18d1".to_owned(),
            Some("6f265890-5165-7fab-6b52-18d1"),
        ),
        // LXC and Incus, old and new, and their monitors; systemd-nspawn; a virtual machine, which is none.
        ("/lxc/web".to_owned(), Some("web")),
        ("/lxc/101/ns/system.slice/sshd.service".to_owned(), Some("101")),
        ("/lxc.payload/web/init.scope".to_owned(), Some("web")),
        ("/lxc.payload.web-1/system.slice/sshd.service".to_owned(), Some("web-1")),
        ("/lxc.monitor.web-1".to_owned(), None),
        ("/lxc.monitor/web".to_owned(), None),
        ("/lxc".to_owned(), None),
        ("/lxc.payload.".to_owned(), None),
        ("/machine.slice/machine-web.scope/payload".to_owned(), Some("web")),
        ("/machine.slice/systemd-nspawn@web.service/payload/init.scope".to_owned(), Some("web")),
        (r"/machine.slice/machine-qemu\x2d1\x2dvm.scope".to_owned(), None),
        // Neither.
        ("/".to_owned(), None),
        (String::new(), None),
        ("/user.slice/user-1000.slice/session-3.scope".to_owned(), None),
        ("/process_api/b3892ddedfb9aa8801985c1e4d392934".to_owned(), None),
        (format!("/docker/{}", A.to_uppercase()), None),
        (format!("/docker/{A}0"), None),
        // A container in a container: the innermost, as long as it is one.
        (format!("/docker/{A}/docker/{B}"), Some(B)),
        (
            format!(
                "/system.slice/docker-{A}.scope/kubelet/kubepods/burstable/pod2c48913c/cri-containerd-{B}.scope"
            ),
            Some(B),
        ),
        (format!("/lxc.payload.web/system.slice/docker-{B}.scope"), Some(B)),
        (format!("/docker/{A}/machine.slice/libpod-conmon-{B}.scope"), Some(A)),
        (format!("/docker/{A}/system.slice/sshd.service"), Some(A)),
    ];
    for (path, expected) in &cases {
        assert_eq!(container(path), *expected, "{path}");
    }
}

#[test]
fn units_are_those_of_the_host() {
    let cases = [
        ("/system.slice/sshd.service", Some("sshd.service")),
        ("/system.slice/system-getty.slice/getty@tty1.service", Some("getty@tty1.service")),
        ("/init.scope", Some("init.scope")),
        ("/user.slice/user-1000.slice/session-3.scope", Some("session-3.scope")),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/app-x.service", Some("user@1000.service")),
        ("/system.slice/docker-9bca.scope/init.scope", Some("docker-9bca.scope")),
        ("/system.slice/boot.mount", Some("boot.mount")),
        ("/system.slice/_memory.service", Some("memory.service")),
        ("/../../system.slice/sshd.service", Some("sshd.service")),
        ("/docker/9bca/system.slice/sshd.service", None),
        ("/system.slice", None),
        ("/system.slice/.service", None),
        ("/kubepods/burstable/pod1", None),
        ("/", None),
        ("", None),
    ];
    for (path, expected) in cases {
        assert_eq!(unit(path), expected, "{path}");
    }
}

#[test]
fn of_a_processes_cgroups_the_one_that_says_most_is_taken() {
    let docker = format!("/docker/{A}");
    let colons = format!("/kubepods-pod2c.slice:cri-containerd:{A}");
    let cases = [
        // cgroup v2.
        ("0::/system.slice/sshd.service\n".to_owned(), Some("/system.slice/sshd.service")),
        ("0::/\n".to_owned(), None),
        ("0::/user.slice/user-0.slice/session-1.scope (deleted)\n".to_owned(), Some("/user.slice/user-0.slice/session-1.scope")),
        // Docker on a host with both; v2 has the service that started it.
        (format!("12:pids:{docker}\n11:cpu,cpuacct:{docker}\n4:memory:{docker}\n1:name=systemd:{docker}\n0::/system.slice/containerd.service\n"), Some(docker.as_str())),
        // A container that is in some hierarchies only.
        (format!("11:cpuset:/\n10:memory:/system.slice\n9:devices:{docker}\n0::/\n"), Some(docker.as_str())),
        // systemd 237 with cgroup v1: the slice in some, the session in others.
        (
            "11:pids:/user.slice/user-1000.slice/session-1.scope\n9:memory:/user.slice\n8:cpu,cpuacct:/user.slice\n1:name=systemd:/user.slice/user-1000.slice/session-1.scope\n0::/user.slice/user-1000.slice/session-1.scope\n".to_owned(),
            Some("/user.slice/user-1000.slice/session-1.scope"),
        ),
        ("9:name=systemd:/a\n8:pids:/b\n3:cpuset:/c\n2:cpuacct,cpu:/d\n1:memory:/e\n0::/f\n".to_owned(), Some("/e")),
        ("9:name=systemd:/a\n8:pids:/b\n3:cpuset:/c\n2:cpuacct,cpu:/d\n0::/f\n".to_owned(), Some("/d")),
        ("3:cpuset:/c\n0::/f\n".to_owned(), Some("/c")),
        // Linux 6.18, hybrid, as recorded.
        (
            "9:name=systemd:/\n8:pids:/\n7:blkio:/\n6:freezer:/\n5:devices:/\n4:memory:/process_api/b3892ddedfb9aa8801985c1e4d392934\n3:cpuset:/\n2:cpuacct:/\n1:cpu:/\n0::/\n".to_owned(),
            Some("/process_api/b3892ddedfb9aa8801985c1e4d392934"),
        ),
        // Colons in the path are the path's.
        (format!("1:memory:{colons}\n"), Some(colons.as_str())),
        (String::new(), None),
    ];
    for (text, expected) in &cases {
        assert_eq!(membership(text), *expected, "{text}");
        every_beginning(text, |text| assert!(membership(text).is_none_or(|path| path != "/")));
    }
}

#[test]
fn a_processes_cgroup_is_one_of_those_the_kernel_says_it_is_in() {
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap();
    match of_process(std::process::id()) {
        Some(path) => assert!(text.lines().any(|line| line.ends_with(&format!(":{path}"))), "{path}: {text}"),
        None => assert!(text.lines().all(|line| line.ends_with(":/")), "{text}"),
    }
    assert_eq!(of_process(u32::MAX), None);
}
