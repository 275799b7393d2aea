//! What the numbers have to be: what `conntrack -S` and the sysctls say in a namespace, under the names of Prometheus;
//! and the traffic that moves them, of the kinds that take no sysctl and no luck.

use crate::stack::{AGENT, page};
use crate::support::{Namespace, PATIENCE, sample};
use rustix::net::{AddressFamily, Protocol, SendFlags, SocketFlags, SocketType, sendto, socket_with};
use std::collections::BTreeMap;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::Command;

/// Numbers by series, as `name{label="value",…}`.
pub(crate) type Numbers = BTreeMap<String, f64>;

/// A sysctl that is not among those the agent reads by itself: agent.yaml names it.
const FURTHER_SYSCTL: &str = "nf_conntrack_expect_max";

/// What the kernel says.
pub(crate) fn kernel(namespace: &Namespace) -> Numbers {
    let mut numbers = Numbers::new();
    // The expectations are a table of their own.
    let printed = ["conntrack", "expect"].map(|table| namespace.run("conntrack", &["-S", table]));
    for line in printed.iter().flat_map(|printed| printed.lines()) {
        let mut pairs = line.split_ascii_whitespace().filter_map(|pair| pair.split_once('='));
        let (_, cpu) = pairs.next().unwrap();
        for (word, value) in pairs {
            numbers.insert(format!("conntrack_{word}_total{{cpu=\"{cpu}\"}}"), value.parse().unwrap());
        }
    }
    let sysctl = |name: &str| -> f64 {
        let path = format!("/proc/sys/net/netfilter/{name}");
        namespace.inside(|| std::fs::read_to_string(path)).unwrap().trim().parse().unwrap()
    };
    let (usage, limit) = (sysctl("nf_conntrack_count"), sysctl("nf_conntrack_max"));
    numbers.insert("conntrack_table_usage".to_owned(), usage);
    numbers.insert("conntrack_table_limit".to_owned(), limit);
    numbers.insert("conntrack_table_utilization_ratio".to_owned(), usage / limit);
    numbers.insert("conntrack_table_buckets".to_owned(), sysctl("nf_conntrack_buckets"));
    numbers.insert("conntrack_table_load_ratio".to_owned(), usage / sysctl("nf_conntrack_buckets"));
    let slabs = std::fs::read_to_string("/proc/slabinfo").unwrap_or_default();
    if let Some(slab) = slabs.lines().find(|line| line.starts_with("nf_conntrack ")) {
        let size = slab.split_ascii_whitespace().nth(3).unwrap().parse().unwrap();
        numbers.insert("conntrack_table_entry_size_bytes".to_owned(), size);
    }
    let listed = namespace.run("ls", &["/proc/sys/net/netfilter"]);
    let by_itself = |name: &&str| {
        let rest = name.strip_prefix("nf_conntrack_").unwrap_or_default();
        rest.contains("timeout") || ["acct", "timestamp", "events", "helper"].contains(&rest)
    };
    for name in listed.lines().filter(by_itself).chain([FURTHER_SYSCTL]) {
        let label = name.trim_start_matches("nf_");
        numbers.insert(format!("conntrack_table_sysctl{{sysctl=\"{label}\"}}"), sysctl(name));
    }
    numbers
}

/// The sum of a counter over its CPUs.
pub(crate) fn sum(numbers: &Numbers, name: &str) -> f64 {
    let start = format!("{name}{{");
    numbers.iter().filter(|(series, _)| series.starts_with(&start)).map(|(_, value)| value).sum()
}

/// Ports of the gateway in [`arrange`].
const PORTS: usize = 4;

/// What [`port_pressure`] sends in a round: more than there are ports.
const DATAGRAMS: usize = 12;

/// The rules that some of the traffic takes: a gateway with few ports, and the helper for TFTP where the kernel has it.
pub(crate) fn arrange(namespace: &Namespace) {
    let last = 40_000 + PORTS - 1;
    let gateway = format!(
        "add table ip gateway; \
         add chain ip gateway out {{ type nat hook postrouting priority 100; }}; \
         add rule ip gateway out ip daddr 127.0.2.1 udp dport 443 snat ip to 127.0.0.20:40000-{last}"
    );
    namespace.run("nft", &[&gateway]);
    let helper = "add table ip announced; \
                  add ct helper ip announced tftp { type \"tftp\" protocol udp; }; \
                  add chain ip announced out { type filter hook output priority 0; }; \
                  add rule ip announced out ip daddr 127.0.0.1 udp dport 69 ct helper set \"tftp\"";
    let _refused = namespace.inside(|| Command::new("nft").arg(helper).output());
}

/// Whether this kernel has the helper for TFTP.
pub(crate) fn has_helper(namespace: &Namespace) -> bool {
    let listed = namespace.inside(|| Command::new("nft").args(["list", "table", "ip", "announced"]).output());
    listed.is_ok_and(|output| output.status.success())
}

/// Traffic that moves the table, `insert`, `invalid`, `error`, `found`, `insert_failed`, `drop` and what counts
/// expectations; a `round` of its own makes connections of its own.
pub(crate) fn traffic(namespace: &Namespace, round: u16) {
    for number in 1..=5 {
        let port = (round * 100 + number).to_string();
        let entry = ["-p", "udp", "--sport", &port, "--dport", "53", "-t", "1000"];
        let pair = ["-I", "-s", "192.0.2.1", "-d", "192.0.2.2"];
        namespace.run("conntrack", &[&pair[..], &entry[..]].concat());
    }
    namespace.inside(|| {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        for number in 0..40 {
            // Refused: the table has made an entry before.
            let _refused = udp.send_to(b"x", ("127.0.0.1", 20_000 + round * 100 + number));
        }
        let tcp = raw(rustix::net::ipproto::TCP);
        // Ports 1 and 2, data offset 5, flags SYN, FIN and RST at once.
        let segment = [0, 1, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x07, 0, 0, 0, 0, 0, 0];
        let to: SocketAddrV4 = "127.0.0.1:0".parse().unwrap();
        for _ in 0..50 {
            sendto(&tcp, &segment, SendFlags::empty(), &to).unwrap();
        }
        errors();
        port_pressure();
        expectation();
    });
}

fn raw(protocol: Protocol) -> OwnedFd {
    socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol)).unwrap()
}

/// The checksum of IP and ICMP.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xFFFF) + (sum >> 16);
    let [_, _, high, low] = (!(folded + (folded >> 16))).to_be_bytes();
    [high, low]
}

/// `error`: ICMP "port unreachable" about a connection nobody has.
fn errors() {
    // From port 9 of 127.0.0.1 to port 53 of 127.0.0.2, over UDP.
    let mut header = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 2];
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum);
    let mut message = [&[3, 3, 0, 0, 0, 0, 0, 0], &header[..], &[0, 9, 0, 53, 0, 8, 0, 0]].concat();
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum);
    let icmp = raw(rustix::net::ipproto::ICMP);
    let to: SocketAddrV4 = "127.0.0.1:0".parse().unwrap();
    for _ in 0..20 {
        sendto(&icmp, &message, SendFlags::empty(), &to).unwrap();
    }
}

/// `found`: connections through a gateway that has not a port for each, so that a free one has to be looked for; and
/// `insert_failed` and `drop`, once none is free.
fn port_pressure() {
    for _ in 0..DATAGRAMS {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        // Dropped where no port is free.
        let _dropped = udp.send_to(b"x", ("127.0.2.1", 443));
    }
}

/// `expect_*`: TFTP, where the answer comes from another port than was asked. Without the helper just two datagrams.
fn expectation() {
    let server = UdpSocket::bind("127.0.0.1:69").unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send_to(b"\0\x01hello\0octet\0", ("127.0.0.1", 69)).unwrap();
    let (_, asker) = server.recv_from(&mut [0; 64]).unwrap();
    let answer = UdpSocket::bind("127.0.0.1:0").unwrap();
    answer.send_to(b"\0\x03\0\x01hello", asker).unwrap();
    client.recv_from(&mut [0; 64]).unwrap();
}

/// Where two sets of numbers differ, in words.
pub(crate) fn difference(name: &str, numbers: &Numbers, expected: &Numbers) -> Result<(), String> {
    let mut differences: Vec<String> = expected
        .iter()
        .filter(|(series, value)| numbers.get(*series) != Some(value))
        .map(|(series, value)| format!("{series} is {:?}, not {value}", numbers.get(series)))
        .collect();
    let more = numbers.keys().filter(|series| !expected.contains_key(*series));
    differences.extend(more.map(|series| format!("{series} is too many")));
    if differences.is_empty() { Ok(()) } else { Err(format!("{name}: {}", differences.join("; "))) }
}

/// What the agent's own endpoint says how many data points were exported, with an `error.type` or well.
pub(crate) fn exported(exposition: &str, error: Option<&str>) -> f64 {
    series_with(exposition, "otel_sdk_exporter_metric_data_point_exported_total{", error)
}

/// How many exports ended, by their `error.type`.
pub(crate) fn exports(exposition: &str, error: Option<&str>) -> f64 {
    series_with(exposition, "otel_sdk_exporter_operation_duration_seconds_count{", error)
}

fn series_with(exposition: &str, start: &str, error: Option<&str>) -> f64 {
    let label = error.map_or(String::new(), |error| format!("error_type=\"{error}\""));
    exposition
        .lines()
        .filter(|line| line.starts_with(start))
        .filter(|line| if error.is_some() { line.contains(&label) } else { !line.contains("error_type=") })
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// A scrape of the agent.
pub(crate) fn scrape(namespace: &Namespace) -> Result<String, String> {
    scrape_at(namespace, AGENT)
}

/// A scrape of the agent on another port.
pub(crate) fn scrape_at(namespace: &Namespace, port: u16) -> Result<String, String> {
    let text = page(namespace, port, "/metrics")?;
    match sample(&text, "connscope_source_up{source=\"conntrack\"}") {
        Some(1.0) => Ok(text),
        other => Err(format!("the source is not up: {other:?}")),
    }
}
