//! Where containers listen, and for whom Docker does.

use super::lab::{Lab, sum, tcp};
use crate::support::Namespace;
use connscope::host::inventory::names::docker::published;
use std::net::SocketAddr;
use std::time::Duration;

const LISTEN: &str = "container.tcp.listen{";

#[test]
fn the_ports_that_docker_publishes_are_those_of_tcp_with_an_address_and_a_number() {
    let text = |ports: &str| format!(r#"{{"Name": "/x", "NetworkSettings": {{"Ports": {ports}}}}}"#);
    let of = |ports: &str| {
        published(text(ports).as_bytes()).iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" ")
    };
    let both = r#"{"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
        "53/udp": [{"HostIp": "", "HostPort": "53"}], "90/tcp": null, "91/tcp": []}"#;
    assert_eq!(of(both), "0.0.0.0:8080 [::]:8080");
    assert_eq!(of(r#"{"80/tcp": [{"HostIp": "", "HostPort": "1"}]}"#), "0.0.0.0:1");
    for nothing in [
        r#"{"80/tcp": [{"HostIp": "x", "HostPort": "1"}]}"#,
        r#"{"80/tcp": [{"HostPort": "0"}]}"#,
        "null",
        "7",
    ] {
        assert_eq!(of(nothing), "", "{nothing}");
    }
    let whole = text(both);
    for (end, _) in whole.char_indices() {
        assert!(published(whole.get(..end).unwrap().as_bytes()).is_empty());
    }
}

#[test]
fn an_unspecified_address_stands_for_those_of_the_namespace_also_for_new_ones() {
    let Some(namespace) = Namespace::new() else { return };
    let Some(mut lab) = Lab::new(tcp(), Duration::from_mins(5), 500) else { return };
    namespace.run("ip", &["addr", "add", "10.9.0.1/24", "dev", "lo"]);
    let mut container = lab.container("listens", Some(&namespace));
    let (four, six) = (container.tell("listen 0.0.0.0 0"), container.tell("listen :: 0"));
    let loopback = container.tell("listen 127.0.0.1 0");
    let port = |port: &str| format!("local.port={port}}}");
    let (four, six, loopback) = (port(&four), port(&six), port(&loopback));
    let at = |address: &'static str| format!("local.address={address},");
    let first = at("10.9.0.1");
    lab.sees(&[(&[LISTEN, &first, &four], 1.0), (&[LISTEN, &first, &six], 1.0)]);
    namespace.run("ip", &["addr", "add", "10.9.0.2/24", "dev", "lo"]);
    namespace.run("ip", &["addr", "add", "fd00:9::1/64", "dev", "lo"]);
    let (second, third) = (at("10.9.0.2"), at("fd00:9::1"));
    let series = lab.sees(&[
        (&[LISTEN, &second, &four], 1.0),
        (&[LISTEN, &second, &six], 1.0),
        (&[LISTEN, &third, &six], 1.0),
    ]);
    assert_eq!(sum(&series, &[LISTEN, &third, &four]), None);
    assert_eq!(sum(&series, &[LISTEN, &loopback]), None);
    assert!(!series.iter().any(|one| one.text.starts_with(LISTEN) && one.text.contains("address=fe80")));
}

#[test]
fn a_published_port_carries_its_proxy_as_soon_as_docker_writes_it() {
    let Some(mut lab) = Lab::new(tcp(), Duration::from_mins(5), 500) else { return };
    let container =
        lab.published("web", None, r#"{"80/tcp": [{"HostIp": "192.0.2.7", "HostPort": "8080"}]}"#);
    let one = [LISTEN, "name=web", "address=192.0.2.7,", "port=8080,", "proxy=dockerd"];
    lab.sees(&[
        (&one, 1.0),
        (&["container.classic.listen{", "listen_addr=192.0.2.7:8080", "proxy=dockerd"], 1.0),
    ]);
    lab.publishes(&container, "web", "{}");
    lab.until("it is not published any more", |series| sum(series, &one).is_none());
}

#[test]
fn a_listener_whose_container_is_named_late_has_one_series() {
    let Some(mut lab) = Lab::new(tcp(), Duration::from_mins(5), 500) else { return };
    let mut container = Lab::unnamed(None);
    let port = container.tell("listen 127.0.0.1 0");
    let listen_addr = format!("listen_addr=127.0.0.1:{port},");
    let classic = ["container.classic.listen{", listen_addr.as_str()];
    lab.sees(&[(&classic, 1.0)]);
    lab.publishes(&container, "late", "{}");
    // Names are looked for again every 10 seconds.
    let series = lab.until("it has its name", |series| {
        series
            .iter()
            .any(|one| one.text.contains("container_id=/docker/late") && one.text.contains(&listen_addr))
    });
    let all: Vec<_> =
        series.iter().filter(|one| classic.iter().all(|part| one.text.contains(part))).collect();
    assert_eq!(all.len(), 1, "{all:#?}");
}
