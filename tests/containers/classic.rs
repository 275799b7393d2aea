//! The names of coroot-node-agent, compared by name, type, labels and help with what version 1.35.6 of it prints.

use super::file;
use super::resources::disk_of;
use crate::support::engine::Docker;
use crate::support::table::rows as table_rows;
use crate::support::{Agent, Namespace, PATIENCE, get, scraped, skipped};
use connscope::metric::naming::{self, Profile};
use names::{LATER, THEIRS, labels_of};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Instant;

mod names;

#[test]
fn the_table_has_the_names_labels_and_help_texts_of_coroot_node_agent_and_no_others() {
    let ours: BTreeMap<String, _> = table_rows()
        .filter(|row| row.only_classic)
        .filter_map(|row| Some((naming::prometheus(row, Profile::Classic)?, row)))
        .filter(|(name, _)| ["container_", "node_"].iter().any(|prefix| name.starts_with(prefix)))
        .collect();
    let theirs: BTreeSet<&str> = THEIRS.iter().map(|(name, ..)| *name).collect();
    assert_eq!(ours.keys().map(String::as_str).collect::<BTreeSet<_>>(), theirs);
    let first = THEIRS.iter().filter(|(name, ..)| !LATER.contains(name));
    assert_eq!((first.count(), theirs.len()), (47, THEIRS.len()), "each is there once");
    for (name, _, own, help) in THEIRS {
        let row = ours[*name];
        assert_eq!(row.classic.unwrap().help, *help, "{name}");
        let keys: BTreeSet<String> = row.labels().iter().map(|label| label.key().to_owned()).collect();
        assert_eq!(keys, labels_of(name, own), "{name}");
    }
}

/// Answers a line with 1000 bytes, and keeps the connection.
fn server(namespace: &Namespace) -> u16 {
    let listener = namespace.inside(|| TcpListener::bind("0.0.0.0:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut line = [0; 6];
            if stream.read_exact(&mut line).is_ok() {
                let _gone_or_not = stream.write_all(&[b'x'; 1000]);
            }
            kept.push(stream);
        }
    });
    port
}

/// Whether the machine has a disk with a device.
fn has_disk() -> bool {
    let disks = std::fs::read_dir("/sys/block").unwrap();
    disks.map_while(Result::ok).any(|disk| disk.path().join("device").exists())
}

/// A series that is to be there: its name, some of its labels, its value.
type Wanted<'a> = (&'a str, &'a [(&'a str, &'a str)], f64);

/// The series of a text: name, labels, value.
fn series(text: &str) -> Vec<(&str, BTreeMap<String, String>, f64)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (name, labels) = series.split_once('{')?;
            let labels = labels.strip_suffix("\"}")?.split("\",").map(|pair| {
                let (key, value) = pair.split_once("=\"").unwrap();
                (key.to_owned(), value.to_owned())
            });
            Some((name, labels.collect(), value.parse().ok()?))
        })
        .collect()
}

/// Names that are printed beside theirs and the agent's own.
fn others(text: &str) -> Vec<&str> {
    let theirs: BTreeSet<&str> = THEIRS.iter().map(|(name, ..)| *name).collect();
    text.lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .filter(|name| !theirs.contains(name) && *name != "target_info" && !name.starts_with("connscope_"))
        .collect()
}

#[test]
fn all_47_names_are_printed_as_coroot_node_agent_prints_them_and_nothing_else_is() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let port = server(&namespace);
    let file = file(&format!(
        "export: {{prometheus: {{naming: classic}}}}\n\
         inventory: {{units: false, exclude: [/container/.*], names: {{docker: [{}], kubelet: , containerd: [], crio: []}}}}\n\
         resource: {{cloud: {{detect: off}}}}\n\
         sources:\n  conntrack: {{enabled: false}}\n  sockets: {{enabled: false}}\n  network: {{enabled: false}}\n  \
         node: {{enabled: true}}\n  \
         logs: {{enabled: true, cri: false, journald: false, files: [], classic: {{enabled: true}}}}\n  \
         containers: {{enabled: true, tcp: {{fold_ports: none}}, classic: {{enabled: true}}}}\n",
        docker.data().display()
    ));
    let mut agent = namespace.inside(|| Agent::start(scraped(file.path())));
    let address = agent.address();
    let scrape = || namespace.inside(|| get(address, "/metrics").1);
    scrape();
    let script = format!(
        "echo ERROR refused; dd if=/dev/zero of=/data/file bs=1M count=1 oflag=direct; httpd -p 8080; nc 172.17.0.1 1; (echo hello; sleep 600) | nc 172.17.0.1 {port} >/dev/null"
    );
    let Some(disk) = disk_of(&docker.data()) else { return skipped("the tests are on no block device") };
    // Since Linux 6.10 version 1 counts nothing of a device before there is a rule for it.
    let rule = format!("/dev/{disk}:1tb");
    let limits = ["--cpus", "0.5", "--memory", "64m", "--device-write-bps", &rule];
    // A single file is no volume.
    let single = format!("{}:/single:ro", file.path().display());
    let volumes = ["--volume", "data:/data", "--volume", &single];
    docker.run("web", &[&limits[..], &volumes].concat(), &["sh", "-c", &script]);
    let volume = [("mount_point", "/data"), ("device", &disk), ("provisioner", ""), ("volume", "data")];
    let destination = format!("172.17.0.1:{port}");
    let at = [("destination", destination.as_str()), ("actual_destination", destination.as_str())];
    let listens = [("listen_addr", "172.17.0.2:8080"), ("proxy", "")];
    let wanted: &[Wanted<'_>] = &[
        ("container_restarts_total", &[], 0.0),
        ("container_oom_kills_total", &[], 0.0),
        ("container_resources_cpu_limit_cores", &[], 0.5),
        ("container_resources_memory_limit_bytes", &[], 67_108_864.0),
        ("container_resources_disk_written_bytes_total", &volume, 1_048_576.0),
        ("container_net_tcp_listen_info", &listens, 1.0),
        ("container_log_messages_total", &[("level", "error")], 1.0),
        ("container_application_type", &[("application_type", "httpd")], 1.0),
        ("container_net_tcp_successful_connects_total", &at, 1.0),
        ("container_net_tcp_active_connections", &at, 1.0),
        ("container_net_tcp_retransmits_total", &at, 0.0),
        ("container_net_tcp_bytes_sent_total", &at, 6.0),
        ("container_net_tcp_bytes_received_total", &at, 1000.0),
        ("container_net_tcp_failed_connects_total", &[("destination", "172.17.0.1:1")], 1.0),
    ];
    let until = Instant::now() + PATIENCE;
    let text = loop {
        let text = scrape();
        let all = series(&text);
        let missing: Vec<_> = wanted
            .iter()
            .filter(|(name, own, number)| {
                !all.iter().any(|(found, labels, value)| {
                    found == name
                        && value == number
                        && labels.get("container_id").is_some_and(|id| id == "/docker/web")
                        && own.iter().all(|(key, value)| labels.get(*key).is_some_and(|is| is == value))
                })
            })
            .collect();
        if missing.is_empty() {
            break text;
        }
        assert!(Instant::now() < until, "{missing:?} are not in {text}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    let all = series(&text);
    for (name, kind, own, help) in THEIRS {
        let of_name: Vec<_> = all.iter().filter(|(found, ..)| found == name).collect();
        if of_name.is_empty() {
            // It is absent unless the kernel counts it, and disks of the node where there is none.
            let disks = name.starts_with("node_resources_disk_") && !has_disk();
            assert!(*name == "container_resources_disk_delay_seconds_total" || disks, "{name}: {text}");
            continue;
        }
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name}: {text}");
        assert!(text.contains(&format!("# HELP {name} {help}\n")), "{name}: {text}");
        for (_, labels, _) in of_name {
            assert_eq!(labels.keys().cloned().collect::<BTreeSet<_>>(), labels_of(name, own), "{name}");
            assert!(!labels["machine_id"].contains('-'), "{labels:?}");
        }
    }
    assert_eq!(others(&text), [""; 0], "{text}");
    assert!(!text.contains("mount_point=\"/single\""), "{text}");
    let latency = all.iter().find(|(name, ..)| *name == "container_net_latency_seconds").unwrap();
    assert!(latency.1["destination_ip"] == "172.17.0.1" && latency.2 > 0.0 && latency.2 < 1.0, "{latency:?}");
    docker.docker(&["rm", "--force", "web"]);
    // 0 until the retention is over, so that it can be told from a container that never listened.
    let until = Instant::now() + PATIENCE;
    while !series(&scrape()).iter().any(|(name, labels, value)| {
        *name == "container_net_tcp_listen_info"
            && labels["listen_addr"] == "172.17.0.2:8080"
            && *value == 0.0
    }) {
        assert!(Instant::now() < until, "{}", scrape());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}
