//! Whose a socket is: processes and cgroups, on the running kernel; and what paths of cgroups say.

use crate::support::{Namespace, eventually, skipped};
use connscope::host::cgroup::{Cgroups, Limits, Mount, container, membership, mounts, of_process, unit};
use connscope::host::process::{Ask, Outcome, Processes, check, socket_inode, start_time};
use connscope::source::Reason;
use connscope::sys::netlink::NetlinkSocket;
use rustix::process::Gid;
use rustix::thread::{
    CapabilitySet, UnshareFlags, capabilities, set_capabilities, set_thread_groups, set_thread_res_gid,
};
use std::collections::BTreeSet;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const A: &str = "4f797c539e6c745de61a93ca3ff892358ecbcaccd8414d5db545c38428142970";
const B: &str = "9ec39b91f3d70e1beff50a308f77067065ea6be0d91a3378375056cd4422cf3d";

const ONE: Ask = Ask { budget: Duration::from_mins(1), all_holders: false, command: false };
const ALL: Ask = Ask { all_holders: true, ..ONE };

/// More calls than there are processes, one a call, and descriptors, 64 a call, on any machine that runs the tests.
const MOST_CALLS: usize = 20_000;

/// A process that holds a socket as its standard input and does nothing.
struct Sleeper(Child);

impl Sleeper {
    fn new(socket: impl Into<OwnedFd>) -> Self {
        Self::start(Command::new("sleep").arg("600").stdin(Stdio::from(socket.into())))
    }

    fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn inode(socket: &impl AsFd) -> u32 {
    rustix::fs::fstat(socket).unwrap().st_ino.try_into().unwrap()
}

fn udp() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

/// Gives every beginning of a text to a parser.
fn every_beginning(text: &str, parse: impl Fn(&str)) {
    for (end, _) in text.char_indices() {
        parse(text.get(..end).unwrap());
    }
}

fn pids(outcome: &Outcome, inode: u32) -> Vec<u32> {
    outcome.holders(inode).iter().map(|holder| holder.process.pid).collect()
}

/// Does something on a thread that has a view of the file systems of its own.
fn with_mounts_of_its_own<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let work = || {
            unshare_mounts().ok()?;
            let private = Command::new("mount").args(["--make-rprivate", "/"]).status().ok()?.success();
            private.then(work)
        };
        scope.spawn(work).join().unwrap()
    })
}

#[expect(unsafe_code, reason = "the tests make the namespaces they work in")]
fn unshare_mounts() -> rustix::io::Result<()> {
    // SAFETY: the thread gets a working directory and mounts of its own; it shares its descriptors as before.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
}

fn mount(arguments: &[&str], directory: &Path) -> bool {
    Command::new("mount").args(arguments).arg(directory).stderr(Stdio::null()).status().unwrap().success()
}

/// Does something on a thread without some capabilities.
fn without<T: Send>(dropped: CapabilitySet, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let work = || {
            let mut sets = capabilities(None).unwrap();
            sets.effective.remove(dropped);
            sets.permitted.remove(dropped);
            sets.inheritable.remove(dropped);
            set_capabilities(None, sets).unwrap();
            work()
        };
        scope.spawn(work).join().unwrap()
    })
}

/// Waits until a socket is held by these processes and no other: one that another test is about to start has a copy of
/// every descriptor until its program begins.
fn held_by(expected: &[u32], inode: u32, ask: Ask) -> Outcome {
    let mut processes = Processes::new().unwrap();
    let mut outcome = Outcome::default();
    eventually("only those hold the socket that are meant to", || {
        outcome = processes.look_up([inode], ask);
        assert!(outcome.complete);
        pids(&outcome, inode) == expected
    });
    outcome
}

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
fn the_cgroup_v2_mount_with_the_widest_view_comes_first() {
    let mount = |point: &str, above: &str| Mount { point: PathBuf::from(point), above: above.to_owned() };
    let unified = "29 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";
    assert_eq!(mounts(unified), [mount("/sys/fs/cgroup", "")]);
    let hybrid = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    assert_eq!(mounts(hybrid), [mount("/sys/fs/cgroup/unified", "")]);
    let container = "\
500 490 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw
501 490 0:26 /../.. /host/sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw
502 490 0:26 /system.slice /mnt/with\\040blank ro - cgroup2 cgroup rw
503 490 0:26 /.. /up ro - cgroup2 cgroup rw
";
    let wanted = [
        mount("/host/sys/fs/cgroup", ""),
        mount("/up", ""),
        mount("/sys/fs/cgroup", ""),
        mount("/mnt/with blank", "/system.slice"),
    ];
    assert_eq!(mounts(container), wanted);
    assert_eq!(mounts("35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"), []);
    every_beginning(container, |text| drop(mounts(text)));
}

#[test]
fn a_control_group_has_its_id_by_its_path_below_the_mount_wherever_that_is() {
    let root = tree(&["a/b"]);
    let b = id(&root.path().join("a/b"));
    let full = root.path().join("a/b").display().to_string();
    for (above, paths) in
        [("", ["/a/b", "a/b", &full]), ("/system.slice", ["/system.slice/a/b", "/a/b", &full])]
    {
        let mount = Mount { point: root.path().to_owned(), above: above.to_owned() };
        for path in paths {
            assert_eq!(mount.id(path), Some(b), "{path}");
        }
        assert_eq!(mount.id("/a/c"), None);
        assert_eq!(mount.id("/"), Some(id(root.path())));
    }
}

/// A tree of directories where the links of a directory count what is in it, as on a cgroup file system.
fn tree(directories: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir_in("/dev/shm").unwrap();
    for directory in directories {
        std::fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    root
}

fn id(path: &Path) -> u64 {
    std::fs::metadata(path).unwrap().ino()
}

const UNHURRIED: Limits =
    Limits { directories: 100, depth: 16, budget: Duration::from_mins(1), pause: Duration::ZERO };

#[test]
fn an_unknown_id_causes_a_walk_and_what_stays_unknown_no_other() {
    let root = tree(&["system.slice/sshd.service", "system.slice/cron.service", "user.slice"]);
    let mut cgroups = Cgroups::at(root.path(), UNHURRIED).unwrap();
    let sshd = root.path().join("system.slice/sshd.service");
    assert_eq!(cgroups.path(id(&sshd)).as_deref(), Some("/system.slice/sshd.service"));
    assert_eq!(cgroups.path(id(root.path())).as_deref(), Some("/"));
    let first = cgroups.latest();
    assert_eq!((first.known, first.left_out, first.cut_short), (5, 0, false));

    std::fs::remove_dir(&sshd).unwrap();
    let late = root.path().join("system.slice/late.service");
    let gone = u64::MAX;
    assert_eq!(cgroups.path(gone), None, "walks");
    let after = cgroups.latest();
    assert_eq!(after.known, 4, "what is gone is forgotten");
    std::fs::create_dir(&late).unwrap();
    assert_eq!(cgroups.path(gone), None);
    assert_eq!(cgroups.path(0), None, "the kernel did not say");
    assert_eq!(cgroups.latest(), after, "no walk for what was not found before, though one was allowed");
    assert_eq!(cgroups.path(id(&late)).as_deref(), Some("/system.slice/late.service"));
    assert_eq!(cgroups.latest().known, 5);
}

#[test]
fn who_was_not_found_by_a_walk_over_a_part_is_looked_for_again() {
    let root = tree(&["a"]);
    let (b, gone) = (root.path().join("b"), u64::MAX);
    std::fs::create_dir(&b).unwrap();
    let b = id(&b);
    let mut cgroups = Cgroups::at(root.path(), Limits { directories: 1, ..UNHURRIED }).unwrap();
    assert!(cgroups.waits(b) && !cgroups.waits(0));
    assert_eq!(cgroups.path(b), None);
    assert!(cgroups.latest().left_out > 0);
    assert!(!cgroups.waits(b), "it was looked for: who waits may go on without a path");
    cgroups.limits = UNHURRIED;
    assert_eq!(cgroups.path(b).as_deref(), Some("/b"), "and what comes later has it");
    assert_eq!((cgroups.path(gone), cgroups.waits(gone)), (None, false));

    let mut cgroups =
        Cgroups::at(root.path(), Limits { pause: Duration::from_hours(1), ..UNHURRIED }).unwrap();
    cgroups.look();
    assert_eq!((cgroups.path(gone), cgroups.waits(gone)), (None, true), "no walk was since it came");
    cgroups.look();
    assert_eq!((cgroups.path(gone), cgroups.waits(gone)), (None, false));
}

#[test]
fn walks_are_so_far_apart_and_ids_asked_for_between_them_are_not_forgotten() {
    let root = tree(&["a"]);
    let limits = Limits { pause: Duration::from_hours(1), ..UNHURRIED };
    let mut cgroups = Cgroups::at(root.path(), limits).unwrap();
    assert_eq!(cgroups.path(id(&root.path().join("a"))).as_deref(), Some("/a"));
    std::fs::create_dir(root.path().join("b")).unwrap();
    let b = id(&root.path().join("b"));
    let (gone, gone_too) = (u64::MAX, u64::MAX - 1);
    assert_eq!((cgroups.path(b), cgroups.path(gone), cgroups.path(gone_too)), (None, None, None));
    assert_eq!(cgroups.latest().known, 2, "it is not time yet");
    cgroups.look();
    assert_eq!(cgroups.path(b).as_deref(), Some("/b"));

    let mut cgroups = Cgroups::at(root.path(), UNHURRIED).unwrap();
    assert_eq!(cgroups.path(gone), None);
    let walk = cgroups.latest();
    assert_eq!(cgroups.path(gone), None);
    assert_eq!(cgroups.latest(), walk);
}

#[test]
fn a_walk_is_bounded_in_number_depth_and_time_and_says_what_it_left_out() {
    let root = tree(&["a/b/c/d", "a/e", "f", "g"]);
    let walk = |limits| {
        let mut cgroups = Cgroups::at(root.path(), limits).unwrap();
        cgroups.look();
        let walk = cgroups.latest();
        (walk.known, walk.left_out, walk.cut_short)
    };
    assert_eq!(walk(UNHURRIED), (8, 0, false));
    assert_eq!(walk(Limits { depth: 1, ..UNHURRIED }), (4, 2, false), "b and e are too deep");
    assert_eq!(walk(Limits { depth: 0, ..UNHURRIED }), (1, 3, false));
    let (known, left_out, _) = walk(Limits { directories: 3, ..UNHURRIED });
    assert_eq!(known, 3);
    assert!(left_out >= 1, "{left_out}");
    assert_eq!(walk(Limits { budget: Duration::ZERO, ..UNHURRIED }), (4, 2, true), "the first level always");
}

#[test]
fn what_there_was_no_time_for_stays_known() {
    let root = tree(&["a/b", "c"]);
    let b = id(&root.path().join("a/b"));
    let mut cgroups = Cgroups::at(root.path(), UNHURRIED).unwrap();
    cgroups.look();
    cgroups.limits.budget = Duration::ZERO;
    std::fs::create_dir(root.path().join("d")).unwrap();
    cgroups.look();
    let walk = cgroups.latest();
    assert_eq!(
        (walk.known, walk.left_out, walk.cut_short),
        (5, 1, true),
        "a, c, d, the root, and b as before"
    );
    assert_eq!(cgroups.path(b).as_deref(), Some("/a/b"));
}

#[test]
fn a_directory_that_is_not_there_is_absent() {
    let error = Cgroups::at(Path::new("/no/such/folder"), UNHURRIED).unwrap_err();
    assert_eq!(error.reason(), Reason::Absent);
    assert!(error.to_string().contains("/no/such/folder"), "{error}");
}

#[test]
fn with_cgroup_v1_alone_it_is_said_that_ids_say_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let found = with_mounts_of_its_own(|| {
        let _there_may_be_none = Command::new("umount").args(["-a", "-t", "cgroup2"]).status();
        let none = Cgroups::new().map(drop);
        let hidden = mount(&["-t", "cgroup2", "none"], folder.path())
            && mount(&["-t", "tmpfs", "none"], folder.path());
        [Some(none), hidden.then(|| Cgroups::new().map(drop))]
    });
    let Some(found) = found else {
        return skipped("needs CAP_SYS_ADMIN to unmount in a namespace of its own");
    };
    for found in found.into_iter().flatten() {
        let error = found.unwrap_err();
        assert_eq!(error.reason(), Reason::Absent);
        let said = connscope::source::chain(&error);
        assert!(said.contains("cgroup v1 alone"), "{said}");
    }
}

/// Removes a cgroup when it goes out of scope; who was in it must have ended.
struct Cgroup(PathBuf);

impl Drop for Cgroup {
    fn drop(&mut self) {
        eventually("the cgroup is empty", || std::fs::remove_dir(&self.0).is_ok() || !self.0.exists());
    }
}

#[test]
fn the_id_the_kernel_gives_for_a_socket_leads_to_its_cgroup_and_its_process() {
    let Some(namespace) = Namespace::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let done = namespace.inside(|| {
        with_mounts_of_its_own(|| {
            if !mount(&["-t", "cgroup2", "none"], folder.path()) {
                return false;
            }
            let slice = format!("connscope-test-{}.slice", std::process::id());
            let path = format!("/{slice}/docker-{A}.scope");
            let outer = Cgroup(folder.path().join(slice));
            let inner = Cgroup(outer.0.join(format!("docker-{A}.scope")));
            if std::fs::create_dir_all(&inner.0).is_err() {
                return false;
            }
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let script = "echo 0 > $0/cgroup.procs && exec 3<>/dev/tcp/127.0.0.1/$1 && exec sleep 600";
            let client = Sleeper::start(
                Command::new("bash")
                    .args(["-c", script])
                    .arg(&inner.0)
                    .arg(port.to_string())
                    .stdin(Stdio::null()),
            );
            let connection = listener.accept().unwrap();
            let (cgroup, socket) = asked(port);
            assert_eq!(cgroup, id(&inner.0));
            let mut cgroups = Cgroups::new().unwrap();
            let found = cgroups.path(cgroup).expect("the walk finds it");
            assert_eq!(*found, *path);
            assert_eq!(container(&found), Some(A));
            assert_eq!(*of_process(client.pid()).unwrap(), *path, "the one cgroup that says something");
            let outcome = Processes::new().unwrap().look_up([socket], ALL);
            assert_eq!(pids(&outcome, socket), [client.pid()]);

            drop((client, connection));
            drop(inner);
            drop(outer);
            cgroups.look();
            assert_eq!(cgroups.path(cgroup), None, "gone");
            true
        })
        .unwrap_or(false)
    });
    if !done {
        skipped("needs to mount cgroup v2 and to make a cgroup");
    }
}

/// Asks `sock_diag` for the TCP socket that is connected to a port: its cgroup id and inode
/// (`include/uapi/linux/inet_diag.h`).
fn asked(port: u16) -> (u64, u32) {
    const ESTABLISHED: u32 = 1 << 1;
    const CGROUP_ID: u16 = 21;
    let mut socket = NetlinkSocket::open(rustix::net::netlink::SOCK_DIAG, Duration::from_secs(10)).unwrap();
    let mut request = [0; 72];
    request[0] = 72;
    request[4] = 20; // SOCK_DIAG_BY_FAMILY
    request[6..8].copy_from_slice(&0x301_u16.to_ne_bytes()); // NLM_F_REQUEST | NLM_F_DUMP
    request[16..18].copy_from_slice(&[2, 6]); // AF_INET, IPPROTO_TCP
    request[20..24].copy_from_slice(&ESTABLISHED.to_ne_bytes());
    socket.send(&request).unwrap();
    loop {
        let mut datagram = socket.receive().unwrap();
        while datagram.len() >= 16 {
            let length = u32::from_ne_bytes(datagram[..4].try_into().unwrap()) as usize;
            assert_ne!(datagram[4], 3, "the dump has ended without it");
            let (message, rest) = datagram.split_at(length.next_multiple_of(4).min(datagram.len()));
            datagram = rest;
            if message[22..24] != port.to_be_bytes() {
                continue;
            }
            let inode = u32::from_ne_bytes(message[84..88].try_into().unwrap());
            let mut attributes = &message[88..];
            while attributes.len() >= 4 {
                let length = u16::from_ne_bytes(attributes[..2].try_into().unwrap()) as usize;
                if u16::from_ne_bytes(attributes[2..4].try_into().unwrap()) == CGROUP_ID {
                    return (u64::from_ne_bytes(attributes[4..12].try_into().unwrap()), inode);
                }
                attributes = &attributes[length.next_multiple_of(4).min(attributes.len())..];
            }
            panic!("the kernel gives no cgroup id");
        }
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

#[test]
fn a_socket_is_its_processes() {
    let Some(namespace) = Namespace::new() else { return };
    let socket = namespace.inside(udp);
    let wanted = inode(&socket);
    let sleeper = Sleeper::new(socket);
    let outcome = held_by(&[sleeper.pid()], wanted, ONE);
    let holder = &outcome.holders(wanted)[0];
    let mut processes = Processes::new().unwrap();
    // The name is that of the process that starts it until the program has begun.
    eventually("sleep is started", || {
        let outcome = processes.look_up([wanted], Ask { command: true, ..ONE });
        let process = &outcome.holders(wanted)[0].process;
        *process.comm == *"sleep"
            && process.command.as_deref() == Some(&["sleep".to_owned(), "600".to_owned()])
    });
    let stat = std::fs::read(format!("/proc/{}/stat", sleeper.pid())).unwrap();
    assert_eq!(Some(holder.process.started), start_time(&stat));
    assert_eq!(outcome.holders(wanted + 1), []);
    assert_eq!(processes.look_up([wanted], ONE).holders(wanted)[0].process.command, None, "not asked for");
    assert_eq!(processes.look_up([], ONE).looked_into, 0);
    assert_eq!(processes.look_up([0], ONE).looked_into, 0);
}

#[test]
fn a_shared_socket_is_of_all_that_hold_it_and_first_of_the_lowest_pid() {
    let socket = udp();
    let wanted = inode(&socket);
    let sleepers: Vec<Sleeper> = (0..3).map(|_| Sleeper::new(socket.try_clone().unwrap())).collect();
    let twice = socket.try_clone().unwrap();
    let mut expected: Vec<u32> = sleepers.iter().map(Sleeper::pid).chain([std::process::id()]).collect();
    expected.sort_unstable();
    held_by(&expected, wanted, ALL);
    let mut processes = Processes::new().unwrap();
    for _ in 0..3 {
        assert_eq!(pids(&processes.look_up([wanted], ONE), wanted), expected[..1]);
    }
    drop(twice);
}

#[test]
fn a_walk_that_has_found_everything_ends() {
    let socket = udp();
    let wanted = inode(&socket);
    let sleeper = Sleeper::new(udp());
    let mut processes = Processes::new().unwrap();
    let (all, one) = (processes.look_up([wanted], ALL), processes.look_up([wanted], ONE));
    assert!(all.complete && one.complete);
    assert!(sleeper.pid() > std::process::id(), "pids have begun anew; run it again");
    assert!(one.looked_into < all.looked_into, "{one:?} {all:?}");
    assert_eq!((all.rounds, one.rounds), (1, 1), "the second walk did not come to the end");
}

#[test]
fn a_process_that_has_ended_holds_nothing() {
    let socket = udp();
    let wanted = inode(&socket);
    let sleeper = Sleeper::new(socket);
    held_by(&[sleeper.pid()], wanted, ONE);
    drop(sleeper);
    held_by(&[], wanted, ONE);
}

#[test]
fn processes_that_come_and_go_do_not_disturb_a_walk() {
    let socket = udp();
    let wanted = inode(&socket);
    let sleeper = Sleeper::new(socket);
    let mut processes = Processes::new().unwrap();
    std::thread::scope(|scope| {
        let churn = scope.spawn(|| {
            for _ in 0..100 {
                assert!(
                    Command::new("true")
                        .stdin(udp().try_clone().map(OwnedFd::from).unwrap())
                        .status()
                        .unwrap()
                        .success()
                );
            }
        });
        while !churn.is_finished() {
            let outcome = processes.look_up([wanted, u32::MAX], ALL);
            assert!(outcome.complete);
            assert!(pids(&outcome, wanted).contains(&sleeper.pid()), "{outcome:?}");
        }
    });
}

#[test]
fn walks_without_time_go_on_where_they_ended_and_pass_by_everybody() {
    let (first, second) = (udp(), udp());
    let wanted = [inode(&first), inode(&second)];
    let sleepers = [Sleeper::new(first), Sleeper::new(second)];
    let nobody = u32::MAX;
    let hurried = Ask { budget: Duration::ZERO, ..ALL };
    let mut processes = Processes::new().unwrap();
    let mut found = BTreeSet::new();
    let mut calls = 0_usize;
    loop {
        let outcome = processes.look_up([wanted[0], wanted[1], nobody], hurried);
        assert!(
            outcome.looked_into + outcome.denied <= 2,
            "one at the end and one at the beginning: {outcome:?}"
        );
        found.extend(outcome.iter().map(|holder| (holder.inode, holder.process.pid)));
        calls += 1;
        if outcome.rounds >= 2 {
            break;
        }
        assert!(!outcome.complete);
        assert!(calls < MOST_CALLS, "the walks do not get on");
    }
    assert!(calls > 2);
    for (inode, sleeper) in wanted.iter().zip(&sleepers) {
        assert!(found.contains(&(*inode, sleeper.pid())), "{found:?}");
    }
}

#[test]
fn a_process_with_many_descriptors_is_read_in_parts() {
    let socket = udp();
    let many: Vec<UdpSocket> = (0..300).map(|_| socket.try_clone().unwrap()).collect();
    let last = udp();
    let wanted = inode(&last);
    let hurried = Ask { budget: Duration::ZERO, ..ONE };
    let mut processes = Processes::new().unwrap();
    let mut calls = 0_usize;
    let outcome = loop {
        let outcome = processes.look_up([wanted], hurried);
        assert!(outcome.descriptors <= 128, "64 at a time, at the end and at the beginning: {outcome:?}");
        calls += 1;
        if outcome.complete {
            break outcome;
        }
        assert!(outcome.rounds < 2, "everybody was passed by");
        assert!(calls < MOST_CALLS, "the walks do not get on");
    };
    assert_eq!(pids(&outcome, wanted), [std::process::id()]);
    assert!(calls > 4, "{calls}");
    drop(many);
}

#[test]
fn without_a_capability_the_processes_of_others_are_closed_and_it_is_said_which() {
    let socket = udp();
    let wanted = inode(&socket);
    let mut nobody = Command::new("sleep");
    nobody.arg("600").stdin(OwnedFd::from(socket)).uid(65534).gid(65534);
    let Ok(child) = nobody.spawn() else { return skipped("needs root, to start a process as another user") };
    drop(nobody); // it has the socket too
    let other = Sleeper(child);
    let look_up = || {
        let outcome = Processes::new().unwrap().look_up([wanted], ALL);
        assert!(outcome.complete);
        (pids(&outcome, wanted), outcome.denied)
    };
    held_by(&[other.pid()], wanted, ALL);
    let (_, closed) = look_up();
    let said = check().unwrap();
    assert_eq!(said.contains("closed though every capability is held"), closed > 0, "{said}");

    let opens = CapabilitySet::DAC_READ_SEARCH | CapabilitySet::DAC_OVERRIDE;
    let cases = [
        (CapabilitySet::SYS_PTRACE, "CAP_SYS_PTRACE"),
        (opens, "CAP_DAC_READ_SEARCH"),
        (CapabilitySet::all(), "CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE"),
    ];
    for (dropped, named) in cases {
        let ((found, still_closed), error) = without(dropped, || (look_up(), check().unwrap_err()));
        assert!(found.is_empty(), "{named}");
        assert!(still_closed > closed, "{named}");
        assert_eq!(error.reason(), Reason::Denied);
        assert_eq!(error.capability(), Some(named));
        assert!(error.to_string().contains(" are closed (needs CAP_"), "{error}");
    }
}

#[test]
fn processes_that_the_mount_hides_are_not_taken_for_none() {
    let hidden = with_mounts_of_its_own(|| {
        mount(&["-t", "proc", "-o", "hidepid=2", "proc"], Path::new("/proc"))
            .then(|| {
                // The group that `gid=` names is told all the same, and unless it is given that is 0.
                let nobody = Gid::from_raw(65534);
                set_thread_groups(&[]).ok()?;
                set_thread_res_gid(nobody, nobody, nobody).ok()?;
                Some(without(CapabilitySet::all(), || check().unwrap_err()))
            })
            .flatten()
    });
    let Some(Some(error)) = hidden else { return skipped("needs CAP_SYS_ADMIN to mount /proc") };
    assert_eq!(error.capability(), Some("CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE"));
    assert!(error.to_string().contains("hidepid"), "{error}");
}

#[test]
fn only_what_reads_like_a_socket_is_one() {
    assert_eq!(socket_inode(b"socket:[4026531840]"), Some(4_026_531_840));
    assert_eq!(socket_inode(b"socket:[1]"), Some(1));
    for other in [
        "socket:[]",
        "socket:[4294967296]",
        "socket:[-1]",
        "socket:[+1]",
        "socket:[1",
        "pipe:[1]",
        "/socket:[1]",
        "",
    ] {
        assert_eq!(socket_inode(other.as_bytes()), None, "{other}");
    }
}

#[test]
fn a_process_may_have_any_name_and_still_has_a_beginning() {
    let rest =
        "S 1 4242 4242 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 987654 2703360 400 18446744073709551615 1 1";
    for name in ["sleep", "a b", "a) S 1 1 (", "((sd-pam))", ")"] {
        let stat = format!("4242 ({name}) {rest}\n");
        assert_eq!(start_time(stat.as_bytes()), Some(987_654), "{name}");
        for end in 0..stat.len() {
            let _any = start_time(&stat.as_bytes()[..end]);
        }
    }
    assert_eq!(start_time(b""), None);
    let own = std::fs::read("/proc/self/stat").unwrap();
    assert!(start_time(&own).unwrap() > 0);
}
