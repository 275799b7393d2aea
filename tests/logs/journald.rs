//! The journal of systemd: a journald of the test's own, and files as systemd-journal-remote writes them.

use super::Running;
use super::service::Service;
use crate::support::agent::Public;
use crate::support::eventually;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

const MESSAGES: &str = "container_log_messages_total";
const IO: &str = "container_log_io_bytes_total";
const LOST: &str = "connscope_logs_lost_bytes_total";
const MALFORMED: &str = "connscope_logs_malformed_total";
const JOURNALD: &str = "log_source=\"journald\"";

/// journald in a mount namespace of its own, with `/run` and `/var/log` of its own.
struct Journald {
    shell: Child,
    into: ChildStdin,
    from: BufReader<ChildStdout>,
    folder: tempfile::TempDir,
}

impl Journald {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        std::fs::create_dir_all(log.join("journal")).unwrap();
        let conf = folder.path().join("conf");
        std::fs::write(
            &conf,
            "[Journal]\nStorage=persistent\nReadKMsg=no\nRateLimitBurst=0\nSyncIntervalSec=1\n",
        )
        .unwrap();
        let mut shell = Command::new("unshare")
            .args(["--mount", "sh", "-e"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare is needed (make test installs it)");
        let (into, from) = (shell.stdin.take().unwrap(), BufReader::new(shell.stdout.take().unwrap()));
        let mut journald = Self { shell, into, from, folder };
        journald.run(&format!(
            "mount -t tmpfs none /run; mount --bind {} /var/log; mount --bind {} /etc/systemd/journald.conf
             mkdir -p /run/systemd/journal; : > /run/systemd/journal/flushed
             /usr/lib/systemd/systemd-journald > /dev/null 2>&1 &
             journald=$!
             until [ -S /run/systemd/journal/io.systemd.journal ]; do sleep 0.05; done",
            log.display(),
            conf.display()
        ));
        journald
    }

    /// Where its files are.
    fn directory(&self) -> PathBuf {
        self.folder.path().join("log/journal")
    }

    /// Runs a script in the namespace, to its end.
    fn run(&mut self, script: &str) {
        write!(self.into, "{script}\necho done\n").unwrap();
        let mut line = String::new();
        self.from.read_line(&mut line).unwrap();
        assert_eq!(line, "done\n", "{script}");
    }

    /// Sends entries of the native protocol, as a process of a service, which lives until journald has looked at it.
    fn send(&mut self, service: &Service, entries: &[Vec<u8>]) {
        let path = self.folder.path().join("entries");
        let bytes: Vec<u8> = entries
            .iter()
            .flat_map(|entry| [&u32::try_from(entry.len()).unwrap().to_be_bytes(), &**entry].concat())
            .collect();
        std::fs::write(&path, bytes).unwrap();
        let groups: Vec<String> = service.groups.iter().map(|group| group.display().to_string()).collect();
        let groups = groups.join(" ");
        let perl = "use Socket; socket(S, AF_UNIX, SOCK_DGRAM, 0) or die; \
                    connect(S, pack_sockaddr_un(\"/run/systemd/journal/socket\")) or die $!; \
                    while (read(STDIN, $n, 4)) { read(STDIN, $e, unpack(\"N\", $n)); defined(send(S, $e, 0)) or die $! } system(\"journalctl --sync\")";
        self.run(&format!("sh -c 'for group in {groups}; do echo $$ > $group/cgroup.procs; done; exec perl -e \"$1\"' sh '{perl}' < {}", path.display()));
    }

    /// Begins another file.
    fn rotate(&mut self) {
        self.run("journalctl --rotate > /dev/null");
    }
}

impl Drop for Journald {
    fn drop(&mut self) {
        let _ended_already = writeln!(self.into, "kill $journald; wait $journald || :; exit");
        let _reaped = self.shell.wait();
    }
}

/// An entry with a message and further fields.
fn entry(message: &str, fields: &str) -> Vec<u8> {
    let mut entry = fields.as_bytes().to_vec();
    entry.extend_from_slice(b"MESSAGE\n");
    entry.extend_from_slice(&(message.len() as u64).to_le_bytes());
    entry.extend_from_slice(message.as_bytes());
    entry.push(b'\n');
    entry
}

fn reading(directory: &Path) -> Running {
    let settings = format!("docker: false, cri: false, files: false, journald: {}", directory.display());
    Running::new(&settings, "{}")
}

#[test]
fn entries_of_a_service_are_messages_by_what_they_say_else_by_their_priority() {
    let Some(service) = Service::new() else { return };
    let mut journald = Journald::start();
    journald.send(&service, &[entry("ERROR before the agent was started", "PRIORITY=3\n")]);
    let agent = reading(&journald.directory());
    agent.sees("connscope_logs_files", &[JOURNALD], 1.0);
    let unit = service.label();
    let sees = |severity: &str, count: f64| {
        agent.sees(MESSAGES, &[&unit, JOURNALD, &format!("severity=\"{severity}\"")], count);
    };
    let mut entries: Vec<Vec<u8>> =
        (0..8).map(|priority| entry("no word", &format!("PRIORITY={priority}\n"))).collect();
    // The text comes before the priority, and lines of one entry are one message.
    entries.push(entry("ERROR it broke\nTraceback:\n  line\nnot indented, no time", "PRIORITY=6\n"));
    entries.push(entry("{\"level\":\"warn\",\"msg\":\"slow\"}", "PRIORITY=6\n"));
    entries.push(entry("no priority", ""));
    // What an engine writes for a container is not a message of the engine.
    entries.push(entry("ERROR of a container", "PRIORITY=3\nCONTAINER_ID_FULL=0123456789abcdef\n"));
    journald.send(&service, &entries);
    sees("critical", 3.0);
    sees("error", 2.0);
    sees("warning", 2.0);
    sees("info", 2.0);
    sees("debug", 1.0);
    sees("unknown", 1.0);
    // What is no text: a field of bytes, and a long one, which journald compresses.
    let bytes =
        [&b"MESSAGE\n\x0d\0\0\0\0\0\0\0"[..], b"ERROR \xff\0\x1b[1mx\nBLOB\n\x03\0\0\0\0\0\0\0\0\xff=\n"]
            .concat();
    let long = format!("ERROR {}", "long ".repeat(20_000));
    let before: f64 = agent.values(IO, &[&unit]).iter().sum();
    journald.send(&service, &[bytes, entry(&long, "PRIORITY=3\n")]);
    sees("error", 4.0);
    agent.sees(IO, &[&unit], before + 13.0 + 100_006.0);
    agent.sees(LOST, &["reason=\"line_too_long\""], 100_006.0 - 65_536.0);
    agent.sees(LOST, &["reason=\"journal\""], 0.0);
    agent.sees(MALFORMED, &[JOURNALD], 0.0);
}

#[test]
fn a_journal_that_is_rotated_and_vacuumed_is_read_to_its_end() {
    let Some(service) = Service::new() else { return };
    let mut journald = Journald::start();
    journald.send(&service, &[entry("before", "")]);
    let agent = reading(&journald.directory());
    agent.sees("connscope_logs_files", &[JOURNALD], 1.0);
    let labels = [&service.label(), "severity=\"error\""];
    for round in 1..=4 {
        let entries = |count: usize| -> Vec<Vec<u8>> {
            (0..count)
                .map(|number| entry(&format!("ERROR order {number} of {round}"), "PRIORITY=3\n"))
                .collect()
        };
        journald.send(&service, &entries(400));
        journald.rotate();
        journald.send(&service, &entries(100));
        agent.sees(MESSAGES, &labels, f64::from(round * 500));
        // journald takes the blocks of what it removes, also from under those who have it open.
        journald.run("journalctl --vacuum-files=1 > /dev/null 2>&1");
    }
    agent.sees("connscope_logs_files", &[JOURNALD], 1.0);
    agent.sees(LOST, &[], 0.0);
    agent.sees(MALFORMED, &[JOURNALD], 0.0);
}

/// A journal that is written from entries in the export format, as they come.
struct Remote {
    child: Child,
    into: Option<ChildStdin>,
}

impl Remote {
    /// Writes to a file.
    fn start(file: &Path) -> Self {
        let mut child = Command::new("/usr/lib/systemd/systemd-journal-remote")
            .arg("--output")
            .arg(file)
            .arg("-")
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("systemd-journal-remote is needed (make test installs it)");
        let into = child.stdin.take();
        Self { child, into }
    }

    /// Writes an entry of a unit, now.
    fn entry(&mut self, unit: &str, message: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros();
        let boot = "0123456789abcdef0123456789abcdef";
        let into = self.into.as_mut().unwrap();
        write!(
            into,
            "__REALTIME_TIMESTAMP={now}\n__MONOTONIC_TIMESTAMP={now}\n_BOOT_ID={boot}\n_SYSTEMD_UNIT={unit}\nPRIORITY=6\nMESSAGE={message}\n\n"
        )
        .unwrap();
        into.flush().unwrap();
    }

    /// Ends, after all was written.
    fn end(mut self) {
        self.into = None;
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.into = None;
        let _ended = self.child.wait();
    }
}

#[test]
fn entries_that_name_a_unit_alone_are_its_own() {
    let Some(service) = Service::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let agent = reading(folder.path());
    let labels = [&*service.label(), "severity=\"error\""];
    let long = format!("ERROR {}", "long ".repeat(1000));
    let mut remote = Remote::start(&folder.path().join("remote.journal"));
    for message in [&long, "ERROR short", &long] {
        remote.entry(&service.unit, message);
    }
    remote.entry("other.service", "ERROR of another");
    agent.sees(MESSAGES, &labels, 3.0);
    agent.sees(IO, &[&service.label()], 2.0 * 5006.0 + 11.0);
    agent.sees(LOST, &[], 0.0);
}

#[test]
fn journals_that_cannot_be_read_stop_nothing() {
    let Some(service) = Service::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("text.journal"), "no journal\n".repeat(100)).unwrap();
    std::fs::write(at("empty.journal"), "").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", at("link.journal")).unwrap();
    assert!(Command::new("mkfifo").arg(at("fifo.journal")).status().unwrap().success());
    let mut cut = Remote::start(&at("cut.journal"));
    cut.entry(&service.unit, "ERROR before");
    eventually("it is written", || std::fs::metadata(at("cut.journal")).is_ok_and(|file| file.len() > 1000));
    let mut agent = reading(folder.path());
    agent.sees(MALFORMED, &[JOURNALD], 1.0);
    agent.agent.wait_for("text.journal is not read: it is not a journal file");
    // A feature that is not known yet.
    let mut future = std::fs::read(at("cut.journal")).unwrap();
    future[13] |= 0x80;
    std::fs::write(at("future.journal.new"), future).unwrap();
    std::fs::rename(at("future.journal.new"), at("future.journal")).unwrap();
    agent.agent.wait_for("it has unknown features (incompatible flags 0x8000)");
    // One that is cut off under the reader, while another is written.
    cut.end();
    let labels = [&*service.label(), "severity=\"error\""];
    std::fs::OpenOptions::new().write(true).open(at("cut.journal")).unwrap().set_len(100).unwrap();
    agent.agent.wait_for("cut.journal is not read:");
    let mut good = Remote::start(&at("good.journal"));
    good.entry(&service.unit, "ERROR after");
    agent.sees(MESSAGES, &labels, 1.0);
    agent.sees(MALFORMED, &[JOURNALD], 3.0);
    agent.sees("connscope_source_up", &["source=\"logs\""], 1.0);
}

#[test]
fn check_says_where_the_journal_is_and_what_it_takes_to_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let mode =
        |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(folder.path(), 0o755);
    let check = |directory: &Path, capabilities: &[&str]| -> (String, String) {
        let public = Public::new(&format!(
            "sources:\n  conntrack: {{enabled: false}}\n  sockets: {{enabled: false}}\n  \
             logs: {{enabled: true, docker: false, cri: false, files: false, journald: {}}}\n",
            directory.display()
        ));
        let output = public.nobody(capabilities, &["check", "--format", "json"]).output().unwrap();
        let checks: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = checks.as_array().unwrap();
        let journald = checks.iter().find(|check| check["source"] == "logs").unwrap();
        (journald["status"].as_str().unwrap().to_owned(), journald.to_string())
    };
    assert_eq!(check(folder.path(), &[]).0, "absent");
    for number in 0..3 {
        let path = folder.path().join(format!("{number}.journal"));
        std::fs::write(&path, "").unwrap();
        mode(&path, 0o640);
    }
    let (status, text) = check(folder.path(), &[]);
    assert_eq!(status, "denied", "{text}");
    assert!(text.contains("CAP_DAC_READ_SEARCH or the group systemd-journal"), "{text}");
    let (status, text) = check(folder.path(), &["dac_read_search"]);
    assert_eq!(status, "works", "{text}");
    assert!(text.contains(&format!("{}, 3 files", folder.path().display())), "{text}");
}
