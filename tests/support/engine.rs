//! Real engines for containers: a Docker and a containerd of a test's own, each in a network namespace and a view of the
//! file systems of its own, with everything they write below a folder that goes with them.
//!
//! The images are Debian's busybox. The control groups are below one of the test's own, `/connscope-test-…`; what an engine
//! sets outside of its namespaces (limits of the kernel's key ring) is mounted over.

use super::{Namespace, PATIENCE, eventually, skipped};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

/// What hides the machine's own engines, and keeps back what is written outside of the folder.
const ALONE: &str = "\
mount --make-rprivate / && mount -t tmpfs run /run && mkdir -p /etc/docker && mount -t tmpfs docker /etc/docker &&
mount --bind /proc/sys/kernel/keys /proc/sys/kernel/keys && mount -o remount,bind,ro /proc/sys/kernel/keys &&
exec \"$@\"";

/// A name that no other test has, now.
fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("connscope-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// What both engines have: the daemon, its folder, its control group.
struct Daemon {
    child: Child,
    folder: tempfile::TempDir,
    group: String,
}

impl Daemon {
    /// Starts one in a network namespace; `None` where it cannot be, which in CI it can.
    fn start(
        namespace: &Namespace,
        program: &str,
        arguments: impl Fn(&Path, &str) -> Vec<String>,
    ) -> Option<Self> {
        if !rustix::process::geteuid().is_root() || !found(program) || !found("busybox") {
            skipped(&format!("needs root, {program} and busybox-static (make test installs them)"));
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let group = unique();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", ALONE, "sh", program]).args(arguments(folder.path(), &group));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = namespace.inside(|| command.spawn()).unwrap();
        let daemon = Self { child, folder, group };
        daemon.image();
        Some(daemon)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A root file system with busybox and its commands.
    fn image(&self) {
        let bin = self.path("image/bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::create_dir_all(self.path("image/tmp")).unwrap();
        std::fs::copy(which("busybox").unwrap(), bin.join("busybox")).unwrap();
        let list = Command::new("busybox").arg("--list").output().unwrap();
        for name in String::from_utf8(list.stdout).unwrap().lines().filter(|name| *name != "busybox") {
            std::os::unix::fs::symlink("busybox", bin.join(name)).unwrap();
        }
    }

    /// Waits until a command of the client works.
    fn wait(&self, mut client: impl FnMut() -> Command) {
        let begun = Instant::now();
        while !client().output().is_ok_and(|output| output.status.success()) {
            assert!(begun.elapsed() < PATIENCE, "the engine does not answer: {}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// What a command printed, which must succeed.
    fn done(&self, mut command: Command) -> String {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let said = String::from_utf8_lossy(&stderr);
        assert!(status.success(), "{command:?}: {said}\n{}", self.log());
        String::from_utf8(stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ended_already = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let until = Instant::now() + PATIENCE;
        while self.child.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < until {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let _ended_in_time = self.child.kill();
        let _reaped = self.child.wait();
        // The daemon removes the groups of its containers, and not the one above them.
        let groups = ["/sys/fs/cgroup", "-depth", "-type", "d", "-path"];
        let pattern = format!("*/{}*", self.group);
        let mut find = Command::new("find");
        find.args(groups).arg(pattern).args(["-exec", "rmdir", "{}", "+"]).stderr(Stdio::null());
        let _gone_or_not = find.status();
    }
}

/// A Docker of the test's own.
pub(crate) struct Docker(Daemon);

impl Docker {
    /// Starts it in a network namespace, in which its bridge and its published ports are, with the image `busybox`.
    pub(crate) fn start(namespace: &Namespace) -> Option<Self> {
        let daemon = Daemon::start(namespace, "dockerd", |folder, group| {
            let at = |name: &str| folder.join(name).display().to_string();
            vec![
                format!("--data-root={}", at("data")),
                format!("--exec-root={}", at("exec")),
                format!("--pidfile={}", at("pid")),
                format!("--host=unix://{}", at("docker.sock")),
                format!("--cgroup-parent=/{group}"),
                "--storage-driver=vfs".to_owned(),
            ]
        })?;
        let docker = Self(daemon);
        docker.0.wait(|| docker.client(&["version"]));
        let image = docker.0.path("image.tar").display().to_string();
        let folder = docker.0.path("image").display().to_string();
        let mut tar = Command::new("tar");
        tar.args(["--create", "--file", &image, "--directory", &folder, "."]);
        docker.0.done(tar);
        docker.docker(&["import", &image, "busybox"]);
        Some(docker)
    }

    /// The client with arguments, ready to be run.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.client(arguments)
    }

    fn client(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(if found("/usr/bin/docker") { "/usr/bin/docker" } else { "docker" });
        command.arg("--host").arg(format!("unix://{}", self.socket().display())).args(arguments);
        command
    }

    /// Runs the client, which must succeed; what it printed.
    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        self.0.done(self.client(arguments))
    }

    /// Starts a container in the background from the image `busybox`; its id.
    pub(crate) fn run(&self, name: &str, options: &[&str], command: &[&str]) -> String {
        let begin = ["run", "--detach", "--name", name];
        self.docker(&[&begin, options, &["busybox"], command].concat())
    }

    /// Runs a script of the shell in a container from the image `busybox`, to its end, and removes the container; what it
    /// printed.
    pub(crate) fn run_to_end(&self, name: &str, script: &str) -> String {
        self.docker(&["run", "--rm", "--name", name, "busybox", "sh", "-c", script])
    }

    /// The folder with `containers/ID/config.v2.json`, for `inventory.names.docker`.
    pub(crate) fn data(&self) -> PathBuf {
        self.0.path("data")
    }

    /// Its socket, for `inventory.names.docker_socket`.
    pub(crate) fn socket(&self) -> PathBuf {
        self.0.path("docker.sock")
    }

    /// The control group that those of its containers are in: `/GROUP/ID`.
    pub(crate) fn group(&self) -> String {
        format!("/{}", self.0.group)
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // What runs would go on without the daemon.
        let all = self.client(&["ps", "--all", "--quiet"]).output();
        let all = all.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        let ids: Vec<&str> = all.split_whitespace().collect();
        if !ids.is_empty() {
            let _gone_already = self.client(&[&["rm", "--force"], ids.as_slice()].concat()).output();
        }
    }
}

/// A containerd of the test's own, as Kubernetes uses it.
pub(crate) struct Containerd {
    daemon: Daemon,
    tasks: std::cell::RefCell<Vec<String>>,
}

impl Containerd {
    /// Starts it.
    pub(crate) fn start(namespace: &Namespace) -> Option<Self> {
        let daemon = Daemon::start(namespace, "containerd", |folder, _| {
            let at = |name: &str| folder.join(name).display().to_string();
            let config = "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n";
            std::fs::write(folder.join("config.toml"), config).unwrap();
            vec![
                format!("--config={}", at("config.toml")),
                format!("--root={}", at("root")),
                format!("--state={}", at("state")),
                format!("--address={}", at("containerd.sock")),
            ]
        })?;
        let containerd = Self { daemon, tasks: std::cell::RefCell::default() };
        containerd.daemon.wait(|| containerd.client(&["version"]));
        Some(containerd)
    }

    fn client(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(self.daemon.path("containerd.sock")).args(["--namespace", "k8s.io"]);
        command.args(arguments);
        command
    }

    /// Starts a container with an id in a pod, with these annotations, as the kubelet would have it started.
    pub(crate) fn run(&self, pod: &str, id: &str, annotations: &[(&str, &str)], command: &[&str]) {
        let group = format!("/{}/kubepods/besteffort/pod{pod}/{id}", self.daemon.group);
        let image = self.daemon.path("image").display().to_string();
        let annotations: Vec<String> = annotations
            .iter()
            .flat_map(|(key, value)| ["--annotation".to_owned(), format!("{key}={value}")])
            .collect();
        let mut run = self.client(&[
            "run",
            "--detach",
            "--null-io",
            "--env",
            "PATH=/bin",
            "--rootfs",
            "--cgroup",
            &group,
        ]);
        run.args(annotations).arg(image).arg(id).args(command);
        self.daemon.done(run);
        self.tasks.borrow_mut().push(id.to_owned());
    }

    /// Ends one.
    pub(crate) fn end(&self, id: &str) {
        let _ended_already = self.client(&["task", "kill", "--signal", "SIGKILL", id]).output();
        eventually("the container ends", || {
            self.client(&["task", "delete", id]).output().is_ok_and(|output| {
                output.status.success() || String::from_utf8_lossy(&output.stderr).contains("not found")
            })
        });
        let _removed_already = self.client(&["container", "delete", id]).output();
    }

    /// The folder of its state, for `inventory.names.containerd`.
    pub(crate) fn state(&self) -> PathBuf {
        self.daemon.path("state")
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        for id in std::mem::take(&mut *self.tasks.borrow_mut()) {
            self.end(&id);
        }
    }
}

/// Whether a program is there.
fn found(program: &str) -> bool {
    which(program).is_some()
}

fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/sbin"]).map(Path::new);
    folders.map(|folder| folder.join(program)).find(|file| file.is_file())
}
