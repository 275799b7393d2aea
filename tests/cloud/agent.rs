//! The agent in a cloud: the attributes of what it pushes and prints, and what it sends where there is no cloud.

use super::fake::{AWS, AWS_GUARD, Fake, Mood};
use crate::support::receiver::{Received, Receiver, Speaks};
use crate::support::{Agent, Namespace, command, get};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A machine: files of its firmware, and a configuration that has them.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new(vendor: &str, cloud: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dmi = folder.path().join("root/sys/class/dmi/id");
        std::fs::create_dir_all(&dmi).unwrap();
        std::fs::write(dmi.join("board_vendor"), vendor).unwrap();
        let mut yaml = format!(
            "resource: {{cloud: {{{cloud}}}}}\ninventory: {{root: {}}}\n",
            folder.path().join("root").display()
        );
        write!(
            yaml,
            "sources:\n  conntrack: {{enabled: false}}\n  sockets: {{enabled: false}}\n  node: {{enabled: true}}\n{more}"
        )
        .unwrap();
        std::fs::write(folder.path().join("connscope.yaml"), yaml).unwrap();
        Self { folder }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command.arg("--config").arg(self.folder.path().join("connscope.yaml"));
        command
    }

    /// An agent that pushes every second from its start on, and listens.
    fn pushing(&self, receiver: &Receiver) -> Agent {
        let url = receiver.url();
        let arguments =
            ["--otlp-endpoint", &url, "--interval", "1s", "--jitter", "0s", "--listen", "127.0.0.1:0"];
        Agent::start(self.command(&arguments))
    }
}

/// The attributes of the resource of a request.
fn attributes(received: &Received) -> BTreeMap<String, String> {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    let resource = received.request.resource_metrics[0].resource.as_ref().unwrap();
    let text = |value: Option<Value>| match value {
        Some(Value::StringValue(text)) => text,
        other => panic!("{other:?}"),
    };
    let pair = |pair: &opentelemetry_proto::tonic::common::v1::KeyValue| {
        (pair.key.clone(), text(pair.value.clone().and_then(|value| value.value)))
    };
    resource.attributes.iter().map(pair).collect()
}

/// The first request whose attributes have this one.
fn with(receiver: &Receiver, key: &str) -> (Arc<Received>, BTreeMap<String, String>) {
    receiver.wait(key, |all| {
        let found = all.iter().map(|one| (Arc::clone(one), attributes(one)));
        found.into_iter().find(|(_, attributes)| attributes.contains_key(key))
    })
}

const EXPECTED: [(&str, &str); 8] = [
    ("cloud.account.id", "123456789012"),
    ("cloud.availability_zone", "eu-central-1b"),
    ("cloud.platform", "aws_ec2"),
    ("cloud.provider", "aws"),
    ("cloud.region", "eu-central-1"),
    ("host.id", "i-1234567890abcdef0"),
    ("host.image.id", "ami-0abcdef1234567890"),
    ("host.type", "m7g.large"),
];

#[test]
fn the_resource_says_where_the_node_is_from_the_first_push_on() {
    let fake = Fake::start(AWS, Some(AWS_GUARD), Mood::Answers);
    let classic = "  containers: {enabled: true, tcp: {enabled: false}, delay: off, oom: off, classic: {enabled: true}}\n";
    let machine = Machine::new("Amazon EC2\n", &format!("endpoint: \"{}\"", fake.url()), classic);
    let receiver = Receiver::start(Speaks::Grpc);
    let mut agent = machine.pushing(&receiver);
    let found = attributes(&receiver.nth(0));
    for (key, value) in EXPECTED {
        assert_eq!(found.get(key).map(String::as_str), Some(value), "{key} of {found:?}");
    }
    let text = get(agent.address(), "/metrics").1;
    let target = text.lines().find(|line| line.starts_with("target_info{")).unwrap();
    for (key, value) in EXPECTED {
        let label = format!("{}=\"{value}\"", key.replace('.', "_"));
        assert!(target.contains(&label), "{label} is not in {target}");
    }
    let once = ["once", "--format", "prometheus", "--prometheus-naming", "classic"];
    let output = machine.command(&once).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.starts_with("node_cloud_info{")).unwrap();
    let machine_id = line.split("machine_id=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(
        line,
        format!(
            "node_cloud_info{{account_id=\"123456789012\",availability_zone=\"eu-central-1b\",\
             availability_zone_id=\"euc1-az3\",instance_id=\"i-1234567890abcdef0\",instance_life_cycle=\"spot\",\
             instance_type=\"m7g.large\",local_ipv4=\"10.0.0.7\",machine_id=\"{machine_id}\",provider=\"AWS\",\
             public_ipv4=\"192.0.2.7\",region=\"eu-central-1\"}} 1"
        )
    );
}

#[test]
fn what_comes_late_completes_the_resource_of_later_pushes() {
    // Eleven answers: the first export does not wait for them all.
    let fake = Fake::start(AWS, Some(AWS_GUARD), Mood::Slow(Duration::from_millis(300)));
    let machine = Machine::new("Amazon EC2\n", &format!("endpoint: \"{}\", timeout: 10s", fake.url()), "");
    let receiver = Receiver::start(Speaks::Grpc);
    let mut agent = machine.pushing(&receiver);
    let first = attributes(&receiver.nth(0));
    assert!(!first.contains_key("cloud.account.id"), "{first:?}");
    assert_eq!(first["cloud.provider"], "aws", "that is known without asking: {first:?}");
    let (_, found) = with(&receiver, "host.image.id");
    for (key, value) in EXPECTED {
        assert_eq!(found.get(key).map(String::as_str), Some(value), "{key} of {found:?}");
    }
    assert_eq!(found["service.instance.id"], first["service.instance.id"]);
    assert_eq!(found.get("machine.id"), first.get("host.id"));
    assert!(get(agent.address(), "/metrics").1.contains("cloud_account_id=\"123456789012\""));
}

#[test]
fn metadata_that_fails_is_asked_for_again_and_does_not_delay_the_start() {
    let fake = Fake::start(AWS, Some(AWS_GUARD), Mood::Silent);
    let machine = Machine::new("Amazon EC2\n", &format!("endpoint: \"{}\"", fake.url()), "");
    let receiver = Receiver::start(Speaks::Grpc);
    let began = Instant::now();
    let mut agent = machine.pushing(&receiver);
    let first = receiver.nth(0);
    // As long as without, and the second that the first export waits.
    let took = first.at.saturating_duration_since(began);
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert!(!attributes(&first).contains_key("cloud.region"));
    let line = agent.wait_for("asking for the metadata of aws");
    assert!(line.contains("asked again in 10s") && line.contains("hop limit"), "{line}");
    fake.becomes(Mood::Answers);
    let (at, _) = with(&receiver, "cloud.region");
    let again = at.at.saturating_duration_since(began);
    assert!(again >= Duration::from_secs(10), "{again:?}");
}

#[test]
fn what_is_given_goes_over_what_is_found_and_variables_over_both() {
    let fake = Fake::start(AWS, Some(AWS_GUARD), Mood::Answers);
    let cloud = format!("endpoint: \"{}\", region: given, instance_type: huge", fake.url());
    let machine = Machine::new("Amazon EC2\n", &cloud, "");
    let receiver = Receiver::start(Speaks::Grpc);
    let url = receiver.url();
    let mut command =
        machine.command(&["--otlp-endpoint", &url, "--interval", "1s", "--jitter", "0s", "--listen", "off"]);
    command.env("OTEL_RESOURCE_ATTRIBUTES", "host.type=larger,cloud.account.id=mine");
    let _agent = Agent::start(command);
    let (_, found) = with(&receiver, "cloud.availability_zone");
    assert_eq!(found["cloud.region"], "given");
    assert_eq!(found["host.type"], "larger");
    assert_eq!(found["cloud.account.id"], "mine");
    assert_eq!(found["cloud.availability_zone"], "eu-central-1b");
    // The platform is that of the provider: it goes with it.
    for (named, platform) in [("", None), ("onprem", None), ("aws", Some("aws_ec2"))] {
        let receiver = Receiver::start(Speaks::Grpc);
        let url = receiver.url();
        let arguments = ["--otlp-endpoint", &url, "--interval", "1s", "--jitter", "0s", "--listen", "off"];
        let mut command = machine.command(&arguments);
        command.env("OTEL_RESOURCE_ATTRIBUTES", format!("cloud.provider={named}"));
        let _agent = Agent::start(command);
        let (_, found) = with(&receiver, "cloud.availability_zone");
        assert_eq!(found.get("cloud.provider").map(String::as_str), Some(named), "{found:?}");
        assert_eq!(found.get("cloud.platform").map(String::as_str), platform, "{found:?}");
    }
    // Without a cloud they are all there is.
    let machine = Machine::new("Dell Inc.\n", "provider: onprem, availability_zone: rack-7", "");
    let receiver = Receiver::start(Speaks::Grpc);
    let _agent = machine.pushing(&receiver);
    let found = attributes(&receiver.nth(0));
    assert_eq!(
        (found["cloud.provider"].as_str(), found["cloud.availability_zone"].as_str()),
        ("onprem", "rack-7")
    );
    assert!(!found.contains_key("cloud.platform") && !found.contains_key("machine.id"), "{found:?}");
}

/// Packets to link-local addresses that a namespace has sent.
fn sent(namespace: &Namespace) -> u64 {
    let rules = namespace.run("nft", &["list", "table", "inet", "cloud"]);
    let packets = rules.split("packets ").nth(1).unwrap().split(' ').next().unwrap();
    packets.parse().unwrap()
}

#[test]
fn no_packet_is_sent_where_dmi_names_no_cloud() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run("ip", &["link", "add", "out0", "type", "veth", "peer", "name", "out1"]);
    namespace.run("ip", &["link", "set", "out0", "up"]);
    namespace.run("ip", &["link", "set", "out1", "up"]);
    namespace.run("ip", &["addr", "add", "169.254.1.1/16", "dev", "out0"]);
    namespace.run("ip", &["neigh", "add", "169.254.169.254", "lladdr", "02:00:00:00:00:01", "dev", "out0"]);
    namespace.run(
        "nft",
        &["add table inet cloud; add chain inet cloud o { type filter hook output priority 0; }; \
           add rule inet cloud o ip daddr 169.254.0.0/16 counter"],
    );
    let check = |vendor: &str, cloud: &str| {
        let machine = Machine::new(vendor, cloud, "");
        let output = namespace.inside(|| machine.command(&["check"]).output()).unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find(|line| line.starts_with("cloud ")).map(str::to_owned);
        (line.unwrap_or_default(), output.status.code())
    };
    let receiver = Machine::new("Dell Inc.\n", "", "");
    let mut agent = namespace
        .inside(|| Agent::start(receiver.command(&["--otlp-protocol", "none", "--listen", "127.0.0.1:0"])));
    let address = agent.address();
    assert!(!namespace.inside(|| get(address, "/metrics").1).contains("cloud_"), "no attribute either");
    let (line, code) = check("Dell Inc.\n", "");
    assert!(line.contains("works") && line.ends_with("no cloud by DMI; nothing was sent"), "{line}");
    assert_eq!(code, Some(0));
    assert_eq!(check("Amazon EC2\n", "detect: off").0, "");
    assert_eq!(sent(&namespace), 0);
    // The filter does count.
    let (line, code) = check("Amazon EC2\n", "timeout: 500ms");
    assert!(line.contains("aws by DMI") && line.contains("no answer within"), "{line}");
    assert_eq!(code, Some(0), "what was only looked for need not be there");
    assert!(sent(&namespace) > 0);
    assert_eq!(check("Dell Inc.\n", "detect: aws, timeout: 500ms").1, Some(1));
}

#[test]
fn check_says_how_long_the_metadata_took() {
    let fake = Fake::start(AWS, Some(AWS_GUARD), Mood::Answers);
    let machine = Machine::new("Amazon EC2\n", &format!("endpoint: \"{}\"", fake.url()), "");
    let output = machine.command(&["check"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.starts_with("cloud ")).unwrap();
    assert!(line.contains("aws by DMI; metadata in ") && line.ends_with(" ms"), "{line}");
    assert!(!fake.asked().is_empty());
    // A field that is empty is none.
    let mut answers = AWS.to_vec();
    for answer in answers.iter_mut().filter(|(_, path, _)| path.ends_with("/public-ipv4")) {
        answer.2 = "";
    }
    let fake = Fake::start(&answers, Some(AWS_GUARD), Mood::Answers);
    let machine = Machine::new("", &format!("detect: aws, endpoint: \"{}\"", fake.url()), "");
    let output = machine.command(&["check"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn bad_settings_of_the_cloud_are_refused_with_their_place() {
    for (cloud, expected) in [
        (
            "detect: ibm",
            "`ibm` is none of auto, off, aws, gcp, azure, digitalocean, hetzner, oracle, alibaba",
        ),
        ("timeout: 1m", "`1m` is out of range: 100ms to 30s"),
        ("endpoint: https://a", "does not begin with http://"),
        ("region: a b", "`a b` is not a value"),
        ("zone: a", "zone"),
    ] {
        let machine = Machine::new("", cloud, "");
        let output = machine.command(&["config"]).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{cloud}: {text}");
        assert!(text.contains(expected) && text.contains("resource.cloud"), "{cloud}: {text}");
    }
}
