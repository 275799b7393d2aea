//! `connscope config import coroot-node-agent`: the flags of its command line.

use crate::support::connscope;
use connscope::catalog::Config;
use connscope::config::{Address, Protocol};
use connscope::metric::naming::Profile;
use std::path::Path;

fn import(flags: &[&str]) -> Result<String, String> {
    let arguments = [&["config", "import", "coroot-node-agent", "--"], flags].concat();
    let output = connscope(&arguments);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    match output.status.code() {
        Some(0) => Ok(text(&output.stdout)),
        Some(2) => Err(text(&output.stderr)),
        _ => panic!("{output:?}"),
    }
}

fn parsed(flags: &[&str]) -> (Config, String) {
    let printed = import(flags).unwrap();
    let config = Config::parse(&printed, Path::new("x")).unwrap_or_else(|error| panic!("{error}\n{printed}"));
    (config, printed)
}

#[test]
fn the_daemon_set_of_the_first_release_becomes_a_configuration() {
    let (config, printed) = parsed(&["--cgroupfs-root=/host/sys/fs/cgroup"]);
    let prometheus = &config.export.prometheus;
    assert_eq!(prometheus.listen, Address::At { host: "0.0.0.0".to_owned(), port: 80 }.into());
    assert_eq!((prometheus.naming, config.export.otlp.protocol), (Profile::Classic, Protocol::None));
    let sources = &config.sources;
    assert!(!sources.conntrack.enabled && !sources.sockets.enabled && sources.node.enabled);
    assert!(sources.containers.enabled && sources.containers.classic.enabled);
    assert!(sources.logs.enabled && sources.logs.classic.enabled);
    assert!(
        printed.contains("# `--cgroupfs-root` has no counterpart: control groups are found"),
        "{printed}"
    );
}

#[test]
fn every_flag_that_has_a_counterpart_sets_it() {
    let (config, printed) = parsed(&[
        "--listen",
        "127.0.0.1:8080",
        "--no-parse-logs",
        "--no-ping-upstreams",
        "--track-public-network=192.0.2.0/24",
        "--track-public-network",
        "2001:db8::/32",
        "--provider=onprem",
        "--region=eu",
        "--availability-zone=rack-7",
        "--instance-type=big",
        "--container-allowlist=/k8s/prod/.*",
        "--container-denylist=batch",
        "--log-patterns-per-container=64",
    ]);
    let listen = Address::At { host: "127.0.0.1".to_owned(), port: 8080 };
    assert_eq!(config.export.prometheus.listen, listen.into());
    assert!(!config.sources.logs.enabled && config.sources.logs.patterns == 64);
    assert_eq!(config.sources.containers.tcp.networks.len(), 2);
    let cloud = serde_json::to_value(&config.resource.cloud).unwrap();
    for (key, value) in
        [("provider", "onprem"), ("region", "eu"), ("availability_zone", "rack-7"), ("instance_type", "big")]
    {
        assert_eq!(cloud[key], value, "{printed}");
    }
    let matches = |all: &[connscope::host::inventory::config::Expression], text: &str| {
        all.iter().any(|expression| expression.matches(text))
    };
    assert!(matches(&config.inventory.include, "/k8s/prod/web-0/app"));
    assert!(matches(&config.inventory.exclude, "/docker/nightly-batch-1"));
    assert!(matches(&config.inventory.exclude, "/system.slice/systemd-logind.service"), "the default stays");
    assert!(printed.contains("`--no-ping-upstreams` has no counterpart"), "{printed}");
}

#[test]
fn a_push_becomes_otlp_and_all_public_networks_are_said_otherwise() {
    let (config, printed) = parsed(&[
        "--metrics-endpoint=http://prometheus:9090/api/v1/write",
        "--scrape-interval=30s",
        "--track-public-network=0.0.0.0/0",
        "--skip-systemd-system-services=false",
    ]);
    let otlp = &config.export.otlp;
    assert_eq!(otlp.endpoint.as_deref(), Some("http://prometheus:9090/api/v1/otlp"), "{printed}");
    assert_eq!(otlp.interval.as_secs(), 30);
    assert!(printed.contains("public: each") && config.inventory.exclude.is_empty(), "{printed}");
}

#[test]
fn flags_that_stand_alone_can_be_negated() {
    let (config, printed) = parsed(&[
        "--no-skip-systemd-system-services",
        "--no-no-parse-logs",
        "--no-disable-gpu-monitoring",
        "--disable-pinger",
    ]);
    assert!(config.inventory.exclude.is_empty() && config.sources.logs.enabled, "{printed}");
    assert!(
        !printed.contains("--disable-gpu-monitoring") && printed.contains("`--disable-pinger`"),
        "{printed}"
    );
}

#[test]
fn of_two_endpoints_the_one_for_metrics_is_taken_and_the_other_said() {
    let both = [
        "--collector-endpoint=http://coroot:8080",
        "--metrics-endpoint=http://prometheus:9090/api/v1/write?a=1",
    ];
    let (config, printed) = parsed(&both);
    let endpoint = config.export.otlp.endpoint.as_deref();
    assert_eq!(endpoint, Some("http://prometheus:9090/api/v1/otlp?a=1"), "{printed}");
    let said = "`--collector-endpoint` is not used beside `--metrics-endpoint`";
    assert!(printed.contains(said), "{printed}");
    let (config, printed) = parsed(&both[..1]);
    assert_eq!(config.export.otlp.endpoint.as_deref(), Some("http://coroot:8080/api/v1/otlp"), "{printed}");
    assert!(!printed.contains("is not used"), "{printed}");
}

#[test]
fn a_secret_is_in_no_message() {
    for (flags, expected) in [
        (&["--metrics-endpoint=http://me:hunter2@prometheus/api/v1/write"][..], "--metrics-endpoint http://"),
        (&["--collector-endpoint=ftp://me:hunter2@coroot?key=hunter2"], "--collector-endpoint ftp://"),
        (&["--apikey=hunter2"], "coroot-node-agent --apikey: is not a flag"),
    ] {
        let text = import(flags).unwrap_err();
        assert!(text.contains(expected) && !text.contains("hunter2"), "{flags:?}: {text}");
    }
    let (_, printed) = parsed(&["--api-key=hunter2"]);
    assert!(!printed.contains("hunter2"), "{printed}");
}

#[test]
fn bad_command_lines_are_refused() {
    for (flags, expected) in [
        (&["--nothing"][..], "coroot-node-agent --nothing: is not a flag of it that is known"),
        (&["listen=1"], "is not a flag"),
        (&["--listen"], "--listen : has no value"),
        (&["--listen=nowhere"], "--listen nowhere:"),
        (&["--region=a b"], "--region a b: is not a value"),
        (&["--track-public-network=all"], "--track-public-network all: is not a network"),
        (&["--container-allowlist=("], "is not a regular expression"),
        (&["--no-parse-logs=perhaps"], "is neither true nor false"),
        (&["--log-patterns-per-container=many"], "is not a number"),
        (
            &["--log-patterns-per-container=5000"],
            "--log-patterns-per-container 5000: `5000` is out of range: 1",
        ),
        (&["--max-label-length=1"], "--max-label-length 1: "),
        (&["--metrics-endpoint=http://a", "--scrape-interval=1ms"], "--scrape-interval 1ms: "),
        (&["--no-listen"], "coroot-node-agent --no-listen: is not a flag"),
        (&["--no-disable-pinger=true"], "--disable-pinger --no-disable-pinger: takes no value"),
    ] {
        let text = import(flags).unwrap_err();
        assert!(text.contains(expected) && text.lines().count() == 1, "{flags:?}: {text}");
    }
    let output = connscope(&["config", "import", "coroot-node-agent", "/etc/hostname"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && text.contains("has flags"), "{text}");
    let output = connscope(&["config", "import", "ss-exporter"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && text.contains("ss-exporter FILE"), "{text}");
}
