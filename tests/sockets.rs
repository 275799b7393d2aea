//! The source sockets against the real kernel, in network namespaces of the tests' own: they make the sockets and know
//! what to expect.

use crate::support::{Namespace, PATIENCE, eventually, tcp_info};
use connscope::metric::Value;
use connscope::reading::{Failure, Readings};
use connscope::source::Source;
use connscope::source::sockets::Sockets;
use connscope::source::sockets::config::Sockets as Settings;
use connscope::source::sockets::diag::{TCP_DESTROY, TCP_DESTROY_V6, parse_event};
use connscope::source::sockets::tcp_info::TcpInfo;
use connscope::stop::Stop;
use connscope::sys::netlink::NetlinkSocket;
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

mod agent;
mod classic;
mod connecting;
mod connections;
mod diag;
mod direction;
mod events;
mod evidence;
mod filter;
mod filters;
mod groups;
mod losses;
mod namespaces;
mod openings;
mod owners;
mod path;
mod select;
mod states;
mod tracker;
mod verdict;
mod waiting;

/// Settings as the configuration file has them.
fn settings(yaml: &str) -> Settings {
    connscope::settings::from_str(yaml).unwrap_or_else(|error| panic!("{yaml}: {error}"))
}

/// Numbers by name and labels: `tcp.io{direction=incoming,network.io.direction=receive}`. Of a distribution there are
/// the count and the sum.
#[derive(Debug, Clone, Default, PartialEq)]
struct Numbers(BTreeMap<String, f64>);

impl Numbers {
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn of(readings: &Readings) -> Self {
        let mut numbers = BTreeMap::new();
        let mut take = |name: String, value: f64| {
            let before = numbers.insert(name.clone(), value);
            assert_eq!(before, None, "{name} is repeated");
        };
        for reading in readings.iter() {
            let labels: Vec<String> =
                reading.labels.iter().map(|(label, value)| format!("{}={value}", label.key())).collect();
            let labels = labels.join(",");
            let name = reading.metric.name;
            match &reading.value {
                Value::U64(value) => take(format!("{name}{{{labels}}}"), *value as f64),
                Value::I64(value) => take(format!("{name}{{{labels}}}"), *value as f64),
                Value::F64(value) => take(format!("{name}{{{labels}}}"), *value),
                Value::Distribution(distribution) => {
                    take(format!("{name}.count{{{labels}}}"), distribution.count() as f64);
                    take(format!("{name}.sum{{{labels}}}"), distribution.sum());
                }
            }
        }
        Self(numbers)
    }

    /// The series of a metric that have these labels.
    fn series<'a>(&'a self, metric: &'a str, labels: &'a [&'a str]) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.iter().filter_map(move |(series, value)| {
            let (name, rest) = series.split_once('{')?;
            let own: Vec<&str> = rest.trim_end_matches('}').split(',').collect();
            (name == metric && labels.iter().all(|label| own.contains(label)))
                .then_some((series.as_str(), *value))
        })
    }

    /// Their sum.
    fn sum(&self, metric: &str, labels: &[&str]) -> f64 {
        // Not `sum`, which begins at -0.
        self.series(metric, labels).fold(0.0, |sum, (_, value)| sum + value)
    }

    /// Number of connections with this event.
    fn became(&self, event: &str, labels: &[&str]) -> f64 {
        let event = format!("event={event}");
        self.sum("tcp.connections", &[&[event.as_str()], labels].concat())
    }

    /// Opened, closed, reset, failed.
    fn events(&self, labels: &[&str]) -> [f64; 4] {
        ["opened", "closed", "reset", "failed"].map(|event| self.became(event, labels))
    }

    /// How many ended: closed, reset or failed.
    fn ended(&self) -> f64 {
        self.events(&[])[1..].iter().sum()
    }

    /// Payload sent and received.
    fn io(&self, labels: &[&str]) -> [f64; 2] {
        ["network.io.direction=transmit", "network.io.direction=receive"]
            .map(|direction| self.sum("tcp.io", &[&[direction], labels].concat()))
    }

    /// How many sockets of TCP are in a state.
    fn state(&self, state: &str, labels: &[&str]) -> f64 {
        let state = format!("network.connection.state={state}");
        let labels = [&[state.as_str(), "network.transport=tcp"], labels].concat();
        self.sum("system.network.connection.count", &labels)
    }

    /// The values of a label that a metric has.
    fn values(&self, metric: &str, label: &str) -> Vec<String> {
        let start = format!("{label}=");
        let mut values: Vec<String> = self
            .series(metric, &[])
            .filter_map(|(series, _)| {
                let (_, labels) = series.trim_end_matches('}').split_once('{')?;
                labels.split(',').find_map(|own| own.strip_prefix(&start)).map(str::to_owned)
            })
            .collect();
        values.sort_unstable();
        values.dedup();
        values
    }
}

const INCOMING: &str = "direction=incoming";
const OUTGOING: &str = "direction=outgoing";

/// The source at work; its thread ends with it.
struct Probe {
    source: Sockets,
    stop: Stop,
    /// What could not be read in the latest cycle.
    failed: Vec<Failure>,
}

impl Probe {
    fn new(yaml: &str) -> Self {
        let stop = Stop::new().unwrap();
        let source = Sockets::new(&settings(yaml), &stop).unwrap();
        Self { source, stop, failed: Vec::new() }
    }

    /// The source after its first look at a namespace.
    fn at(namespace: &Namespace, yaml: &str) -> Self {
        let mut probe = Self::new(yaml);
        namespace.inside(|| probe.read());
        probe
    }

    /// One cycle.
    fn read(&mut self) -> Numbers {
        let mut readings = Readings::default();
        let result = self.source.read(&mut readings);
        let numbers = Numbers::of(&readings);
        self.failed = readings.into_parts().1;
        if let Err(error) = result {
            panic!("{error:?} {:?}", self.failed);
        }
        numbers
    }

    /// Cycles until something is so.
    fn until(&mut self, what: &str, so: impl Fn(&Numbers) -> bool) -> Numbers {
        self.until_with(what, so, || {})
    }

    /// The same, doing something before each.
    fn until_with(&mut self, what: &str, so: impl Fn(&Numbers) -> bool, mut before: impl FnMut()) -> Numbers {
        let until = Instant::now() + PATIENCE;
        loop {
            before();
            let numbers = self.read();
            if so(&numbers) {
                return numbers;
            }
            assert!(Instant::now() < until, "never: {what}: {numbers:#?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop.kill();
    }
}

/// Has what is sent to these get lost on its way: what is dropped where it is sent, TCP holds to be not sent yet.
fn lose(namespace: &Namespace, rules: &[&str]) {
    namespace.run("nft", &["add chain inet t i { type filter hook input priority 0; }"]);
    for rule in rules {
        namespace.run("nft", &[&format!("add rule inet t i {rule} drop")]);
    }
}

/// Hears of the end of sockets in this thread's namespace, as the source does: of what it has heard, the source has too. A
/// source that hears late takes what has gone for closed, however it ended.
struct Ends(NetlinkSocket);

impl Ends {
    fn new() -> Self {
        let socket = NetlinkSocket::open(rustix::net::netlink::SOCK_DIAG, PATIENCE).unwrap();
        for group in [TCP_DESTROY, TCP_DESTROY_V6] {
            socket.join(group).unwrap();
        }
        Self(socket)
    }

    /// Waits for so many ends of connections.
    fn wait(&mut self, count: usize) {
        let mut left = count;
        while left > 0 {
            let datagram = self.0.receive().unwrap();
            parse_event(datagram, |record| left -= usize::from(!record.peer.ip().is_unspecified())).unwrap();
        }
    }
}

fn listener(address: &str) -> TcpListener {
    TcpListener::bind(address).unwrap_or_else(|error| panic!("{address}: {error}"))
}

/// A client and who accepted it.
type Pair = (TcpStream, TcpStream);

fn connection(listener: &TcpListener, to: &str) -> Pair {
    let until = Instant::now() + PATIENCE;
    let client = loop {
        match TcpStream::connect(to) {
            // The way to an address of IPv6 that was just given is there a little later.
            Err(error)
                if error.kind() == std::io::ErrorKind::NetworkUnreachable && Instant::now() < until =>
            {
                std::thread::sleep(Duration::from_millis(10));
            }
            other => break other.unwrap_or_else(|error| panic!("{to}: {error}")),
        }
    };
    (client, listener.accept().unwrap().0)
}

/// Waits until neither end has sent anything that the other has not acknowledged, or has anything to send.
fn quiet(pair: &Pair) {
    eventually("nothing is outstanding", || {
        [&pair.0, &pair.1].iter().all(|end| {
            let info = tcp_info(end);
            let tcp = TcpInfo::new(&info);
            tcp.unacked() == Some(0) && tcp.notsent_bytes() == Some(0)
        })
    });
}

/// One that is not there yet when this returns.
fn begin(to: &str) -> OwnedFd {
    let to: SocketAddr = to.parse().unwrap();
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None).unwrap();
    let _in_progress = rustix::net::connect(&socket, &to);
    socket
}

/// Sends from one to the other, and waits until it is there.
fn send(from: &mut TcpStream, to: &mut TcpStream, bytes: usize) {
    from.write_all(&vec![1; bytes]).unwrap();
    to.read_exact(&mut vec![0; bytes]).unwrap();
}

/// Ends a connection, the client first, each end after it has read the other's: both have received a FIN.
fn close((client, server): Pair) {
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!((&server).read(&mut [0; 1]).unwrap(), 0);
    drop(server);
    assert_eq!((&client).read(&mut [0; 1]).unwrap(), 0);
}

/// Ends one end with a reset.
fn abort(stream: TcpStream) {
    set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// Waits for the reset of the other end, and closes.
fn aborted(mut stream: TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let error = stream.read(&mut [0; 1]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

/// A counter of `/proc/net/netstat`.
fn netstat(word: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let place = names.split(' ').position(|name| name == word).unwrap();
    values.split(' ').nth(place).unwrap().parse().unwrap()
}

/// Joins two namespaces: 10.9.0.1 and 10.9.0.2.
fn join(namespace: &Namespace, elsewhere: &Namespace) {
    let peer = elsewhere.path();
    namespace.run("ip", &["link", "add", "here", "type", "veth", "peer", "name", "there", "netns", &peer]);
    for (space, device, address) in [(namespace, "here", "10.9.0.1/24"), (elsewhere, "there", "10.9.0.2/24")]
    {
        space.run("ip", &["addr", "add", address, "dev", device]);
        space.run("ip", &["link", "set", device, "up"]);
    }
}
