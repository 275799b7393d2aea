//! What the kernel's programs say of connections, and what the source sockets finds out from dumps and destroy events: the
//! same, of connections that leave no doubt to the programs and much to the sockets.

use super::connections::World;
use crate::support::{PATIENCE, skipped};
use rustix::net::sockopt::{set_socket_linger, set_socket_reuseaddr, set_socket_reuseport};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

const EVENTS: [&str; 4] = ["opened", "closed", "reset", "failed"];

/// Where packets get lost.
const SILENT: &str = "127.0.0.1:4009";

fn socket(protocol: Option<rustix::net::Protocol>) -> rustix::io::Result<OwnedFd> {
    socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, protocol)
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

/// A client and who accepted it, after a byte in each direction.
fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
    talk(TcpStream::connect(listener.local_addr().unwrap()).unwrap(), listener)
}

fn talk(mut client: TcpStream, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"a").unwrap();
    server.read_exact(&mut [0]).unwrap();
    server.write_all(b"b").unwrap();
    client.read_exact(&mut [0]).unwrap();
    (client, server)
}

/// Ends one in order, `first` first.
fn close(mut first: TcpStream, mut second: TcpStream) {
    first.shutdown(Shutdown::Write).unwrap();
    assert_eq!(second.read(&mut [0]).unwrap(), 0);
    drop(second);
    assert_eq!(first.read(&mut [0]).unwrap(), 0);
}

/// Resets one from the end `first`.
fn reset(first: TcpStream, mut second: TcpStream) {
    set_socket_linger(&first, Some(Duration::ZERO)).unwrap();
    drop(first);
    assert_eq!(second.read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
}

/// Run again in a container, by [`the_programs_in_the_kernel_and_the_sockets_say_the_same`].
#[test]
#[ignore = "makes connections for another test"]
fn make_connections() {
    let listener = TcpListener::bind("127.0.0.1:4000").unwrap();
    for _ in 0..3 {
        let (client, server) = pair(&listener);
        close(client, server);
    }
    for _ in 0..2 {
        let (client, server) = pair(&listener);
        close(server, client);
    }
    // A listener for each, which is closed as soon as it was accepted, on a port that the kernel chose.
    for order in [true, false, true, false] {
        let passive = TcpListener::bind("127.0.0.1:0").unwrap();
        let (client, server) = pair(&passive);
        drop(passive);
        let (first, second) = if order { (client, server) } else { (server, client) };
        close(first, second);
    }
    // From a port that is listened on.
    let bound = || {
        let socket = socket(None).unwrap();
        set_socket_reuseaddr(&socket, true).unwrap();
        set_socket_reuseport(&socket, true).unwrap();
        rustix::net::bind(&socket, &at("127.0.0.1:4001")).unwrap();
        socket
    };
    let listens = bound();
    rustix::net::listen(&listens, 9).unwrap();
    let from = bound();
    rustix::net::connect(&from, &at("127.0.0.1:4000")).unwrap();
    let (client, server) = talk(TcpStream::from(from), &listener);
    close(client, server);
    // Resets from both ends, at a port of those that the kernel gives to clients.
    let high = TcpListener::bind("127.0.0.1:50001").unwrap();
    for _ in 0..2 {
        let (client, server) = pair(&high);
        reset(client, server);
    }
    for _ in 0..3 {
        let (client, server) = pair(&high);
        reset(server, client);
    }
    let six = TcpListener::bind("[::1]:4002").unwrap();
    for _ in 0..2 {
        let (client, server) = pair(&six);
        close(client, server);
    }
    for _ in 0..5 {
        TcpStream::connect("127.0.0.1:4008").unwrap_err();
    }
    let unanswered = socket(None).unwrap();
    rustix::io::ioctl_fionbio(&unanswered, true).unwrap();
    rustix::net::connect(&unanswered, &at(SILENT)).unwrap_err();
}

/// Run again in a container: two connections of MPTCP.
#[test]
#[ignore = "makes connections for another test"]
fn make_connections_of_mptcp() {
    let mptcp = || socket(Some(rustix::net::ipproto::MPTCP)).unwrap();
    let listens = mptcp();
    rustix::net::bind(&listens, &at("127.0.0.1:4003")).unwrap();
    rustix::net::listen(&listens, 9).unwrap();
    let listener = TcpListener::from(listens);
    for order in [true, false] {
        let from = mptcp();
        rustix::net::connect(&from, &at("127.0.0.1:4003")).unwrap();
        let (client, server) = talk(TcpStream::from(from), &listener);
        let (first, second) = if order { (client, server) } else { (server, client) };
        close(first, second);
    }
}

/// Opened, closed, reset and failed of a metric, of the series with a label; those of the scrapes themselves are not among
/// them.
fn events(text: &str, metric: &str, label: &str, scraped: &str) -> [f64; 4] {
    EVENTS.map(|event| {
        let event = format!("event=\"{event}\"");
        text.lines()
            .filter(|line| {
                line.strip_prefix(metric).is_some_and(|rest| rest.starts_with('{'))
                    && line.contains(&event)
                    && line.contains(label)
                    && !line.contains(scraped)
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .fold(0.0, |sum, value| sum + value)
    })
}

impl World {
    /// Runs one of the tests above in a container in the host's network namespace.
    fn connects(&self, test: &str) {
        let program = std::env::current_exe().unwrap();
        let name = format!("containers::agreement::{test}");
        self.docker.docker(&[
            "run",
            "--rm",
            "--network",
            "host",
            "--name",
            test,
            "--volume",
            "/:/host",
            "busybox",
            "chroot",
            "/host",
            program.to_str().unwrap(),
            "--ignored",
            "--exact",
            &name,
        ]);
    }

    /// Waits until both sources have counted so many; `[outgoing, incoming]`.
    fn agree(&self, wanted: [[f64; 4]; 2]) {
        let scraped = format!("server_port=\"{}\"", self.address().port());
        let until = Instant::now() + PATIENCE;
        loop {
            let text = self.scrape();
            let sockets = ["outgoing", "incoming", "~unknown"].map(|direction| {
                events(&text, "tcp_connections_total", &format!("direction=\"{direction}\""), &scraped)
            });
            let kernel = events(&text, "container_tcp_connections_total", "", &scraped);
            let [outgoing, incoming] = wanted;
            if sockets == [outgoing, incoming, [0.0; 4]] && kernel == outgoing {
                let uncertain =
                    crate::support::sample(&text, "connscope_sockets_left_out_total{key=\"direction\"}");
                assert_eq!(uncertain, Some(0.0), "{text}");
                return;
            }
            let told: Vec<&str> =
                text.lines().filter(|line| line.contains("tcp_connections_total{")).collect();
            assert!(
                Instant::now() < until,
                "sockets {sockets:?}, kernel {kernel:?}, not {wanted:?}: {told:#?}"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn the_programs_in_the_kernel_and_the_sockets_say_the_same() {
    let Some(mut world) = World::with("public: each", "group_by: [direction, service_port]") else { return };
    world.namespace.run("sysctl", &["-qw", "net.ipv4.tcp_ecn=1"]);
    let port = at(SILENT).port();
    world.namespace.run(
        "nft",
        &[&format!(
            "add chain inet t i {{ type filter hook input priority 0; }}; add rule inet t i tcp dport {port} drop"
        )],
    );
    world.watch();
    world.connects("make_connections");
    let (outgoing, incoming) = ([17.0, 12.0, 5.0, 6.0], [17.0, 12.0, 5.0, 0.0]);
    world.agree([outgoing, incoming]);
    if !std::fs::exists("/proc/sys/net/mptcp").unwrap() {
        skipped("this kernel has no MPTCP");
        return;
    }
    world.connects("make_connections_of_mptcp");
    world.agree(
        [outgoing, incoming]
            .map(|[opened, closed, reset, failed]| [opened + 2.0, closed + 2.0, reset, failed]),
    );
}
