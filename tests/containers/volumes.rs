//! What is mounted in containers, against what `statvfs` says of the same file systems.

use super::value;
use super::waiting::{Watch, named};
use crate::support::engine::Docker;
use crate::support::{Namespace, eventually, skipped};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const ALONE: &str = "delay: off, oom: off, resources: false, pressure: false, tcp: {enabled: false}";

/// Capacity, usage and what is available of a file system, as `df` has them.
fn df(path: &Path) -> [f64; 3] {
    let told = rustix::fs::statvfs(path).unwrap();
    let bytes = |blocks: u64| super::lab::float(blocks * told.f_frsize);
    [bytes(told.f_blocks), bytes(told.f_blocks - told.f_bfree), bytes(told.f_bavail)]
}

fn sizes(text: &str, container: &str, point: &str) -> Option<[f64; 3]> {
    let labels = [named(container), format!("system_filesystem_mountpoint=\"{point}\"")];
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let of = |what: &str| value(text, &format!("container_filesystem_{what}_bytes"), &labels);
    Some([of("capacity")?, of("usage")?, of("available")?])
}

/// The mount points of a container; other tests have containers too.
fn points<'a>(text: &'a str, container: &str) -> Vec<&'a str> {
    let lines = text.lines().filter(|line| line.starts_with("container_filesystem_capacity_bytes{"));
    let lines = lines.filter(|line| line.contains(&named(container)));
    lines.filter_map(|line| line.split("mountpoint=\"").nth(1)?.split('"').next()).collect()
}

#[test]
fn a_volume_and_a_bind_mount_are_as_large_as_df_says_and_nothing_else_is_there() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let watch = Watch::new(&docker, ALONE, &[]);
    let folder = tempfile::tempdir().unwrap();
    let bind = format!("{}:/bind", folder.path().display());
    let mounts = ["--volume", "data:/data", "--volume", &bind, "--tmpfs", "/scratch"];
    docker.run("web", &mounts, &["sleep", "600"]);
    let data = docker.data().join("volumes/data/_data");
    // Others write to the disk meanwhile.
    let mut text = String::new();
    eventually("sizes are what df says", || {
        let before = df(&data);
        text = watch.scrape();
        before == df(&data)
            && sizes(&text, "web", "/data") == Some(before)
            && sizes(&text, "web", "/bind") == Some(before)
    });
    let mut points = points(&text, "web");
    points.sort_unstable();
    // With the storage driver of the tests the root of a container is a directory of the host's file system.
    points.retain(|point| *point != "/");
    assert_eq!(points, ["/bind", "/data"], "{text}");
}

/// A loop device of a file, which goes with this.
struct Loop {
    device: String,
    _file: tempfile::NamedTempFile,
}

impl Loop {
    fn new() -> Option<Self> {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(16 * 1_048_576).unwrap();
        let output = Command::new("losetup").args(["--find", "--show"]).arg(file.path()).output();
        let output = output.ok().filter(|output| output.status.success())?;
        let device = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        Some(Self { device, _file: file })
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _gone_or_not = Command::new("losetup").args(["--detach", &self.device]).status();
    }
}

/// A control group with the form of a container's, and a process in it with mounts of its own.
struct Mounted {
    child: Child,
    group: PathBuf,
}

impl Mounted {
    /// `script` mounts below its working directory, which it is passed too.
    fn start(docker: &Docker, name: &str, folder: &Path, script: &str) -> Self {
        let id = format!("{:064x}", u64::from(std::process::id()) << 16 | name.len() as u64);
        let files = docker.data().join("containers").join(&id);
        std::fs::create_dir_all(&files).unwrap();
        std::fs::write(files.join("config.v2.json"), format!(r#"{{"Name":"/{name}","Config":{{}}}}"#))
            .unwrap();
        let memory = Path::new("/sys/fs/cgroup/memory");
        let root = if memory.is_dir() { memory } else { Path::new("/sys/fs/cgroup") };
        let group = root.join(format!("connscope-mounted-{}", std::process::id())).join(&id);
        std::fs::create_dir_all(&group).unwrap();
        let script = format!(
            "set -e; mount --make-rprivate /; {script}\necho $$ >{}/cgroup.procs; echo ready; exec sleep 600 >/dev/null",
            group.display()
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]).current_dir(folder).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut told = [0; 6];
        let mut out = child.stdout.take().unwrap();
        std::io::Read::read_exact(&mut out, &mut told).expect("everything is mounted");
        Self { child, group }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
        super::lab::remove_group(&self.group);
    }
}

#[test]
fn a_file_system_that_hangs_leaves_its_mount_out_and_the_others_alone() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let (Some(good), Some(hung)) = (Loop::new(), Loop::new()) else {
        return skipped("needs two loop devices");
    };
    let made = Command::new("mkfs.ext4").args(["-q", &good.device]).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfs.ext4 {}", good.device);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["disk", "hung", "memory", "low", "up", "work", "over"] {
        std::fs::create_dir(path(name)).unwrap();
    }
    // Nobody answers what is read from /dev/fuse.
    let script = format!(
        "mount {good} disk; mount -t tmpfs tmpfs memory; touch a b; mount --bind disk/. low; \
         exec 9<>/dev/fuse; mount -i -t fuseblk -o fd=9,rootmode=40000,user_id=0,group_id=0 {hung} hung; \
         mkdir memory/up memory/work; mount -t overlay -o lowerdir=low,upperdir=memory/up,workdir=memory/work over over; \
         touch disk/file; mount --bind disk/file a;",
        good = good.device,
        hung = hung.device
    );
    let watch = Watch::new(&docker, ALONE, &[]);
    let disks = Mounted::start(&docker, "disks", folder.path(), &script);
    let inside = PathBuf::from(format!("/proc/{}/root", disks.child.id()));
    let at = |name: &str| path(name).display().to_string();
    let mut text = String::new();
    eventually("the disk is known", || {
        let began = Instant::now();
        text = watch.scrape();
        let took = began.elapsed();
        assert!(took < Duration::from_secs(2), "the cycle waits for what hangs: {took:?}");
        sizes(&text, "disks", &at("disk")).is_some()
    });
    let expected = df(&inside.join(path("disk").strip_prefix("/").unwrap()));
    assert_eq!(sizes(&text, "disks", &at("disk")), Some(expected), "{text}");
    for absent in ["hung", "memory", "over", "a"] {
        assert_eq!(sizes(&text, "disks", &at(absent)), None, "{absent}");
    }
    let device = format!("system_device=\"{}\"", good.device.trim_start_matches("/dev/"));
    assert!(value(&text, "container_filesystem_capacity_bytes", &[&device]).is_some(), "{text}");
    let left_out =
        |text: &str| value(text, "connscope_containers_left_out_total", &["key=\"volume_size\""]).unwrap();
    assert!(left_out(&text) >= 1.0, "{text}");
    // It is not asked for again while the thread waits, so that a cycle takes no longer.
    let began = Instant::now();
    let again = watch.scrape();
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    assert_eq!(sizes(&again, "disks", &at("disk")), Some(expected));
    assert!(left_out(&again) > left_out(&text));
    assert_eq!(value(&again, "connscope_source_up", &["source=\"containers\""]), Some(1.0));
    drop(disks);
    // With the last who has /dev/fuse open the thread is told that nobody will answer.
    eventually("the container is gone", || sizes(&watch.scrape(), "disks", &at("disk")).is_none());
}

#[test]
fn of_more_than_32_mounts_of_a_container_the_rest_is_left_out_and_counted() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    if super::resources::disk_of(folder.path()).is_none() {
        return skipped("the tests are on no block device");
    }
    let watch = Watch::new(&docker, ALONE, &[]);
    let script = "for i in $(seq 40); do mkdir m$i; mount --bind m$i m$i; done";
    let _process = Mounted::start(&docker, "many", folder.path(), script);
    let mut text = String::new();
    eventually("32 mounts are known", || {
        text = watch.scrape();
        points(&text, "many").len() == 32
    });
    let left_out = value(&text, "connscope_containers_left_out_total", &["key=\"volume\""]).unwrap();
    assert!(left_out >= 8.0, "{text}");
}

#[test]
fn without_the_capability_sizes_are_missing_and_the_log_says_which() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let folder = tempfile::tempdir().unwrap();
    let _process = Mounted::start(&docker, "closed", folder.path(), "");
    let watch = Watch::new(&docker, ALONE, &["setpriv", "--bounding-set", "-sys_ptrace"]);
    let text = watch.scrape();
    assert!(value(&text, "container_info", &[&named("closed")]).is_some(), "{text}");
    assert_eq!(points(&text, "closed"), [""; 0], "{text}");
    let log = watch.log();
    let said = log.iter().filter(|line| line.contains("CAP_SYS_PTRACE") && line.contains("volumes"));
    assert_eq!(said.count(), 1, "{log:#?}");
}
