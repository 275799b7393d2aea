//! Which flows the classic profile shows. The first tests have the cases of `prometheus_ss_exporter`'s own test of its
//! selection, with what its README promises as the expectation.

use crate::support::schema;
use connscope::catalog::Config;
use connscope::settings::network::Network;
use connscope::source::sockets::select::{Addresses, Flow, Process, Selection};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// What a text under `sources.sockets.classic` selects.
fn selection(classic: &str) -> Selection {
    let text = format!("sources: {{sockets: {{classic: {{{classic}}}}}}}\n");
    let config =
        Config::parse(&text, Path::new("test.yaml")).unwrap_or_else(|error| panic!("{error}\n{text}"));
    Selection::new(&config.sources.sockets.classic)
}

fn refused(classic: &str) -> String {
    let text = format!("sources: {{sockets: {{classic: {{{classic}}}}}}}\n");
    let error = Config::parse(&text, Path::new("test.yaml")).expect_err(classic).to_string();
    error.rsplit_once("sources.sockets.classic.").unwrap_or_else(|| panic!("{error}")).1.to_owned()
}

/// A process with its arguments, each ended by a zero byte as the kernel has them.
fn process<'a>(pid: u32, comm: &'a str, cmdline: &str) -> (u32, &'a str, Vec<String>) {
    (pid, comm, cmdline.split_terminator('\0').map(str::to_owned).collect())
}

/// Whether a flow of this process to this peer is shown, where no name has an address.
fn shows(selection: &Selection, peer: &str, processes: &[(u32, &str, Vec<String>)]) -> bool {
    let processes: Vec<Process> =
        processes.iter().map(|(pid, comm, arguments)| Process { pid: *pid, comm, arguments }).collect();
    let flow = Flow { peer: peer.parse().unwrap(), processes: &processes };
    selection.selects(&flow, &Addresses::new())
}

#[test]
fn without_conditions_every_flow_is_shown() {
    for nothing in ["", "include: , exclude: ", "include: {ports: [], peers: , processes: {pids: }}"] {
        let all = selection(nothing);
        assert!(
            shows(&all, "192.0.2.1:443", &[]) && shows(&all, "[2001:db8::1]:1", &[process(1, "init", "")])
        );
        assert!(!all.needs_processes() && all.hosts().next().is_none());
    }
}

#[test]
fn peers_are_selected_by_address() {
    let one = selection("include: {peers: {addresses: [10.0.1.10]}}");
    assert!(!shows(&one, "91.189.92.41:80", &[]));
    assert!(shows(&one, "10.0.1.10:80", &[]));
    let six =
        selection(r#"include: {peers: {addresses: ["2003:f1:e3cc:1966:feaa:14ff:fe1c:5dea", 10.0.1.10]}}"#);
    assert!(shows(&six, "[2003:f1:e3cc:1966:feaa:14ff:fe1c:5dea]:443", &[]));
    assert!(shows(&six, "10.0.1.10:443", &[]));
    assert!(!shows(&six, "[2003:f1:e3cc:1966:feaa:14ff:fe1c:5deb]:443", &[]));
}

#[test]
fn a_peer_of_an_ipv6_socket_that_speaks_ipv4_is_an_ipv4_peer() {
    for peers in ["addresses: [10.0.1.10]", r#"addresses: ["::ffff:10.0.1.10"]"#, "networks: [10.0.0.0/8]"] {
        let selection = selection(&format!("include: {{peers: {{{peers}}}}}"));
        assert!(shows(&selection, "[::ffff:10.0.1.10]:80", &[]), "{peers}");
        assert!(shows(&selection, "10.0.1.10:80", &[]), "{peers}");
        assert!(!shows(&selection, "[::ffff:11.0.1.10]:80", &[]), "{peers}");
    }
}

#[test]
fn peers_are_selected_by_the_addresses_behind_a_name() {
    let named =
        selection("include: {peers: {hosts: [test.leave.org]}}, exclude: {peers: {hosts: [no.leave.org]}}");
    assert_eq!(named.hosts().collect::<Vec<_>>(), ["no.leave.org", "test.leave.org"]);
    let mut addresses = Addresses::new();
    let leave = "[2001:db8::5]:80";
    let to = |peer: &str| Flow { peer: peer.parse().unwrap(), processes: &[] };
    assert!(
        !named.selects(&to(leave), &addresses),
        "a name without addresses is not the absence of a condition"
    );
    addresses.insert(
        "test.leave.org".to_owned(),
        vec!["::ffff:192.0.2.5".parse().unwrap(), "2001:db8::5".parse().unwrap()],
    );
    addresses.insert("test.root.org".to_owned(), vec!["192.0.2.6".parse().unwrap()]);
    assert!(named.selects(&to(leave), &addresses) && named.selects(&to("192.0.2.5:80"), &addresses));
    assert!(!named.selects(&to("192.0.2.6:80"), &addresses));
    addresses.insert("no.leave.org".to_owned(), vec!["2001:db8::5".parse().unwrap()]);
    assert!(!named.selects(&to(leave), &addresses) && named.selects(&to("192.0.2.5:80"), &addresses));
}

#[test]
fn peers_are_selected_by_network() {
    let networks =
        selection(r#"include: {peers: {networks: [192.168.0.0/16, 10.1.2.3/12, "2001:db8::/33"]}}"#);
    for peer in ["192.168.92.41:1", "192.168.0.0:1", "192.168.255.255:1", "10.0.0.1:1", "10.15.255.255:1"] {
        assert!(shows(&networks, peer, &[]), "{peer}");
    }
    assert!(shows(&networks, "[2001:db8:7fff::1]:1", &[]));
    for peer in ["192.167.255.255:1", "192.169.0.0:1", "10.16.0.0:1", "[2001:db8:8000::]:1", "[::c0a8:0]:1"] {
        assert!(!shows(&networks, peer, &[]), "{peer}");
    }
}

#[test]
fn ports_are_those_of_the_peer_and_ranges_have_both_their_ends() {
    let ports = selection(r#"include: {ports: [1000-2000, 443, "8080"]}"#);
    for port in [1000, 1500, 2000, 443, 8080] {
        assert!(shows(&ports, &format!("192.0.2.1:{port}"), &[]), "{port}");
    }
    for port in [100, 999, 2001, 442, 444, 0, 65535] {
        assert!(!shows(&ports, &format!("192.0.2.1:{port}"), &[]), "{port}");
    }
}

#[test]
fn processes_are_selected_by_number_or_by_command() {
    let peer = "192.0.2.1:80";
    let pid = selection("include: {processes: {pids: [100]}}");
    assert!(pid.needs_processes() && !pid.needs_command_lines());
    assert!(!shows(&pid, peer, &[process(101, "other", "other\0")]));
    assert!(shows(&pid, peer, &[process(100, "server", "server\0")]));
    assert!(!shows(&pid, peer, &[]), "not known is not selected");
    let command = selection("include: {processes: {commands: [server]}}");
    assert!(command.needs_processes() && command.needs_command_lines());
    assert!(!shows(&command, peer, &[process(101, "other", "other\0")]));
    assert!(shows(&command, peer, &[process(101, "server", "server\0")]));
    let either = selection("include: {processes: {pids: [100], commands: [server]}}");
    assert!(
        shows(&either, peer, &[process(100, "other", "")])
            && shows(&either, peer, &[process(1, "server", "")])
    );
    assert!(
        shows(&either, peer, &[process(7, "other", ""), process(100, "other", "")]),
        "one holder is enough"
    );
    assert!(!shows(&either, peer, &[process(7, "other", "")]));
}

#[test]
fn a_command_is_a_name_or_a_program_or_a_command_line() {
    let is = |command: &str, comm: &str, cmdline: &str| {
        let selection = selection(&format!("include: {{processes: {{commands: [\"{command}\"]}}}}"));
        shows(&selection, "192.0.2.1:80", &[process(1, comm, cmdline)])
    };
    assert!(is("nginx", "nginx", "nginx: worker process\0"), "nginx writes over its arguments");
    assert!(is("python", "python3.13", "python\0-m\0http.server\0"), "the program it was called as");
    assert!(
        is("prometheus-node-exporter", "prometheus-node", "/usr/bin/prometheus-node-exporter\0"),
        "a long name"
    );
    assert!(is(
        "/usr/bin/prometheus-node-exporter",
        "prometheus-node",
        "/usr/bin/prometheus-node-exporter\0--x\0"
    ));
    assert!(is("python -m http.server", "python3.13", "python\0-m\0http.server\0"), "the whole line");
    assert!(!is("http.server", "python3.13", "python\0-m\0http.server\0"), "no part of it");
    assert!(
        !is("bin", "x", "/usr/bin/x\0")
            && !is("ngin", "nginx", "nginx\0")
            && !is("nginxx", "nginx", "nginx\0")
    );
}

#[test]
fn each_kind_of_condition_must_hold() {
    let both = selection("include: {peers: {networks: [192.168.0.0/16]}, ports: [1000-2000]}");
    assert!(shows(&both, "192.168.92.41:1500", &[]));
    assert!(!shows(&both, "192.168.92.41:900", &[]) && !shows(&both, "192.169.92.41:1500", &[]));
    let all = selection(
        "include: {processes: {commands: [nginx]}, peers: {addresses: [192.0.2.9], networks: [10.0.0.0/8]}, ports: [443]}",
    );
    let nginx = [process(5, "nginx", "nginx\0")];
    assert!(shows(&all, "10.3.3.3:443", &nginx) && shows(&all, "192.0.2.9:443", &nginx));
    assert!(!shows(&all, "10.3.3.3:443", &[process(5, "curl", "curl\0")]));
    assert!(!shows(&all, "10.3.3.3:80", &nginx) && !shows(&all, "192.0.2.8:443", &nginx));
    assert!(all.may_select("10.3.3.3:443".parse().unwrap(), &Addresses::new()), "it depends on the process");
    assert!(!all.may_select("10.3.3.3:80".parse().unwrap(), &Addresses::new()), "whatever the process is");
}

#[test]
fn whatever_matches_an_exclude_is_left_out() {
    let outside = selection(
        "include: {ports: [80-443]}, exclude: {processes: {pids: [7], commands: [curl]}, ports: [81], \
         peers: {addresses: [192.0.2.9], networks: [10.0.0.0/8, 172.16.0.0/12]}}",
    );
    assert!(outside.needs_processes() && outside.needs_command_lines());
    assert!(shows(&outside, "192.0.2.1:80", &[]), "not known is not excluded");
    assert!(shows(&outside, "192.0.2.1:80", &[process(8, "wget", "wget\0")]));
    for (peer, pid, comm) in [
        ("192.0.2.1:8080", 8, "wget"),
        ("192.0.2.1:81", 8, "wget"),
        ("192.0.2.9:80", 8, "wget"),
        ("10.255.0.1:80", 8, "wget"),
        ("[::ffff:172.31.0.1]:80", 8, "wget"),
        ("192.0.2.1:80", 7, "wget"),
        ("192.0.2.1:80", 8, "curl"),
    ] {
        assert!(
            !shows(&outside, peer, &[process(9, "sh", ""), process(pid, comm, "")]),
            "{peer} {pid} {comm}"
        );
    }
}

#[test]
fn bad_conditions_are_refused_with_their_place() {
    for (classic, expected) in [
        (
            "include: {peers: {networks: [10.0.0.0/8, 10.0.0.0/33]}}",
            "include.peers.networks[1]: `10.0.0.0/33` has a prefix of more than 32 bits",
        ),
        (
            "include: {peers: {networks: [\"fd00::/129\"]}}",
            "include.peers.networks[0]: `fd00::/129` has a prefix of more than 128 bits",
        ),
        (
            "include: {peers: {networks: [10.0.0/8]}}",
            "`10.0.0/8` is not a network such as 10.0.0.0/8 or fd00::/8",
        ),
        ("include: {peers: {networks: [10.0.0.0/+8]}}", "`10.0.0.0/+8` is not a network"),
        ("include: {peers: {networks: [10.0.0.0/]}}", "`10.0.0.0/` is not a network"),
        (
            "include: {peers: {networks: [10.0.0.0/255.0.0.0]}}",
            "has a mask; the length of the prefix goes there",
        ),
        (
            "exclude: {peers: {addresses: [10.0.0.0/8]}}",
            "exclude.peers.addresses[0]: `10.0.0.0/8` is not an IP address; networks have",
        ),
        ("include: {peers: {addresses: [web]}}", "include.peers.addresses[0]: `web` is not an IP address"),
        (
            "include: {peers: {hosts: [\"web:80\"]}}",
            "include.peers.hosts[0]: `web:80` is not the name of a host",
        ),
        (
            "include: {ports: [80, 9000-8000]}",
            "include.ports[1]: `9000-8000` is a range that ends before it begins",
        ),
        ("include: {ports: [65536]}", "include.ports[0]: `65536` is not a port"),
        ("include: {ports: [\"80-65536\"]}", "`80-65536` is neither a port nor a range such as 8000-9000"),
        ("include: {ports: [-1]}", "include.ports[0]: "),
        ("include: {ports: [http]}", "`http` is neither a port nor a range"),
        ("include: {processes: {pids: [0]}}", "include.processes.pids[0]: `0` is not a PID"),
        ("include: {processes: {pids: [nginx]}}", "include.processes.pids[0]: `nginx` is not a whole number"),
        ("include: {processes: {commands: [\"\"]}}", "include.processes.commands[0]: `` is not a command"),
        ("include: {processes: {cmds: [nginx]}}", "include.processes.cmds: unknown field `cmds`"),
        ("flow: host", "flow: unknown variant `host`"),
        ("limit: 0", "limit: `0` is out of range: 1 to 100000"),
        ("limit: 100001", "limit: `100001` is out of range"),
        ("metrics: [rtt, retransmits]", "metrics[1]: unknown variant `retransmits`"),
        ("buckets: []", "buckets: has 0 bounds; 1 to 100 are allowed"),
        ("buckets: [1, 1]", "buckets: `1` follows `1`: bounds must be in ascending order"),
        ("buckets: [0.5, 0.1]", "buckets: `0.1` follows `0.5`: bounds must be in ascending order"),
        ("buckets: [0, 1]", "buckets: `0` is not a valid bound"),
        ("buckets: [1, .inf]", "buckets: `inf` is not a valid bound"),
    ] {
        let error = refused(classic);
        assert!(error.contains(expected), "{classic}: {error}");
    }
    let many = vec!["1"; 1001].join(", ");
    assert!(
        refused(&format!("include: {{ports: [{many}]}}"))
            .contains("include.ports: has more than 1000 entries")
    );
}

#[test]
fn the_schema_takes_the_conditions_that_the_program_takes() {
    let schema = jsonschema::validator_for(&schema()).unwrap();
    let takes = |classic: &str| {
        let text = format!("sources: {{sockets: {{classic: {{{classic}}}}}}}");
        schema.is_valid(&connscope::settings::from_str::<serde_json::Value>(&text).unwrap())
    };
    assert!(takes("limit: 5, metrics: [rtt], buckets: [0.5, 1], flow: pid_condensed"));
    assert!(takes("include: {ports: [443, 80-90], processes: {pids: [1], commands: [nginx]}}"));
    assert!(takes(
        "exclude: {peers: {networks: [10.0.0.0/8, \"fd00::/8\"], addresses: [\"::1\"], hosts: [web]}}"
    ));
    for bad in [
        "limit: 0",
        "metrics: [retransmits]",
        "flow: host",
        "include: {ports: [70000]}",
        "include: {ports: [http]}",
        "include: {processes: {pids: [nginx]}}",
        "exclude: {peers: {networks: [web/8]}}",
        "include: {cmds: []}",
    ] {
        assert!(!takes(bad), "{bad}");
    }
}

#[test]
fn networks_are_written_as_they_are_meant() {
    for (text, meant) in [
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("10.1.2.3", "10.1.2.3/32"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8::1", "2001:db8::1/128"),
        ("2001:db8::1/32", "2001:db8::/32"),
        ("::ffff:10.1.2.3/104", "10.0.0.0/8"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("::ffff:10.1.2.3/95", "::fffe:0:0/95"),
    ] {
        let network: Network = text.parse().unwrap_or_else(|error| panic!("{text} {error}"));
        assert_eq!(network.to_string(), meant);
    }
    let (wide, narrow): (Network, Network) = ("10.0.0.0/8".parse().unwrap(), "10.2.0.0/15".parse().unwrap());
    assert!(narrow.prefix_len() > wide.prefix_len());
}

/// The first bits of an address, as a number, and how many there are in all.
fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

proptest! {
    /// Addresses that differ in one bit somewhere: random ones would hardly ever be in the same network.
    #[test]
    fn a_network_has_the_addresses_that_share_its_prefix(six: bool, number: u128, prefix in 0u32..=128, flip in 0u32..128) {
        let (number, width, flip) = if six { (number, 128, flip) } else { (number & 0xffff_ffff, 32, flip % 32) };
        let prefix = prefix % (width + 1);
        let of = |number: u128| -> IpAddr {
            if six { Ipv6Addr::from_bits(number).into() } else { Ipv4Addr::from_bits(u32::try_from(number).unwrap()).into() }
        };
        let network: Network = format!("{}/{prefix}", of(number)).parse().unwrap();
        prop_assert_eq!(network.to_string().parse::<Network>().unwrap(), network);
        let other = of(number ^ (1 << flip));
        prop_assume!(!six || (Ipv6Addr::from_bits(number).to_ipv4_mapped().is_none() && other.to_canonical().is_ipv6()));
        let shifted = |address| { let (bits, width) = bits(address); bits.checked_shr(width - prefix).unwrap_or(0) };
        prop_assert!(network.contains(of(number)));
        prop_assert_eq!(network.contains(other), shifted(of(number)) == shifted(other), "{} {}", network, other);
        let mapped = match other { IpAddr::V4(v4) => v4.to_ipv6_mapped().into(), six @ IpAddr::V6(_) => six };
        prop_assert_eq!(network.contains(mapped), network.contains(other));
        let selection = selection(&format!("include: {{peers: {{networks: [\"{network}\"]}}}}"));
        let flow = Flow { peer: SocketAddr::new(other, 80), processes: &[] };
        prop_assert_eq!(selection.selects(&flow, &Addresses::new()), network.contains(other));
    }
}
