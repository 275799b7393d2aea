//! Control groups by their ids: the mounts, walks over the tree, and what the kernel says of a socket.

use super::process::{ALL, pids};
use super::{A, Sleeper, every_beginning, mount, with_mounts_of_its_own};
use crate::support::{Namespace, eventually, skipped};
use connscope::host::cgroup::{
    Cgroups, Limits, Mount, container, hierarchies, mounts, mounts_of_version_1, numbers, of_process,
};
use connscope::host::netns::Finder;
use connscope::host::process::Processes;
use connscope::metric::label::Reason;
use connscope::sys::netlink::NetlinkSocket;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

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
fn a_hierarchy_of_version_1_is_found_by_its_controller_or_its_name() {
    let mountinfo = "\
35 31 0:32 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
36 31 0:33 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
37 31 0:34 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,memory_recursiveprot
";
    let points = |word: &str| -> Vec<PathBuf> {
        mounts_of_version_1(mountinfo, word).into_iter().map(|mount| mount.point).collect()
    };
    assert_eq!(points("memory"), [Path::new("/sys/fs/cgroup/memory")]);
    assert_eq!(points("cpuacct"), [Path::new("/sys/fs/cgroup/cpu,cpuacct")]);
    assert_eq!(points("name=systemd"), [Path::new("/sys/fs/cgroup/systemd")]);
    assert_eq!(points("pids"), Vec::<PathBuf>::new());
    let cgroup = "12:cpu,cpuacct:/\n4:memory:/a:b\n1:name=systemd:/init.scope\n0::/init.scope\n";
    let known = [("cpu", 12), ("cpuacct", 12), ("memory", 4), ("name=systemd", 1)];
    assert_eq!(numbers(cgroup), known.map(|(word, number)| (word.to_owned(), number)));
    every_beginning(mountinfo, |text| drop(mounts_of_version_1(text, "memory")));
    every_beginning(cgroup, |text| drop(numbers(text)));
}

#[test]
fn the_hierarchies_of_this_machine_have_the_groups_of_its_processes() {
    let mut found = hierarchies().unwrap();
    assert!(!found.is_empty());
    let own = std::fs::read_to_string("/proc/thread-self/cgroup").unwrap();
    for hierarchy in &mut found {
        hierarchy.groups.walk();
        let line = own.lines().find_map(|line| line.strip_prefix(&format!("{}:", hierarchy.number)));
        let (_, path) = line.and_then(|line| line.split_once(':')).unwrap();
        let known = hierarchy.groups.iter().any(|(_, known)| **known == *path);
        assert!(known || path.contains(".."), "{}: {path}", hierarchy.word);
    }
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
    Limits { directories: 100, text: 4096, depth: 16, budget: Duration::from_mins(1), pause: Duration::ZERO };

#[test]
fn an_unknown_id_causes_a_walk_and_what_stays_unknown_no_other() {
    let root = tree(&["system.slice/sshd.service", "system.slice/cron.service", "user.slice"]);
    let mut cgroups = Cgroups::at(root.path(), UNHURRIED).unwrap();
    let sshd = root.path().join("system.slice/sshd.service");
    assert_eq!(cgroups.path(id(&sshd)).as_deref(), Some("/system.slice/sshd.service"));
    assert_eq!(cgroups.path(id(root.path())).as_deref(), Some("/"));
    let first = cgroups.latest();
    assert_eq!((first.directories, first.left_out, first.cut_short), (5, 0, false));

    std::fs::remove_dir(&sshd).unwrap();
    let late = root.path().join("system.slice/late.service");
    let gone = u64::MAX;
    assert_eq!(cgroups.path(gone), None, "walks");
    let after = cgroups.latest();
    assert_eq!(after.directories, 4, "what is gone is forgotten");
    std::fs::create_dir(&late).unwrap();
    assert_eq!(cgroups.path(gone), None);
    assert_eq!(cgroups.path(0), None, "the kernel did not say");
    assert_eq!(cgroups.latest(), after, "no walk for what was not found before, though one was allowed");
    assert_eq!(cgroups.path(id(&late)).as_deref(), Some("/system.slice/late.service"));
    assert_eq!(cgroups.latest().directories, 5);
}

#[test]
fn who_was_not_found_by_a_walk_over_a_part_is_looked_for_again() {
    let root = tree(&["a"]);
    let (b, gone) = (root.path().join("b"), u64::MAX);
    std::fs::create_dir(&b).unwrap();
    let b = id(&b);
    let mut cgroups = Cgroups::at(root.path(), Limits { directories: 1, ..UNHURRIED }).unwrap();
    assert!(cgroups.is_pending(b) && !cgroups.is_pending(0));
    assert_eq!(cgroups.path(b), None);
    assert!(cgroups.latest().left_out > 0);
    assert!(!cgroups.is_pending(b), "it was looked for: who waits may go on without a path");
    cgroups.limits = UNHURRIED;
    assert_eq!(cgroups.path(b).as_deref(), Some("/b"), "and what comes later has it");
    assert_eq!((cgroups.path(gone), cgroups.is_pending(gone)), (None, false));

    let mut cgroups =
        Cgroups::at(root.path(), Limits { pause: Duration::from_hours(1), ..UNHURRIED }).unwrap();
    cgroups.walk();
    assert_eq!((cgroups.path(gone), cgroups.is_pending(gone)), (None, true), "no walk was since it came");
    cgroups.walk();
    assert_eq!((cgroups.path(gone), cgroups.is_pending(gone)), (None, false));
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
    assert_eq!(cgroups.latest().directories, 2, "it is not time yet");
    cgroups.walk();
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
        cgroups.walk();
        let walk = cgroups.latest();
        (walk.directories, walk.left_out, walk.cut_short)
    };
    assert_eq!(walk(UNHURRIED), (8, 0, false));
    assert_eq!(walk(Limits { depth: 1, ..UNHURRIED }), (4, 2, false), "b and e are too deep");
    assert_eq!(walk(Limits { depth: 0, ..UNHURRIED }), (1, 3, false));
    let (known, left_out, _) = walk(Limits { directories: 3, ..UNHURRIED });
    assert_eq!(known, 3);
    assert!(left_out >= 1, "{left_out}");
    // `/`, `/a`, `/f` and `/g` are 7 bytes, `/a/b` and `/a/e` 4 each.
    assert_eq!(walk(Limits { text: 10, ..UNHURRIED }), (4, 2, false), "no room for a path of 4 bytes");
    assert_eq!(walk(Limits { budget: Duration::ZERO, ..UNHURRIED }), (4, 2, true), "the first level always");
}

#[test]
fn what_there_was_no_time_for_stays_known() {
    let root = tree(&["a/b", "c"]);
    let b = id(&root.path().join("a/b"));
    let mut cgroups = Cgroups::at(root.path(), UNHURRIED).unwrap();
    cgroups.walk();
    cgroups.limits.budget = Duration::ZERO;
    std::fs::create_dir(root.path().join("d")).unwrap();
    cgroups.walk();
    let walk = cgroups.latest();
    assert_eq!(
        (walk.directories, walk.left_out, walk.cut_short),
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
        let said = connscope::reading::chain(&error);
        assert!(said.contains("cgroup v1 has no ids"), "{said}");
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
            cgroups.walk();
            assert_eq!(cgroups.path(cgroup), None, "gone");
            true
        })
        .unwrap_or(false)
    });
    if !done {
        skipped("needs to mount cgroup v2 and to make a cgroup");
    }
}

/// LXC has the name of a container in the path of its control group, which takes no file of an engine.
#[test]
fn a_network_namespace_is_called_by_the_container_that_is_in_it() {
    let Some(of_container) = Namespace::new() else { return };
    let Some(of_nobody) = Namespace::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let name = format!("shop-{}", std::process::id());
    let labels = with_mounts_of_its_own(|| {
        if !mount(&["-t", "cgroup2", "none"], folder.path()) {
            return None;
        }
        let group = Cgroup(folder.path().join(format!("lxc.payload.{name}")));
        std::fs::create_dir(&group.0).ok()?;
        let start = |script: &str| Sleeper::start(Command::new("sh").args(["-c", script]).arg(&group.0));
        let container = of_container.inside(|| start("echo 0 > $0/cgroup.procs && exec sleep 600"));
        let process = of_nobody.inside(|| start("exec sleep 600"));
        let in_group = || of_process(container.pid()).is_some_and(|path| path.contains(&name));
        eventually("the process is in its control group", in_group);
        let found = Finder::new(&["all".to_owned()]).find();
        drop((container, process));
        Some(found.namespaces.iter().map(|one| one.label.to_string()).collect::<Vec<_>>())
    });
    let Some(Some(labels)) = labels else {
        return skipped("needs to mount cgroup v2 and to make a cgroup");
    };
    assert!(labels.contains(&name), "{labels:?}");
    assert!(!labels.contains(&format!("net:[{}]", of_container.inode())), "{labels:?}");
    assert!(labels.contains(&format!("net:[{}]", of_nobody.inode())), "{labels:?}");
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
