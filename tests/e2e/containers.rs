//! Containers of a real Docker: what became of their connections, what was killed of them, and what they and the node may use, by
//! both ways in Prometheus.

use crate::parity::{PULLED, PUSHED};
use crate::stack::{Collector, Prometheus, agent_with, end, quiet_namespace, until};
use crate::support::engine::Docker;
use std::io::Write;

/// The address of the bridge that Docker makes in the namespace.
const BRIDGE: &str = "172.17.0.1";
/// The address of the container that is started first.
const WEB: &str = "172.17.0.2";
/// What is dropped on its way in.
const DROPPED: u16 = 2;

/// The container that serves: each line that comes is answered with 1000 bytes.
const SERVE: [&str; 8] = ["nc", "-ll", "-p", "8080", "-e", "sh", "-c", "read line; head -c 1000 /dev/zero"];

/// Waits until a query gives one series with this number, as it is pushed and as it is pulled.
fn holds(prometheus: &Prometheus, metric: &str, labels: &str, wanted: f64) {
    for way in [PUSHED, PULLED] {
        let way = way.trim_matches(['{', '}']);
        let query = format!("{metric}{{{way},{labels}}}");
        until(&format!("{query} is {wanted}"), || match prometheus.query(&query)?.as_slice() {
            [one] if one.value == wanted => Ok(()),
            other => Err(format!("{:?}", other.iter().map(|sample| sample.value).collect::<Vec<_>>())),
        });
    }
}

/// A configuration that knows the containers of this Docker only.
fn configuration(docker: &Docker, sources: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    write!(
        file,
        "inventory: {{units: false, exclude: [/container/.*], names: {{docker: [{}], kubelet: , containerd: [], crio: []}}}}\n\
         resource: {{cloud: {{detect: off}}}}\n\
         sources:\n  conntrack: {{enabled: false}}\n  sockets: {{enabled: false}}\n  {sources}\n",
        docker.data().display()
    )
    .unwrap();
    file
}

#[test]
fn what_containers_connect_to_why_it_fails_and_what_is_killed_of_them_is_the_same_by_both_ways() {
    let Some(namespace) = quiet_namespace() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    namespace.run(
        "nft",
        &[&format!(
            "add chain inet t dropped {{ type filter hook input priority 0; }}; \
             add rule inet t dropped tcp dport {DROPPED} drop"
        )],
    );
    let prometheus = Prometheus::start(&namespace);
    let _collector = Collector::start(&namespace);
    let file = configuration(&docker, "containers: {enabled: true, tcp: {fold_ports: none}}");
    docker.run("web", &[], &SERVE);
    let agent = agent_with(&namespace, file.path(), &["--interval", "1s"], &[]);
    holds(&prometheus, "connscope_containers_source", "part=\"tcp\",via=\"bpf\"", 1.0);

    // Five that live some milliseconds, one that is refused, one that gives up, and one that gets no answer.
    let script = format!(
        "for i in 1 2 3 4 5; do echo hello | nc {WEB} 8080; done >/dev/null; nc {WEB} 1; \
         timeout 1 nc {BRIDGE} {DROPPED}; nc {BRIDGE} {DROPPED}; true"
    );
    let sysctl = ["run", "--rm", "--sysctl", "net.ipv4.tcp_syn_retries=1", "--name", "client", "busybox"];
    docker.docker(&[&sysctl[..], &["sh", "-c", &script]].concat());
    // Two local ports, and both are taken.
    let ports = "net.ipv4.ip_local_port_range=40000 40001";
    let script = format!(
        "for i in 1 2; do (sleep 600 | nc {WEB} 8080) & done; sleep 1; nc {WEB} 8080 </dev/null; sleep 600"
    );
    docker.run("crowded", &["--sysctl", ports], &["sh", "-c", &script]);
    // `tail` keeps the last line, which has no end; the first process lives on.
    let script = "tail /dev/zero; sleep 600";
    docker.run("hungry", &["--memory", "20m", "--memory-swap", "20m"], &["sh", "-c", script]);

    let connections = "container_tcp_connections_total";
    let web = format!("server_address=\"{WEB}\",server_port=\"8080\"");
    let peer = format!("{web},network_peer_address=\"{WEB}\",network_peer_port=\"8080\"");
    let client = |more: &str| format!("container_name=\"client\",{more}");
    for (event, wanted) in [("opened", 5.0), ("closed", 5.0), ("reset", 0.0)] {
        holds(&prometheus, connections, &client(&format!("{peer},event=\"{event}\"")), wanted);
    }
    for (direction, wanted) in [("transmit", 30.0), ("receive", 5000.0)] {
        let labels = client(&format!("{peer},network_io_direction=\"{direction}\""));
        holds(&prometheus, "container_tcp_io_bytes_total", &labels, wanted);
    }
    holds(&prometheus, "container_tcp_open_connections", &client(&peer), 0.0);
    holds(&prometheus, "container_tcp_connect_time_seconds_count", &client(&peer), 5.0);
    let failed = |reason: &str| format!("event=\"failed\",error_type=\"{reason}\"");
    holds(&prometheus, connections, &client(&failed("connection_refused")), 1.0);
    holds(&prometheus, connections, &client(&failed("cancelled")), 1.0);
    holds(&prometheus, connections, &client(&failed("timeout")), 1.0);
    let crowded = format!("container_name=\"crowded\",{web},{}", failed("address_not_available"));
    holds(&prometheus, connections, &crowded, 1.0);
    let crowded = format!("container_name=\"crowded\",{peer}");
    holds(&prometheus, "container_tcp_open_connections", &crowded, 2.0);
    let listens =
        format!("container_name=\"web\",network_local_address=\"{WEB}\",network_local_port=\"8080\"");
    holds(&prometheus, "container_tcp_listen", &listens, 1.0);
    holds(&prometheus, "container_oom_kills_total", "container_name=\"hungry\"", 1.0);
    holds(&prometheus, "container_restarts_total", "container_name=\"hungry\"", 0.0);
    let log = end(agent);
    let loud: Vec<_> = log.iter().filter(|line| !line.starts_with("INFO")).collect();
    assert!(loud.is_empty(), "{loud:#?}");
}

#[test]
fn what_containers_and_the_node_may_use_is_the_same_by_both_ways() {
    let Some(namespace) = quiet_namespace() else { return };
    let Some(docker) = Docker::start(&namespace) else { return };
    let prometheus = Prometheus::start(&namespace);
    let _collector = Collector::start(&namespace);
    let sources =
        "containers: {enabled: true, delay: off, oom: off, tcp: {enabled: false}}\n  node: {enabled: true}";
    let file = configuration(&docker, sources);
    let options = ["--cpus", "0.5", "--memory", "64m", "--volume", "data:/data"];
    docker.run("web", &options, &["httpd", "-f", "-p", "8080"]);
    let agent = agent_with(&namespace, file.path(), &["--interval", "1s"], &[]);
    let web = |more: &str| format!("container_name=\"web\",{more}");
    holds(&prometheus, "container_cpu_limit", &web(""), 0.5);
    holds(&prometheus, "container_memory_limit_bytes", &web(""), 67_108_864.0);
    holds(&prometheus, "container_application", &web("application_type=\"httpd\""), 1.0);
    let volume = rustix::fs::statvfs(docker.data().join("volumes/data/_data")).unwrap();
    let capacity = whole(volume.f_blocks * volume.f_frsize);
    let volume = web("system_filesystem_mountpoint=\"/data\"");
    holds(&prometheus, "container_filesystem_capacity_bytes", &volume, capacity);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
    let total: u64 = total.trim().trim_end_matches(" kB").parse().unwrap();
    holds(&prometheus, "system_memory_limit_bytes", "", whole(total * 1024));
    holds(&prometheus, "interface_up", "network_interface_name=\"docker0\"", 1.0);
    let address = format!("network_interface_name=\"docker0\",network_local_address=\"{BRIDGE}\"");
    holds(&prometheus, "interface_address", &address, 1.0);
    let log = end(agent);
    let loud: Vec<_> = log.iter().filter(|line| !line.starts_with("INFO")).collect();
    assert!(loud.is_empty(), "{loud:#?}");
}

#[expect(clippy::cast_precision_loss, reason = "bytes of a machine's disks and memory")]
fn whole(bytes: u64) -> f64 {
    bytes as f64
}
