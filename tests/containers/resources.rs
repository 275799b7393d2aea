//! What real containers use and may use, against what the kernel says of the same control groups.

use super::value;
use super::waiting::{Watch, named};
use crate::support::engine::Docker;
use crate::support::{Namespace, command, eventually};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const PAGE: f64 = 4096.0;

/// Settings under which only resources are read.
const ALONE: &str = "delay: off, oom: off, tcp: {enabled: false}";

/// A file of a container's control group, in the hierarchy that has it.
fn group_file(docker: &Docker, id: &str, names: [&str; 2]) -> (PathBuf, bool) {
    for (names, is_version_1) in [(names[0], true), (names[1], false)] {
        for root in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(str::to_owned).into_iter().chain(
            ["cpuacct", "cpu", "memory", "blkio"].map(|controller| format!("/sys/fs/cgroup/{controller}")),
        ) {
            let path = PathBuf::from(format!("{root}{}/{id}/{names}", docker.group()));
            if path.exists() {
                return (path, is_version_1);
            }
        }
    }
    panic!("no control group of {id} has {names:?}");
}

/// The number after a word in a text.
fn word(text: &str, word: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {word} in {text}")).trim().parse().unwrap()
}

/// CPU time of a container in seconds, as the kernel says.
fn cpu_time(docker: &Docker, id: &str) -> f64 {
    let (path, is_version_1) = group_file(docker, id, ["cpuacct.usage", "cpu.stat"]);
    let text = std::fs::read_to_string(path).unwrap();
    if is_version_1 { text.trim().parse::<f64>().unwrap() / 1e9 } else { word(&text, "usage_usec") / 1e6 }
}

/// Anonymous memory and page cache, as the kernel says.
fn memory(docker: &Docker, id: &str) -> (f64, f64) {
    let (path, _) = group_file(docker, id, ["memory.stat", "memory.stat"]);
    let text = std::fs::read_to_string(path).unwrap();
    let either = |old: &str, new: &str| word(&text, if text.contains(old) { old } else { new });
    (either("total_rss", "anon"), either("total_cache", "file"))
}

fn of(text: &str, metric: &str, container: &str, more: &[&str]) -> Option<f64> {
    let name = named(container);
    value(text, metric, &[&[name.as_str()], more].concat())
}

#[test]
fn a_container_uses_what_the_kernel_says_and_may_use_what_docker_was_told() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let watch = Watch::new(&docker, ALONE, &[]);
    let limits = ["--cpus", "0.5", "--memory", "64m"];
    let busy = docker.run("busy", &limits, &["sh", "-c", "while :; do :; done"]);
    let script = "x=$(dd if=/dev/zero bs=1M count=8 2>/dev/null | tr '\\0' x); \
                  dd if=/dev/zero of=/tmp/cached bs=1M count=16 2>/dev/null; sync; echo ready; sleep 600; : $x";
    let full = docker.run("full", &[], &["sh", "-c", script]);
    eventually("it has touched its memory", || docker.docker(&["logs", "full"]) == "ready");
    eventually("it has run for some seconds", || cpu_time(&docker, &busy) > 2.5);
    let before = cpu_time(&docker, &busy);
    let text = watch.scrape();
    let after = cpu_time(&docker, &busy);
    let used = of(&text, "container_cpu_time_seconds_total", "busy", &[]).unwrap();
    // Nanoseconds divided here and there differ in the last digit.
    assert!((before - 1e-9..=after + 1e-9).contains(&used), "{used} is not between {before} and {after}");
    assert_eq!(of(&text, "container_cpu_limit", "busy", &[]), Some(0.5));
    assert_eq!(of(&text, "container_memory_limit_bytes", "busy", &[]), Some(67_108_864.0));
    let throttled = |text: &str| of(text, "container_cpu_throttled_time_seconds_total", "busy", &[]).unwrap();
    let periods = |text: &str, which: &str| of(text, which, "busy", &[]).unwrap();
    assert!(throttled(&text) > 0.0, "{text}");
    let part = periods(&text, "container_cpu_throttled_periods_total")
        / periods(&text, "container_cpu_periods_total");
    assert!(part > 0.0 && part <= 1.0, "{part} of the periods");
    eventually("it is throttled further", || throttled(&watch.scrape()) > throttled(&text));
    let output = command(&["check", "--config", watch.file().to_str().unwrap()]).output().unwrap();
    let checked = String::from_utf8(output.stdout).unwrap();
    let line =
        checked.lines().find(|line| line.contains(" resources ")).unwrap_or_else(|| panic!("{checked}"));
    for said in ["works", "v1: ", "; v2: ", "CPU of ", "memory of ", "pressure of "] {
        assert!(line.contains(said), "{said}: {line}");
    }
    // Without limits.
    for limit in ["container_cpu_limit", "container_memory_limit_bytes"] {
        assert_eq!(of(&text, limit, "full", &[]), None, "{text}");
    }
    // Until nothing has changed meanwhile: the kernel puts off its counting.
    eventually("memory is what the kernel says", || {
        let (rss, cache) = memory(&docker, &full);
        let text = watch.scrape();
        let told = |metric: &str| of(&text, metric, "full", &[]).unwrap();
        let [usage, set] =
            ["usage", "working_set"].map(|what| told(&format!("container_memory_{what}_bytes")));
        rss > 8e6
            && cache > 16e6
            && (told("container_memory_rss_bytes") - rss).abs() <= PAGE
            && (told("container_memory_cache_bytes") - cache).abs() <= PAGE
            && usage >= rss + cache
            && (rss..=usage).contains(&set)
    });
    let some = ["resource=\"cpu\"", "kind=\"some\""];
    let stalled = |text: &str| of(text, "container_pressure_time_seconds_total", "busy", &some);
    eventually("it is stalled for want of a CPU", || {
        stalled(&watch.scrape()).is_none_or(|seconds| seconds > 0.5)
    });
}

#[test]
fn counters_go_on_when_a_container_is_started_again_and_stay_when_it_has_ended() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let watch = Watch::new(&docker, ALONE, &[]);
    // The second time it uses more than the first: that the kernel's number has fallen does not show that it began again.
    let loop_for_a_second = "i=0; [ -e /again ] && i=-600000; while [ $i -lt 300000 ]; do i=$((i+1)); done; \
                             touch /again; echo done; sleep 600";
    let id = docker.run("web", &["--cpus", "0.9"], &["sh", "-c", loop_for_a_second]);
    let ran = |times: usize| docker.docker(&["logs", "web"]).matches("done").count() == times;
    eventually("it has run", || ran(1));
    let first = cpu_time(&docker, &id);
    let used = || of(&watch.scrape(), "container_cpu_time_seconds_total", "web", &[]).unwrap();
    let told = used();
    assert!(first > 0.05 && told >= first, "{told} told, {first} used");
    docker.docker(&["restart", "--time", "0", "web"]);
    eventually("it has run again", || ran(2));
    let second = cpu_time(&docker, &id);
    assert!(second > first, "{second} after {first}");
    let told = used();
    // What is between its last reading and its end is lost; that was asleep. A sum of seconds is rounded in its last digit, one of
    // nanoseconds is not.
    let nanoseconds = |seconds: f64| (seconds * 1e9).round();
    assert!(
        nanoseconds(told) >= nanoseconds(first) + nanoseconds(second) && told < (first + second) * 1.1 + 0.05,
        "{told} after {first} and {second}"
    );
    docker.docker(&["rm", "--force", "web"]);
    eventually("it has ended", || of(&watch.scrape(), "container_memory_usage_bytes", "web", &[]).is_none());
    assert!(used() >= told, "its counters are there until its retention is over");
}

/// The disk that a path is on; `None` where it is on none that the kernel counts for.
pub(super) fn disk_of(path: &Path) -> Option<String> {
    let device = std::fs::metadata(path).unwrap().dev();
    let number = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    let link = PathBuf::from(format!("/sys/dev/block/{number}"));
    let target = std::fs::canonicalize(&link).ok()?;
    let disk = if link.join("partition").exists() { target.parent()?.to_owned() } else { target };
    Some(disk.file_name()?.to_str()?.to_owned())
}

#[test]
fn bytes_and_operations_of_a_disk_are_those_of_the_control_group() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let watch = Watch::new(&docker, ALONE, &[]);
    let volume = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let Some(name) = disk_of(volume.path()) else {
        return crate::support::skipped("the tests are on no block device");
    };
    let mount = format!("{}:/data", volume.path().display());
    // Since Linux 6.10 version 1 counts nothing of a device before there is a rule for it.
    let rule = format!("/dev/{name}:1tb");
    let options = ["--volume", &mount, "--device-write-bps", &rule];
    let script =
        "dd if=/dev/zero of=/data/file bs=1M count=16 oflag=direct 2>/dev/null; echo ready; sleep 600";
    docker.run("writer", &options, &["sh", "-c", script]);
    eventually("it has written", || docker.docker(&["logs", "writer"]) == "ready");
    let text = watch.scrape();
    let labels = [format!("system_device=\"{name}\""), "disk_io_direction=\"write\"".to_owned()];
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let written = of(&text, "container_disk_io_bytes_total", "writer", &labels).unwrap();
    assert!((16.0 * 1_048_576.0..17.0 * 1_048_576.0).contains(&written), "{written}");
    let operations = of(&text, "container_disk_operations_total", "writer", &labels).unwrap();
    assert!((16.0..4096.0).contains(&operations), "{operations}");
}
