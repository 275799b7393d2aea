//! The settings of the containers and of the inventory: defaults, and what is refused, with the place in the file.

use super::file;
use crate::support::connscope;
use connscope::catalog::Config;

/// Every key with its default.
const DEFAULTS: &str = r"
inventory:
  include: []
  exclude: ['/system\.slice/(systemd-|dbus|getty).*']
  units: true
  limit: 500
  retention: 5m
  root: /
  names:
    docker: [/var/lib/docker]
    containerd: [/run/containerd, /run/k3s/containerd, /var/snap/microk8s/common/run/containerd]
    crio: [/run/containers/storage, /var/lib/containers/storage]
    kubelet: /var/log/containers
    docker_socket:
sources:
  containers:
    enabled: false
    timeout: 5s
    tcp:
      enabled: true
      destinations: 100
      total: 2000
      connections: 65536
      loopback: false
      public: fold
      networks: []
      fold_ports: ephemeral
      translate: true
      translate_rate: 5000
      immediate_failures: false
      latency: passive
    resources: true
    volumes: true
    pressure: true
    delay: auto
    oom: auto
    application: true
    classic: {enabled: false}
";

#[test]
fn the_defaults_are_a_container_source_that_is_off_and_bounded() {
    let given: Config = connscope::settings::from_str(DEFAULTS).unwrap();
    let default = Config::default();
    let text = |config: &Config| {
        let containers = serde_json::to_value(&config.sources.containers).unwrap();
        (serde_json::to_value(&config.inventory).unwrap(), containers)
    };
    assert_eq!(text(&given), text(&default));
    // No key is missing above.
    let (inventory, containers) = text(&default);
    let written: serde_json::Value = connscope::settings::from_str(DEFAULTS).unwrap();
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let pairs = [
        (&inventory, &written["inventory"]),
        (&inventory["names"], &written["inventory"]["names"]),
        (&containers, &written["sources"]["containers"]),
        (&containers["tcp"], &written["sources"]["containers"]["tcp"]),
    ];
    for (have, said) in pairs {
        let (mut have, mut said) = (keys(have), keys(said));
        have.sort();
        said.sort();
        assert_eq!(have, said);
    }
}

#[test]
fn a_value_that_cannot_be_is_refused_with_its_place_and_what_would_do() {
    let wrong = [
        ("inventory: {include: ['(']}", "23: inventory.include[0]: `(` is not a regular expression"),
        ("inventory: {exclude: [a, 'b)']}", "26: inventory.exclude[1]: `b)` is not a regular expression"),
        ("inventory: {limit: 0}", "20: inventory.limit: `0` is out of range: 1 to 10000"),
        ("inventory: {limit: 10001}", "20: inventory.limit: `10001` is out of range: 1 to 10000"),
        ("inventory: {retention: 9s}", "24: inventory.retention: `9s` is out of range: 10s to 1h"),
        ("inventory: {root: host}", "19: inventory.root: `host` does not begin with /"),
        ("inventory: {names: {docker: [lib]}}", "29: inventory.names.docker: `lib` does not begin with /"),
        ("inventory: {unit: true}", "13: inventory.unit: unknown field `unit`, expected one of include"),
        ("timeout: 5ms", "timeout: `5ms` is out of range: 10ms to 1m"),
        ("tcp: {destinations: 0}", "tcp.destinations: `0` is out of range: 1 to 10000"),
        ("tcp: {total: 100001}", "tcp.total: `100001` is out of range: 1 to 100000"),
        ("tcp: {connections: 1023}", "tcp.connections: `1023` is out of range: 1024 to 4194304"),
        ("tcp: {public: some}", "tcp.public: unknown variant `some`, expected one of fold, each"),
        ("tcp: {networks: [10.0.0.0/33]}", "tcp.networks[0]: `10.0.0.0/33` has a prefix of more than 32"),
        (
            "tcp: {fold_ports: 5-1}",
            "tcp.fold_ports: `5-1` is neither `ephemeral`, nor `none`, nor ports such as",
        ),
        ("tcp: {translate_rate: 0}", "tcp.translate_rate: `0` is out of range: 1 to 100000"),
        ("delay: netlink", "delay: unknown variant `netlink`, expected one of auto, bpf, taskstats, off"),
        ("oom: files", "oom: unknown variant `files`, expected one of auto, bpf, cgroup, off"),
        ("classic: true", "classic: is not a section with keys"),
    ];
    for (setting, said) in wrong {
        let line = if setting.starts_with("inventory") {
            setting.to_owned()
        } else {
            format!("sources: {{containers: {{{setting}}}}}")
        };
        let file = file(&format!("# One line before.\n{line}\n"));
        let output = connscope(&["config", "--quiet", "--config", file.path().to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2), "{setting}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        let place = format!("{}:2:", file.path().display());
        assert!(stderr.contains(&place) && stderr.contains(said), "{setting}: {stderr}");
    }
}
