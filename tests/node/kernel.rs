//! The node as the agent reports it, beside what `/proc` and `ip` say.

use super::configuration;
use crate::support::{Agent, Namespace, command, get, sample, scraped};
use connscope::source::node::{diskstats, meminfo, stat};
use std::process::Command;

/// What one cycle says, run as `run` has it.
fn once(more: &str, naming: &str, run: impl FnOnce(Command) -> std::process::Output) -> String {
    let file = configuration(more);
    let path = file.path().to_str().unwrap();
    let arguments = ["once", "--format", "prometheus", "--prometheus-naming", naming, "--config", path];
    let output = run(command(&arguments));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn here(mut command: Command) -> std::process::Output {
    command.output().unwrap()
}

fn read(file: &str) -> String {
    std::fs::read_to_string(file).unwrap()
}

/// The value of a series, which must be there.
fn value(text: &str, series: &str) -> f64 {
    sample(text, series).unwrap_or_else(|| panic!("{series} is not in {text}"))
}

#[expect(clippy::cast_precision_loss, reason = "counters of a test machine")]
fn float(number: u64) -> f64 {
    number as f64
}

#[test]
fn the_numbers_are_those_of_proc_read_before_and_after() {
    let proc = || {
        let disks = diskstats::parse(&read("/proc/diskstats")).unwrap();
        (
            stat::parse(&read("/proc/stat")).unwrap(),
            disks,
            stat::uptime(&read("/proc/uptime")).unwrap(),
            meminfo::parse(&read("/proc/meminfo")).unwrap(),
        )
    };
    let before = proc();
    let text = once("", "otel", here);
    let after = proc();
    let between = |series: &str, least: f64, most: f64| {
        let found = value(&text, series);
        assert!((least..=most).contains(&found), "{series}: {found} is not in {least}..={most}");
    };
    assert_eq!(value(&text, "connscope_source_up{source=\"node\"}"), 1.0);
    for (index, mode) in ["user", "nice", "system"].into_iter().enumerate() {
        let series = format!("system_cpu_time_seconds_total{{cpu_mode=\"{mode}\"}}");
        between(&series, stat::seconds(before.0.ticks[index]), stat::seconds(after.0.ticks[index]));
    }
    let interrupts = |stat: &stat::Stat| stat::seconds(stat.ticks[5] + stat.ticks[6]);
    let series = "system_cpu_time_seconds_total{cpu_mode=\"interrupt\"}";
    between(series, interrupts(&before.0), interrupts(&after.0));
    between("system_cpu_logical_count", float(before.0.cpus), float(after.0.cpus));
    between("system_uptime_seconds", before.2, after.2);
    assert_eq!(value(&text, "system_memory_limit_bytes"), float(before.3.total));
    let states = ["used", "free", "cached", "buffers"]
        .map(|state| value(&text, &format!("system_memory_usage_bytes{{system_memory_state=\"{state}\"}}")));
    assert_eq!(states.iter().sum::<f64>(), float(before.3.total));
    let mut real = 0;
    for (disk, later) in before.1.iter().zip(&after.1) {
        let series = |name: &str, direction: &str| {
            let Some(direction) = (!direction.is_empty()).then_some(direction) else {
                return format!("system_disk_{name}{{system_device=\"{}\"}}", disk.name);
            };
            format!("system_disk_{name}{{disk_io_direction=\"{direction}\",system_device=\"{}\"}}", disk.name)
        };
        if !std::path::Path::new("/sys/block").join(&disk.name).join("device").exists() {
            assert!(!text.contains(&format!("system_device=\"{}\"", disk.name)), "{text}");
            continue;
        }
        real += 1;
        for (word, least, most) in [("read", disk.read, later.read), ("write", disk.write, later.write)] {
            between(&series("io_bytes_total", word), float(least.bytes), float(most.bytes));
            between(&series("operations_total", word), float(least.operations), float(most.operations));
            let milliseconds = [least, most].map(|direction| float(direction.milliseconds) / 1000.0);
            between(&series("operation_time_seconds_total", word), milliseconds[0], milliseconds[1]);
        }
        between(&series("io_time_seconds_total", ""), float(disk.busy) / 1000.0, float(later.busy) / 1000.0);
    }
    assert!(real > 0, "this machine has no disk: {:?}", before.1);
}

#[test]
fn disks_and_interfaces_can_be_named() {
    let Some(namespace) = Namespace::new() else { return };
    let disks = diskstats::parse(&read("/proc/diskstats")).unwrap();
    let Some(other) = disks.iter().find(|disk| disk.name.starts_with("loop")) else { return };
    let more = format!(", disks: [{}], interfaces: lo", other.name);
    let text = once(&more, "otel", |command| namespace.inside(|| here(command)));
    let devices = text.lines().filter(|line| line.starts_with("system_disk_io_bytes_total{"));
    assert_eq!(devices.filter(|line| line.contains(&format!("\"{}\"", other.name))).count(), 2, "{text}");
    assert_eq!(text.matches("\nsystem_disk_io_time_seconds_total{").count(), 1, "{text}");
    assert_eq!(value(&text, "interface_up{network_interface_name=\"lo\"}"), 1.0);
}

#[test]
fn a_disk_or_an_interface_that_is_not_there_is_said_once_and_patterns_are_refused() {
    let Some(namespace) = Namespace::new() else { return };
    let file = configuration(", disks: [nosuch], interfaces: [lo, eth9]");
    let path = file.path().to_str().unwrap();
    let mut agent = namespace.inside(|| Agent::start(scraped(file.path())));
    let address = agent.address();
    let scrape = || namespace.inside(|| get(address, "/metrics").1);
    scrape();
    let text = scrape();
    assert_eq!(value(&text, "interface_up{network_interface_name=\"lo\"}"), 1.0);
    assert!(!text.contains("\nsystem_disk_io_bytes_total{"), "{text}");
    for said in ["sources.node.disks: not there: nosuch", "sources.node.interfaces: not there: eth9"] {
        let log = agent.log.all();
        assert_eq!(log.iter().filter(|line| line.contains(said)).count(), 1, "{said}: {log:#?}");
    }
    let output = namespace.inside(|| here(command(&["check", "--config", path])));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("0 disks; not there: nosuch") && text.contains("1 interface: lo; not there: eth9"),
        "{text}"
    );
    for (more, expected) in [
        (", interfaces: [\"eth*\"]", "`eth*` is a pattern; list the names"),
        (", disks: \"sd[ab]\"", "`sd[ab]` is a pattern"),
        (", disks: [\"\"]", "is not the name of a disk"),
    ] {
        let file = configuration(more);
        let output = here(command(&["config", "--config", file.path().to_str().unwrap()]));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && text.contains(expected), "{more}: {text}");
    }
}

#[test]
fn interfaces_are_the_machines_own_with_their_traffic_and_addresses() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(container) = Namespace::new() else { return };
    let ip = |arguments: &[&str]| drop(namespace.run("ip", arguments));
    ip(&["link", "add", "own0", "type", "veth", "peer", "name", "own1"]);
    ip(&["link", "add", "pod0", "type", "veth", "peer", "name", "pod1"]);
    ip(&["link", "set", "pod1", "netns", &container.path()]);
    for name in ["own0", "own1", "pod0"] {
        ip(&["link", "set", name, "up"]);
    }
    ip(&["addr", "add", "192.0.2.1/24", "dev", "own0"]);
    ip(&["addr", "add", "2001:db8::1/64", "dev", "own0", "nodad"]);
    let run = |naming| once("", naming, |command| namespace.inside(|| here(command)));
    let counters = || {
        let json = namespace.run("ip", &["-json", "-statistics", "link", "show", "own0"]);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let stats = &json[0]["stats64"];
        [("receive", "rx"), ("transmit", "tx")]
            .map(|(word, side)| (word, stats[side]["bytes"].as_u64().unwrap()))
    };
    // Its neighbours are asked for the address now and then.
    let (before, text, after) = (counters(), run("otel"), counters());
    for ((word, least), (_, most)) in before.into_iter().zip(after) {
        let series = format!(
            "system_network_io_bytes_total{{network_interface_name=\"own0\",network_io_direction=\"{word}\"}}"
        );
        let found = value(&text, &series);
        assert!((float(least)..=float(most)).contains(&found), "{series}: {found}");
    }
    assert!(!text.contains("\"pod0\"") && !text.contains("\"lo\""), "{text}");
    assert_eq!(value(&text, "interface_up{network_interface_name=\"own1\"}"), 1.0);
    for address in ["192.0.2.1", "2001:db8::1"] {
        let series = format!(
            "interface_address{{network_interface_name=\"own0\",network_local_address=\"{address}\"}}"
        );
        assert_eq!(value(&text, &series), 1.0);
    }
    assert!(!text.contains("\"fe80:"), "{text}");
    ip(&["link", "set", "own0", "down"]);
    let text = run("classic");
    let machine = text.split("machine_id=\"").nth(1).unwrap().split('"').next().unwrap();
    let series = format!("node_net_interface_up{{interface=\"own1\",machine_id=\"{machine}\"}}");
    assert_eq!(value(&text, &series), 0.0, "its other end is down");
    assert!(!text.contains("\nsystem_"), "{text}");
}

#[test]
fn check_says_what_is_read_and_no_privilege_is_missing() {
    let Some(namespace) = Namespace::new() else { return };
    let file = configuration("");
    let public = crate::support::agent::Public::new(&read(file.path().to_str().unwrap()));
    let mut check = public.nobody(&[], &["check"]);
    let output = namespace.inside(move || check.output()).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |via: &str| {
        let found = text.lines().find(|line| line.contains("node") && line.contains(via));
        found.unwrap_or_else(|| panic!("no {via} in {text}")).to_owned()
    };
    let cpus = stat::parse(&read("/proc/stat")).unwrap().cpus;
    assert!(line("procfs").contains(&format!("{cpus} CPUs, ")), "{text}");
    assert!(line("netlink").contains("0 interfaces"), "{text}");
}
