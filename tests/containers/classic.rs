//! The names of coroot-node-agent, compared by name, type, labels and help with what version 1.35.6 of it prints.

use super::file;
use super::resources::disk_of;
use crate::support::engine::Docker;
use crate::support::table::rows as table_rows;
use crate::support::{Agent, Namespace, PATIENCE, command, get, skipped};
use connscope::metric::naming::{self, Profile};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Instant;

/// Labels of a volume, as the first release has them.
const VOLUME: &[&str] = &["mount_point", "device", "provisioner", "volume"];

/// Name, type, labels besides `container_id` and `machine_id`, and help. Those of the node have `machine_id` only.
const THEIRS: &[(&str, &str, &[&str], &str)] = &[
    ("container_restarts_total", "counter", &[], "Number of times the container was restarted"),
    (
        "container_oom_kills_total",
        "counter",
        &[],
        "Total number of times the container was terminated by the OOM killer",
    ),
    (
        "container_resources_cpu_delay_seconds_total",
        "counter",
        &[],
        "Total time duration processes of the container have been waiting for a CPU (while being runnable)",
    ),
    (
        "container_resources_disk_delay_seconds_total",
        "counter",
        &[],
        "Total time duration processes of the container have been waiting fot I/Os to complete",
    ),
    ("container_resources_cpu_limit_cores", "gauge", &[], "CPU limit of the container"),
    (
        "container_resources_cpu_usage_seconds_total",
        "counter",
        &[],
        "Total CPU time consumed by the container",
    ),
    (
        "container_resources_cpu_throttled_seconds_total",
        "counter",
        &[],
        "Total time duration the container has been throttled",
    ),
    ("container_resources_memory_limit_bytes", "gauge", &[], "Memory limit of the container"),
    (
        "container_resources_memory_rss_bytes",
        "gauge",
        &[],
        "Amount of physical memory used by the container (doesn't include page cache)",
    ),
    (
        "container_resources_memory_cache_bytes",
        "gauge",
        &[],
        "Amount of page cache memory allocated by the container",
    ),
    ("container_resources_disk_size_bytes", "gauge", VOLUME, "Total capacity of the volume"),
    ("container_resources_disk_used_bytes", "gauge", VOLUME, "Used capacity of the volume"),
    ("container_resources_disk_reserved_bytes", "gauge", VOLUME, "Reserved capacity of the volume"),
    (
        "container_resources_disk_reads_total",
        "counter",
        VOLUME,
        "Total number of reads completed successfully by the container",
    ),
    (
        "container_resources_disk_read_bytes_total",
        "counter",
        VOLUME,
        "Total number of bytes read from the disk by the container",
    ),
    (
        "container_resources_disk_writes_total",
        "counter",
        VOLUME,
        "Total number of writes completed successfully by the container",
    ),
    (
        "container_resources_disk_written_bytes_total",
        "counter",
        VOLUME,
        "Total number of bytes written to the disk by the container",
    ),
    ("container_net_tcp_listen_info", "gauge", &["listen_addr", "proxy"], "Listen address of the container"),
    (
        "container_net_tcp_successful_connects_total",
        "counter",
        &["destination", "actual_destination"],
        "Total number of successful TCP connects",
    ),
    (
        "container_net_tcp_connection_time_seconds_total",
        "counter",
        &["destination", "actual_destination"],
        "Time spent on TCP connections",
    ),
    (
        "container_net_tcp_failed_connects_total",
        "counter",
        &["destination"],
        "Total number of failed TCP connects",
    ),
    (
        "container_net_tcp_active_connections",
        "gauge",
        &["destination", "actual_destination"],
        "Number of active outbound connections used by the container",
    ),
    (
        "container_net_tcp_retransmits_total",
        "counter",
        &["destination", "actual_destination"],
        "Total number of retransmitted TCP segments",
    ),
    (
        "container_net_latency_seconds",
        "gauge",
        &["destination_ip"],
        "Round-trip time between the container and a remote IP",
    ),
    (
        "container_net_tcp_bytes_sent_total",
        "counter",
        &["destination", "actual_destination"],
        "Total number of bytes sent to the peer",
    ),
    (
        "container_net_tcp_bytes_received_total",
        "counter",
        &["destination", "actual_destination"],
        "Total number of bytes received from the peer",
    ),
    (
        "container_application_type",
        "gauge",
        &["application_type"],
        "Type of the application running in the container (e.g. memcached, postgres, mysql)",
    ),
    ("node_info", "gauge", &["hostname", "kernel_version"], "Meta information about the node"),
    (
        "node_cloud_info",
        "gauge",
        &[
            "provider",
            "account_id",
            "instance_id",
            "instance_type",
            "instance_life_cycle",
            "region",
            "availability_zone",
            "availability_zone_id",
            "local_ipv4",
            "public_ipv4",
        ],
        "Meta information about the cloud instance",
    ),
    ("node_agent_info", "gauge", &["version"], "Meta information about the agent"),
];

/// The labels that series of a name have.
fn labels_of(name: &str, own: &[&str]) -> BTreeSet<String> {
    let container = name.starts_with("container_").then_some("container_id");
    own.iter().copied().chain(["machine_id"]).chain(container).map(str::to_owned).collect()
}

#[test]
fn the_table_has_the_names_labels_and_help_texts_of_coroot_node_agent_and_no_others() {
    let ours: BTreeMap<String, _> = table_rows()
        .filter(|row| row.only_classic && row.name.starts_with("container.") && !row.name.contains(".log"))
        .filter_map(|row| Some((naming::prometheus(row, Profile::Classic)?, row)))
        .collect();
    let theirs: BTreeSet<&str> = THEIRS.iter().map(|(name, ..)| *name).collect();
    assert_eq!(ours.keys().map(String::as_str).collect::<BTreeSet<_>>(), theirs);
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

#[test]
fn a_container_that_connects_is_printed_as_coroot_node_agent_prints_it() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let port = server(&namespace);
    let file = file(&format!(
        "export: {{prometheus: {{naming: classic}}}}\n\
         inventory: {{units: false, exclude: [/container/.*], names: {{docker: [{}], kubelet: , containerd: [], crio: []}}}}\n\
         sources:\n  conntrack: {{enabled: false}}\n  sockets: {{enabled: false}}\n  \
         containers: {{enabled: true, tcp: {{fold_ports: none}}, classic: {{enabled: true}}}}\n",
        docker.data().display()
    ));
    let path = file.path().to_str().unwrap().to_owned();
    let arguments = ["--listen", "127.0.0.1:0", "--otlp-protocol", "none", "--config", &path];
    let mut agent = namespace.inside(|| Agent::start(command(&arguments)));
    let address = agent.address();
    let scrape = || namespace.inside(|| get(address, "/metrics").1);
    scrape();
    let script = format!(
        "dd if=/dev/zero of=/data/file bs=1M count=1 oflag=direct; httpd -p 8080; nc 172.17.0.1 1; (echo hello; sleep 600) | nc 172.17.0.1 {port} >/dev/null"
    );
    let Some(disk) = disk_of(&docker.data()) else { return skipped("the tests are on no block device") };
    // Since Linux 6.10 version 1 counts nothing of a device before there is a rule for it.
    let rule = format!("/dev/{disk}:1tb");
    let limits = ["--cpus", "0.5", "--memory", "64m", "--device-write-bps", &rule];
    docker.run("web", &[&limits, &["--volume", "data:/data"][..]].concat(), &["sh", "-c", &script]);
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
            // It is absent unless the kernel counts it.
            assert_eq!(*name, "container_resources_disk_delay_seconds_total", "{text}");
            continue;
        }
        assert!(text.contains(&format!("# TYPE {name} {kind}\n")), "{name}: {text}");
        assert!(text.contains(&format!("# HELP {name} {help}\n")), "{name}: {text}");
        for (_, labels, _) in of_name {
            assert_eq!(labels.keys().cloned().collect::<BTreeSet<_>>(), labels_of(name, own), "{name}");
            assert!(!labels["machine_id"].contains('-'), "{labels:?}");
        }
    }
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
