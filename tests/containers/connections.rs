//! TCP of real containers, counted by programs in the real kernel: a Docker of the test's own, the agent beside it, and
//! sockets of the test in the network namespace that both are in.

use super::{file, value};
use crate::support::engine::Docker;
use crate::support::{Agent, Namespace, PATIENCE, eventually, get, sample, scraped};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// The address of the bridge that Docker makes in the namespace.
const BRIDGE: &str = "172.17.0.1";

/// A Docker, and the agent that looks at its containers, in one network namespace.
pub(super) struct World {
    agent: Option<(Agent, SocketAddr)>,
    file: tempfile::NamedTempFile,
    pub(super) docker: Docker,
    pub(super) namespace: Namespace,
}

impl World {
    fn new(tcp: &str) -> Option<Self> {
        Self::with(tcp, "enabled: false")
    }

    /// One whose agent has these settings of the source sockets too.
    pub(super) fn with(tcp: &str, sockets: &str) -> Option<Self> {
        let namespace = Namespace::new()?;
        let docker = Docker::start(&namespace)?;
        // What has no name is another test's.
        let file = file(&format!(
            "inventory: {{units: false, exclude: [/container/.*], names: {{docker: [{}], kubelet: , containerd: [], crio: []}}}}\n\
             sources:\n  conntrack: {{enabled: false}}\n  sockets: {{{sockets}}}\n  \
             containers: {{enabled: true, tcp: {{fold_ports: none, {tcp}}}}}\n",
            docker.data().display()
        ));
        Some(Self { agent: None, file, docker, namespace })
    }

    /// Starts the agent; its first cycle is over.
    pub(super) fn watch(&mut self) {
        let mut agent = self.namespace.inside(|| Agent::start(scraped(self.file.path())));
        let address = agent.address();
        self.agent = Some((agent, address));
        let text = self.scrape();
        assert_eq!(
            value(&text, "connscope_containers_source", &["part=\"tcp\"", "via=\"bpf\""]),
            Some(1.0),
            "{text}"
        );
    }

    /// Where the agent listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.agent.as_ref().unwrap().1
    }

    pub(super) fn scrape(&self) -> String {
        let address = self.address();
        self.namespace.inside(|| get(address, "/metrics").1)
    }

    /// Waits until every series has its value.
    fn sees(&self, wanted: &[(&str, &[&str], f64)]) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let text = self.scrape();
            let found: Vec<_> =
                wanted.iter().map(|(metric, labels, _)| value(&text, metric, labels)).collect();
            if found.iter().zip(wanted).all(|(found, (_, _, number))| *found == Some(*number)) {
                return text;
            }
            let told: Vec<&str> = text.lines().filter(|line| line.starts_with("container_tcp")).collect();
            assert!(Instant::now() < until, "{found:?} instead of {wanted:?}: {told:#?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Five containers that connect once and are gone, each to a translated address: each has one connection, to the container
    /// `web`.
    fn five_clients(&self, options: &[&str], (address, port): (&str, &str)) {
        let names = ["c1", "c2", "c3", "c4", "c5"];
        let url = format!("http://{address}:{port}/busybox");
        for name in names {
            let get = ["--name", name, "busybox", "wget", "-q", "-O", "/dev/null", &url];
            self.docker.docker(&[&["run", "--rm"], options, &get].concat());
        }
        let [address, port] = [format!("server_address=\"{address}\""), format!("server_port=\"{port}\"")];
        for name in names {
            let name = format!("container_name=\"{name}\"");
            let peer = ["network_peer_address=\"172.17.0.2\"", "network_peer_port=\"8080\""];
            let labels = [&[name.as_str(), &address, &port], &peer[..]].concat();
            let opened = [&labels[..], &["event=\"opened\""]].concat();
            let ended = [&labels[..], &["event=\"closed\""]].concat();
            self.sees(&[
                ("container_tcp_connections_total", &opened, 1.0),
                ("container_tcp_connections_total", &ended, 1.0),
                ("container_tcp_open_connections", &labels, 0.0),
            ]);
        }
    }

    /// Listens at the bridge: each connection is handed over by `serve`.
    fn server(&self, serve: fn(std::net::TcpStream)) -> u16 {
        let listener = self.namespace.inside(|| TcpListener::bind("0.0.0.0:0")).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                serve(stream);
            }
        });
        port
    }
}

/// Answers a line with 1000 bytes and closes.
fn answer(mut stream: std::net::TcpStream) {
    let mut line = [0; 6];
    if stream.read_exact(&mut line).is_ok() {
        let _gone_or_not = stream.write_all(&[b'x'; 1000]);
    }
}

/// The bytes of TCP's payload that a chain with two counters has seen, of SYNs and of all packets. They are without the headers: 20
/// bytes of IPv4 and 20 of TCP, with 12 of timestamps, and in a SYN with 8 more.
fn payload(chain: &str) -> u64 {
    let counters: Vec<[u64; 2]> = chain
        .lines()
        .filter_map(|line| {
            let mut words = line.split_once("counter packets ")?.1.split(' ');
            let packets = words.next()?.parse().ok()?;
            Some([packets, words.nth(1)?.parse().ok()?])
        })
        .collect();
    let [[syns, _], [packets, bytes]] = *counters else { panic!("{chain}") };
    assert!(syns > 0, "{chain}");
    bytes - packets * (20 + 20 + 12) - syns * 8
}

/// Closes with what was sent to it unread, which is a reset.
fn refuse_to_read(stream: std::net::TcpStream) {
    let mut first = [0; 1];
    let _gone_or_not = stream.peek(&mut first);
    drop(stream);
}

#[test]
fn connections_of_a_container_that_lives_shortly_are_counted_under_its_name() {
    let Some(mut world) = World::new("public: each") else { return };
    world.watch();
    let (server, resetting) = (world.server(answer), world.server(refuse_to_read));
    let script = format!(
        "for i in 1 2 3 4 5; do echo hello | nc {BRIDGE} {server}; done >/dev/null; \
         nc {BRIDGE} 1; echo hello | nc {BRIDGE} {resetting}; timeout 1 nc {BRIDGE} 2"
    );
    // Packets to this port are dropped on their way in.
    world.namespace.run(
        "nft",
        &[&format!(
            "add chain inet t i {{ type filter hook input priority 0; }}; add rule inet t i tcp dport 2 drop; \
             add chain inet t o {{ type filter hook output priority 0; }}; \
             add rule inet t i tcp dport {server} tcp flags & syn == syn counter; add rule inet t i tcp dport {server} counter; \
             add rule inet t o tcp sport {server} tcp flags & syn == syn counter; add rule inet t o tcp sport {server} counter"
        )],
    );
    world.docker.run_to_end("short", &format!("{script}; true"));
    let port = format!("server_port=\"{server}\"");
    let reset = format!("server_port=\"{resetting}\"");
    let (name, peer) = ("container_name=\"short\"", "network_peer_address=\"172.17.0.1\"");
    let connections = "container_tcp_connections_total";
    let text = world.sees(&[
        (connections, &[name, &port, peer, "event=\"opened\""], 5.0),
        (connections, &[name, &port, peer, "event=\"closed\""], 5.0),
        (connections, &[name, &port, peer, "event=\"reset\""], 0.0),
        (connections, &[name, &reset, peer, "event=\"reset\""], 1.0),
        (connections, &[name, "server_port=\"1\"", "error_type=\"connection_refused\""], 1.0),
        (connections, &[name, "server_port=\"2\"", "error_type=\"cancelled\""], 1.0),
        ("container_tcp_open_connections", &[name, &port, peer], 0.0),
        ("container_tcp_io_bytes_total", &[name, &port, "network_io_direction=\"transmit\""], 30.0),
        ("container_tcp_io_bytes_total", &[name, &port, "network_io_direction=\"receive\""], 5000.0),
        ("container_tcp_connect_time_seconds_count", &[name, &port], 5.0),
    ]);
    let passed =
        ["i", "o"].map(|chain| payload(&world.namespace.run("nft", &["list", "chain", "inet", "t", chain])));
    assert_eq!(passed, [30, 5000], "the packet filter counted something else");
    // How many depends on what else connects on this machine.
    assert!(sample(&text, "connscope_containers_events_lost_total").is_some(), "{text}");
}

#[test]
fn a_published_port_is_shown_with_the_container_behind_it() {
    let Some(mut world) = World::new("") else { return };
    world.docker.run("web", &["--publish", "18091:8080"], &["httpd", "-f", "-p", "8080", "-h", "/bin"]);
    world.watch();
    let listens = [
        "container_name=\"web\"",
        "network_local_address=\"172.17.0.1\"",
        "network_local_port=\"18091\"",
        "proxy=\"dockerd\"",
    ];
    world.sees(&[("container_tcp_listen", &listens, 1.0)]);
    // Docker does not translate what comes from its own bridge; in the host's namespace it does.
    world.five_clients(&["--network", "host"], (BRIDGE, "18091"));
}

#[test]
fn a_container_with_a_published_port_that_lives_for_one_connection_has_its_name_and_the_backend_it_got() {
    let Some(mut world) = World::new("") else { return };
    world.docker.run("web", &[], &["httpd", "-f", "-p", "8080", "-h", "/bin"]);
    // What comes over the bridge of the containers is translated, both ends.
    world.namespace.run("ip", &["addr", "add", "10.9.0.9/32", "dev", "lo"]);
    world.namespace.run(
        "nft",
        &["add table ip n; add chain ip n p { type nat hook prerouting priority -110; }; \
           add rule ip n p ip daddr 10.9.0.9 tcp dport 80 dnat to 172.17.0.2:8080; \
           add chain ip n s { type nat hook postrouting priority 90; }; \
           add rule ip n s ip saddr 172.17.0.0/16 ip daddr 172.17.0.2 masquerade"],
    );
    world.watch();
    world.five_clients(&["--publish", "18095:80"], ("10.9.0.9", "80"));
}

#[test]
fn what_was_there_before_the_agent_is_there_in_its_first_cycle() {
    let Some(mut world) = World::new("") else { return };
    let (sender, held): (_, Receiver<std::net::TcpStream>) = channel();
    let listener = world.namespace.inside(|| TcpListener::bind("0.0.0.0:0")).unwrap();
    let server = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            if sender.send(stream).is_err() {
                break;
            }
        }
    });
    let holding = format!("sleep 600 | nc {BRIDGE} {server} & httpd -f -p 8080");
    world.docker.run("old", &[], &["sh", "-c", &holding]);
    let stream = held.recv_timeout(PATIENCE).unwrap();
    eventually("it listens", || {
        world.namespace.inside(|| std::net::TcpStream::connect("172.17.0.2:8080")).is_ok()
    });
    world.watch();
    let port = format!("server_port=\"{server}\"");
    let name = "container_name=\"old\"";
    let listens = [name, "network_local_address=\"172.17.0.2\"", "network_local_port=\"8080\""];
    let text = world.sees(&[
        ("container_tcp_open_connections", &[name, &port], 1.0),
        ("container_tcp_connections_total", &[name, &port, "event=\"opened\""], 0.0),
        ("container_tcp_listen", &listens, 1.0),
    ]);
    assert_eq!(value(&text, "container_tcp_listen", &[name, "network_local_address=\"127.0.0.1\""]), None);
    drop(stream);
    // The other end closes it, and the container its own end.
    world.docker.docker(&["stop", "--time", "0", "old"]);
    world.sees(&[("container_tcp_open_connections", &[name, &port], 0.0)]);
    eventually("it listens no more", || value(&world.scrape(), "container_tcp_listen", &listens).is_none());
}
