//! The source in this process, whose cycles the test makes, and containers that are control groups of the test's own with a
//! process in each that connects as it is told.

use crate::support::maps::{self, Map};
use crate::support::{Namespace, PATIENCE, skipped};
use connscope::host::inventory::{Inventory, config};
use connscope::metric::Value;
use connscope::metric::distribution::Distribution;
use connscope::reading::Readings;
use connscope::source::Source;
use connscope::source::containers::Containers;
use connscope::source::containers::config::tcp::{FoldPorts, Public, Tcp};
use connscope::source::containers::config::{Classic, Containers as Settings, Delay, Oom};
use connscope::stop::Stop;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What it is told by default: every destination is shown as it is.
pub(super) fn tcp() -> Tcp {
    let shown = Tcp { public: Public::Each, fold_ports: FoldPorts::None, loopback: true, ..Tcp::default() };
    Tcp { translate: false, ..shown }
}

/// The source, and the names of its containers.
pub(super) struct Lab {
    source: Containers,
    docker: tempfile::TempDir,
    stop: Stop,
    /// The maps of its programs.
    pub(super) maps: BTreeSet<Map>,
    /// Why parts of the last cycle failed.
    pub(super) failed: Vec<String>,
}

/// One series: the name of its metric, its labels, its number.
#[derive(Debug, Clone)]
pub(super) struct Series {
    pub(super) text: String,
    /// Of a distribution how many values it has.
    pub(super) value: f64,
    pub(super) distribution: Option<Distribution>,
}

/// Held while programs are loaded in this process: a lab knows its maps by when they were made.
pub(super) fn alone() -> MutexGuard<'static, ()> {
    static LOADING: Mutex<()> = Mutex::new(());
    LOADING.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop.drain();
    }
}

impl Lab {
    /// Starts the programs; its first cycle is over. `None` where they cannot be loaded, which in CI they can.
    pub(super) fn new(tcp: Tcp, retention: Duration, limit: usize) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skipped("needs root to make control groups and to load programs");
            return None;
        }
        let docker = tempfile::tempdir().unwrap();
        let names = config::Names {
            docker: vec![docker.path().to_owned()],
            containerd: Vec::new(),
            crio: Vec::new(),
            ..config::Names::default()
        };
        let inventory = config::Inventory { units: false, retention, limit, names, ..Default::default() };
        let inventory = Arc::new(Inventory::new(&inventory));
        let classic = Classic { enabled: true };
        let settings =
            Settings { enabled: true, tcp, classic, oom: Oom::Off, delay: Delay::Off, ..Settings::default() };
        let stop = Stop::new().unwrap();
        let source = Containers::new(&settings, Arc::clone(&inventory), None, &stop);
        let _alone = alone();
        // By number: the memory of other labs' maps changes meanwhile.
        let before: BTreeSet<u32> = maps::all().iter().map(|map| map.memory().1).collect();
        let (maps, failed) = (BTreeSet::new(), Vec::new());
        let mut lab = Self { source, docker, stop, maps, failed };
        lab.cycle();
        lab.maps = maps::all().into_iter().filter(|map| !before.contains(&map.memory().1)).collect();
        Some(lab)
    }

    /// One cycle.
    pub(super) fn cycle(&mut self) -> Vec<Series> {
        let mut out = Readings::default();
        self.source.read(&mut out).unwrap();
        let (readings, failures) = out.into_parts();
        self.failed = failures.iter().map(|failure| format!("{}: {}", failure.part, failure.error)).collect();
        let number = |value: &Value| match value {
            Value::U64(number) => float(*number),
            Value::I64(number) => float(u64::try_from(*number).unwrap()),
            Value::F64(number) => *number,
            Value::Distribution(distribution) => float(distribution.counts().iter().sum()),
        };
        let series = |reading: &connscope::reading::Reading| {
            let labels = reading.labels.iter().map(|(label, value)| format!("{}={value}", label.key()));
            let labels = labels.collect::<Vec<_>>().join(",");
            let text = format!("{}{{{labels}}}", reading.metric.name);
            let distribution = match &reading.value {
                Value::Distribution(distribution) => Some(distribution.as_ref().clone()),
                _ => None,
            };
            Series { text, value: number(&reading.value), distribution }
        };
        readings.iter().map(series).collect()
    }

    /// Makes cycles until one is as it should be.
    pub(super) fn until(&mut self, what: &str, mut so: impl FnMut(&[Series]) -> bool) -> Vec<Series> {
        let until = Instant::now() + PATIENCE;
        loop {
            let series = self.cycle();
            if so(&series) {
                return series;
            }
            let told: Vec<_> = series.iter().filter(|one| !one.text.contains("classic")).collect();
            assert!(Instant::now() < until, "never: {what}: {:?} {told:#?}", self.failed);
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until every series has its number. Each is said by parts of its name and labels.
    pub(super) fn sees(&mut self, wanted: &[(&[&str], f64)]) -> Vec<Series> {
        self.until(&format!("{wanted:?}"), |series| {
            wanted.iter().all(|(parts, number)| sum(series, parts) == Some(*number))
        })
    }

    /// A container with a name, whose process is in a network namespace.
    pub(super) fn container(&self, name: &str, namespace: Option<&Namespace>) -> Container {
        self.published(name, namespace, "{}")
    }

    /// The same, which publishes ports: `NetworkSettings.Ports`.
    pub(super) fn published(&self, name: &str, namespace: Option<&Namespace>, ports: &str) -> Container {
        let id = id();
        self.write(&id, name, ports);
        Self::start(&id, namespace)
    }

    /// The same, of which no file says the name.
    pub(super) fn unnamed(namespace: Option<&Namespace>) -> Container {
        Self::start(&id(), namespace)
    }

    /// Has Docker's file of a container say something else.
    pub(super) fn publishes(&self, container: &Container, name: &str, ports: &str) {
        self.write(container.directory.file_name().unwrap().to_str().unwrap(), name, ports);
    }

    fn write(&self, id: &str, name: &str, ports: &str) {
        let files = self.docker.path().join("containers").join(id);
        std::fs::create_dir_all(&files).unwrap();
        let text =
            format!(r#"{{"Name":"/{name}","Config":{{"Image":"x"}},"NetworkSettings":{{"Ports":{ports}}}}}"#);
        // As Docker does it: another file takes its place.
        std::fs::write(files.join("new"), text).unwrap();
        std::fs::rename(files.join("new"), files.join("config.v2.json")).unwrap();
    }

    fn start(id: &str, namespace: Option<&Namespace>) -> Container {
        let directory = hierarchy().join(unique()).join(id);
        std::fs::create_dir_all(&directory).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/containers/peers.pl");
        let mut command = Command::new("perl");
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = match namespace {
            Some(namespace) => namespace.inside(|| command.spawn()),
            None => command.spawn(),
        };
        let mut child = child.unwrap();
        let (said, told) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut container = Container { child, said, told: BufReader::new(told), directory };
        container.ok(&format!("move {}", container.directory.display()));
        container
    }

    /// Where the names of its containers are, for `inventory.names.docker`.
    pub(super) fn names(&self) -> &Path {
        self.docker.path()
    }

    /// Writes an entry into a map.
    pub(super) fn write_entry(&self, map: &str, key: &[u8], value: &[u8]) {
        maps::named(&self.maps, map).write(key, value);
    }

    /// How many entries a map has.
    pub(super) fn entries(&self, map: &str) -> usize {
        maps::named(&self.maps, map).keys().len()
    }
}

/// The sum of the series whose text has all of these parts; `None` if there is none.
pub(super) fn sum(series: &[Series], parts: &[&str]) -> Option<f64> {
    let found = series.iter().filter(|one| parts.iter().all(|part| one.text.contains(part)));
    found.map(|one| one.value).reduce(|sum, more| sum + more)
}

#[expect(clippy::cast_precision_loss, reason = "what a test counts is far from 2^53")]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

/// A container: a control group, and the process in it.
pub(super) struct Container {
    child: Child,
    said: ChildStdin,
    told: BufReader<ChildStdout>,
    pub(super) directory: PathBuf,
}

impl Container {
    /// Tells the process to do something; what it answers.
    pub(super) fn tell(&mut self, command: &str) -> String {
        writeln!(self.said, "{command}").unwrap();
        let mut answer = String::new();
        self.told.read_line(&mut answer).unwrap();
        answer.trim().to_owned()
    }

    /// The same, which must succeed.
    pub(super) fn ok(&mut self, command: &str) {
        assert_eq!(self.tell(command), "ok", "{command}");
    }

    /// The pid of the process.
    pub(super) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Takes the process out of the group.
    pub(super) fn leave(&mut self) {
        self.ok(&format!("move {}", hierarchy().display()));
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
        remove_group(&self.directory);
    }
}

/// Removes the control group of a process that was killed, and the one above it. The group is empty once the kernel has let go of the
/// process.
pub(super) fn remove_group(group: &Path) {
    for directory in [group, group.parent().unwrap()] {
        let until = Instant::now() + Duration::from_secs(5);
        while std::fs::remove_dir(directory).is_err() && directory.exists() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The hierarchy that says most: `group_of` in `bpf/group.h`.
fn hierarchy() -> &'static Path {
    let memory = Path::new("/sys/fs/cgroup/memory");
    if memory.is_dir() { memory } else { Path::new("/sys/fs/cgroup") }
}

static COUNT: AtomicU32 = AtomicU32::new(0);

fn unique() -> String {
    format!("connscope-lab-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn id() -> String {
    format!("{:032x}{:032x}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}
