//! A control group as systemd or an engine makes it, and a process in it with a `/var/log` of its own.

use crate::support::{eventually, skipped};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A control group, in every hierarchy that says whose a process is.
pub(super) struct Service {
    pub(super) unit: String,
    pub(super) groups: Vec<PathBuf>,
}

impl Service {
    /// That of a service of systemd.
    pub(super) fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let unit = format!("connscope-{}-{number}.service", std::process::id());
        Self::at(&format!("/system.slice/{unit}"), unit)
    }

    /// That at a path.
    pub(super) fn at(path: &str, unit: String) -> Option<Self> {
        let hierarchies = connscope::host::cgroup::hierarchies().unwrap();
        let of_systemd = hierarchies.iter().filter(|one| ["v2", "name=systemd"].contains(&one.word));
        let groups: Vec<PathBuf> = of_systemd.map(|one| one.mount.directory(path)).collect();
        // Another test may take the slice away just before its first group is made.
        let made = |group: &PathBuf| (0..10).any(|_| std::fs::create_dir_all(group).is_ok());
        if !groups.iter().all(made) {
            skipped("needs root to make control groups");
            return None;
        }
        Some(Self { unit, groups })
    }

    pub(super) fn label(&self) -> String {
        format!("systemd_unit=\"{}\"", self.unit)
    }

    /// An inventory of this service alone, without those of tests that are run at the same time.
    pub(super) fn alone(&self) -> String {
        format!("{{include: ['/system\\.slice/{}']}}", self.unit)
    }

    /// Has a process in it that runs what it is told, with a `/var/log` of its own.
    pub(super) fn process(&self) -> Process {
        let groups: Vec<String> = self.groups.iter().map(|group| group.display().to_string()).collect();
        let script = format!(
            "for group in {}; do echo $$ > $group/cgroup.procs; done
             exec unshare --mount sh -c 'mount -t tmpfs none /var/log; while read -r line; do eval \"$line\"; echo done; done; kill $sleeping 2>/dev/null'",
            groups.join(" ")
        );
        let mut shell = Command::new("sh")
            .args(["-ec", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare is needed (make test installs it)");
        let (into, from) = (shell.stdin.take(), BufReader::new(shell.stdout.take().unwrap()));
        let mut process = Process { shell, into, from };
        process.tell(":");
        process
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        for group in &self.groups {
            // Whoever was in it has ended; the kernel may need a moment to know.
            eventually("the group is empty", || std::fs::remove_dir(group).is_ok() || !group.exists());
            // A group above it that is left would say that somebody uses this version of control groups. It stays while it has
            // others, as the root does.
            let _above = group.ancestors().skip(1).find(|above| std::fs::remove_dir(above).is_err());
        }
    }
}

/// A process of a service.
pub(super) struct Process {
    shell: Child,
    into: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Process {
    /// Runs a line of shell, to its end.
    pub(super) fn tell(&mut self, line: &str) {
        writeln!(self.into.as_mut().unwrap(), "{line}").unwrap();
        let mut said = String::new();
        self.from.read_line(&mut said).unwrap();
        assert_eq!(said, "done\n", "{line}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It ends with its input, and with it the one that it calls `sleeping`.
        self.into = None;
        let _reaped = self.shell.wait();
    }
}
