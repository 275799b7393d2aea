//! Time waited, processes killed for memory, and connections that fail at once: real containers, against what the kernel
//! says of the same processes elsewhere.

use super::{file, value};
use crate::support::agent::behind;
use crate::support::engine::Docker;
use crate::support::{Agent, Namespace, PATIENCE, eventually, get, scraped};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

/// A Docker, and an agent that looks at its containers.
pub(super) struct Watch {
    agent: Agent,
    file: tempfile::NamedTempFile,
    address: SocketAddr,
}

impl Watch {
    /// `settings` are those of the source; `starter` starts the program.
    pub(super) fn new(docker: &Docker, settings: &str, starter: &[&str]) -> Self {
        let file = file(&format!(
            "inventory: {{units: false, names: {{docker: [{}], kubelet: , containerd: [], crio: []}}}}\n\
             sources:\n  conntrack: {{enabled: false}}\n  sockets: {{enabled: false}}\n  \
             containers: {{enabled: true, {settings}}}\n",
            docker.data().display()
        ));
        let program = scraped(file.path());
        let program = if starter.is_empty() { program } else { behind(starter, &program) };
        let mut agent = Agent::start(program);
        let address = agent.address();
        let watch = Self { agent, file, address };
        watch.scrape();
        watch
    }

    pub(super) fn scrape(&self) -> String {
        get(self.address, "/metrics").1
    }

    /// A file that can be copied into a container.
    pub(super) fn file(&self) -> &std::path::Path {
        self.file.path()
    }

    /// What the agent has logged.
    pub(super) fn log(&self) -> Vec<String> {
        self.agent.log.all()
    }

    pub(super) fn signal(&self, signal: rustix::process::Signal) {
        self.agent.signal(signal);
    }

    pub(super) fn delay(&self, name: &str) -> f64 {
        value(&self.scrape(), "container_cpu_delay_time_seconds_total", &[&named(name)]).unwrap_or_default()
    }

    pub(super) fn via(&self, part: &str, via: &str) {
        let labels = [format!("part=\"{part}\""), format!("via=\"{via}\"")];
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let text = self.scrape();
        assert_eq!(value(&text, "connscope_containers_source", &labels), Some(1.0), "{text}");
    }

    /// Waits until a series has a value.
    fn sees(&self, metric: &str, labels: &[&str], wanted: f64) {
        let until = Instant::now() + PATIENCE;
        loop {
            let text = self.scrape();
            let found = value(&text, metric, labels);
            if found == Some(wanted) {
                return;
            }
            let told: Vec<&str> = text.lines().filter(|line| line.starts_with("container_")).collect();
            assert!(Instant::now() < until, "{metric} {labels:?} is {found:?}, not {wanted}: {told:#?}");
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
}

pub(super) fn named(name: &str) -> String {
    format!("container_name=\"{name}\"")
}

/// Time that a process was runnable and did not run, seconds.
fn run_delay(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap();
    text.split(' ').nth(1).unwrap().parse::<f64>().unwrap() / 1e9
}

/// The directories of a container's control groups.
pub(super) fn groups(docker: &Docker, id: &str) -> Vec<PathBuf> {
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/memory"];
    let directories = roots.map(|root| PathBuf::from(format!("{root}{}/{id}", docker.group())));
    directories.into_iter().filter(|directory| directory.is_dir()).collect()
}

fn processes(docker: &Docker, id: &str) -> Vec<u32> {
    let directory = groups(docker, id).into_iter().next().unwrap();
    let list = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap();
    list.lines().map(|pid| pid.parse().unwrap()).collect()
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Stops processes: what is counted of them then, and what `schedstat` says of them. Neither changes while they are stopped.
fn stopped(watch: &Watch, processes: &[u32]) -> (f64, f64) {
    for pid in processes {
        signal(*pid, rustix::process::Signal::STOP);
    }
    let is_stopped = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") T "))
    };
    eventually("they are stopped", || processes.iter().all(is_stopped));
    (watch.delay("busy"), processes.iter().map(|pid| run_delay(*pid)).sum())
}

/// Two loops that have one CPU between them: what is counted from one stop to the next is what `schedstat` says of them. What the
/// processes waited before they were in the container is in neither, and nothing else runs in it meanwhile.
fn two_loops(settings: &str, via: &str) {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let watch = Watch::new(&docker, settings, &[]);
    let id =
        docker.run("busy", &["--cpuset-cpus", "0"], &["sh", "-c", "yes >/dev/null & yes >/dev/null & wait"]);
    watch.via("delay", via);
    let mut running = Vec::new();
    eventually("the shell and both loops run", || {
        running = processes(&docker, &id);
        running.len() == 3
    });
    eventually("it has waited for a CPU", || watch.delay("busy") > 0.5);
    let (told, waited) = stopped(&watch, &running);
    for pid in &running {
        signal(*pid, rustix::process::Signal::CONT);
    }
    eventually("it has waited for a CPU again", || watch.delay("busy") > told + 2.0);
    let (last, total) = stopped(&watch, &running);
    let (told, waited) = (last - told, total - waited);
    assert!((told - waited).abs() < 0.02 * waited, "{told} counted, {waited} in schedstat");
    for pid in &running {
        signal(*pid, rustix::process::Signal::CONT);
    }
    let told = last;
    docker.docker(&["restart", "--time", "0", "busy"]);
    eventually("counters go on after a restart", || {
        let now = watch.delay("busy");
        assert!(now >= told, "{now} after {told}");
        now > told
    });
    watch.sees("container_restarts_total", &[&named("busy")], 1.0);
}

#[test]
fn time_waited_for_a_cpu_is_what_schedstat_says_of_two_loops_on_one_cpu() {
    two_loops("delay: bpf", "bpf");
}

#[test]
fn taskstats_say_the_same_of_two_loops_on_one_cpu() {
    two_loops("delay: taskstats", "taskstats");
}

#[test]
fn processes_that_live_some_milliseconds_are_counted_by_programs_and_by_taskstats() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let programs = Watch::new(&docker, "delay: bpf", &[]);
    let taskstats = Watch::new(&docker, "delay: taskstats", &[]);
    taskstats.via("delay", "taskstats");
    let say = "read a b c </proc/self/schedstat; echo $b";
    // A script of its own for each is a process of its own; `read` is a part of the shell.
    let one = format!("i=0; while [ $i -lt 1500 ]; do i=$((i+1)); done; {say}");
    let all = format!(
        "while [ ! -e /go ]; do sleep 1; done; yes >/dev/null & yes=$!; \
         for n in $(seq 200); do sh -c '{one}'; done; \
         kill -STOP $yes; read a b c </proc/$yes/schedstat; echo $b; {say}; echo done; sleep 600"
    );
    docker.run("short", &["--cpuset-cpus", "0"], &["sh", "-c", &all]);
    // The runtime, which begins in the container, has come and gone; the parent of all is known to taskstats.
    eventually("it is known", || {
        let uptime = |watch: &Watch| value(&watch.scrape(), "container_uptime_seconds", &[&named("short")]);
        uptime(&programs) > Some(2.0) && uptime(&taskstats) > Some(2.0)
    });
    let before = (programs.delay("short"), taskstats.delay("short"));
    docker.docker(&["cp", programs.file().to_str().unwrap(), "short:/go"]);
    let mut logs = String::new();
    eventually("they have run", || {
        logs = docker.docker(&["logs", "short"]);
        logs.ends_with("done")
    });
    let waited: Vec<f64> = logs.lines().filter_map(|line| Some(line.parse::<f64>().ok()? / 1e9)).collect();
    assert_eq!(waited.len(), 202, "{logs}");
    let waited: f64 = waited.iter().sum();
    let after = (programs.delay("short"), taskstats.delay("short"));
    let (by_programs, by_taskstats) = (after.0 - before.0, after.1 - before.1);
    // What each has waited after it has said how long it did is missing there.
    assert!(by_programs > 0.98 * waited, "{by_programs} counted, {waited} said by themselves");
    let difference = (by_programs - by_taskstats).abs();
    assert!(difference < 0.1 * by_programs, "{by_programs} by programs, {by_taskstats} by taskstats");
}

#[test]
fn a_process_that_is_killed_for_memory_is_counted_while_its_container_lives_on_and_after_it_is_gone() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let watch = Watch::new(&docker, "oom: bpf", &[]);
    watch.via("oom", "bpf");
    let memory = ["--memory", "20m", "--memory-swap", "20m"];
    // `tail` keeps the last line, which has no end.
    let id = docker.run("survivor", &memory, &["sh", "-c", "tail /dev/zero; tail /dev/zero; sleep 600"]);
    docker.run("killed", &[], &["sleep", "600"]);
    docker.docker(&["kill", "killed"]);
    let kills = "container_oom_kills_total";
    // Gone before anybody looks.
    let mut gone = docker.command(
        &[&["run", "--rm", "--name", "gone"], &memory[..], &["busybox", "tail", "/dev/zero"]].concat(),
    );
    assert_eq!(gone.output().unwrap().status.code(), Some(137), "SIGKILL");
    let first = watch.scrape();
    assert_eq!(value(&first, kills, &[&named("gone")]), Some(0.0), "it begins at 0: {first}");
    watch.sees(kills, &[&named("gone")], 1.0);
    watch.sees(kills, &[&named("survivor")], 2.0);
    watch.sees(kills, &[&named("killed")], 0.0);
    let files = groups(&docker, &id).into_iter().flat_map(|group| {
        ["memory.oom_control", "memory.events"].map(|name| std::fs::read_to_string(group.join(name)))
    });
    let counted: Vec<String> = files
        .filter_map(Result::ok)
        .filter_map(|text| text.lines().find_map(|line| line.strip_prefix("oom_kill ").map(str::to_owned)))
        .collect();
    assert!(counted.contains(&"2".to_owned()), "the kernel itself says {counted:?}");
    docker.docker(&["restart", "--time", "0", "survivor"]);
    watch.sees(kills, &[&named("survivor")], 4.0);
}

#[test]
fn a_connection_that_fails_at_once_is_counted_once() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let watch = Watch::new(&docker, "tcp: {immediate_failures: true, loopback: true, fold_ports: none}", &[]);
    let script = "nc 10.9.8.7 80; nc 10.9.8.7 80; nc 127.0.0.1 81; sleep 600";
    docker.run("lost", &["--network", "none"], &["sh", "-c", script]);
    let connections = "container_tcp_connections_total";
    let name = named("lost");
    let failed = |port: &str, reason: &str, count: f64| {
        let labels = [format!("server_port=\"{port}\""), format!("error_type=\"{reason}\"")];
        watch.sees(connections, &[&name, &labels[0], &labels[1]], count);
    };
    failed("80", "network_unreachable", 2.0);
    failed("81", "connection_refused", 1.0);
}
