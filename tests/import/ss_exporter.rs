//! `connscope config import`: the files of other tools, and what is printed for them.

use crate::support::connscope;
use crate::words::blocks;
use connscope::catalog::Config;
use connscope::config::Flags;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ss-exporter").join(name)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What is printed for a file, which must be read without a word on stderr.
fn imported(file: &Path) -> String {
    let output = connscope(&["config", "import", "ss-exporter", file.to_str().unwrap()]);
    assert!(output.status.success() && output.stderr.is_empty(), "{}: {output:?}", file.display());
    text(&output.stdout)
}

/// The comments of a text, as one line.
fn comments(text: &str) -> String {
    let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix("# "));
    lines.collect::<Vec<_>>().join(" ")
}

/// Above keys that every file gets.
const ALWAYS: &str = "The port is a flag of the exporter and not in its file; this is where it listens without the \
    flag. The exporter does not push. Without this line connscope does, to http://localhost:4317. The exporter has \
    no conntrack metrics. Without this line they are reported too.";
const LIMIT: &str = "The exporter has no limit. Flows over the limit are counted, not shown.";
const FOLDING: &str = "logic.compression.labelFolding is missing; both ends of a flow are shown.";
const COMMANDS: &str = "No flow ever matched `cmds`: both versions compare a name with a list of arguments. Here a \
    process has its name, the file name of its program and its command line, and each of them matches.";
const PIDS: &str = "Version 3 requires both pid and command. Here, as in version 2, either is enough.";
const PEERS: &str = "Version 3 requires both address and network. Here, as in version 2, either is enough.";
const NETWORKS: &str = "Version 3 compares the text before the slash: 10.0.0.0/8 is 10.0.0.0 to it, and nothing else. \
    Here it is the network.";
const HOSTS: &str = "Version 2 compares the name that the peer's address has in the DNS, version 3 does not read \
    `hosts`. Here it is the addresses that the name has.";
const EXCLUDE: &str =
    "`exclude` is in the README of version 3; neither version reads it. Here it has an effect.";
const NO_CWND: &str = "logic.metrics.gauges.cwnd is missing; it is not imported.";
const NO_RATE: &str = "logic.metrics.gauges.deliveryRate is missing; it is not imported.";
const NO_COUNTERS: &str = "logic.metrics.counters is missing; none of these metrics is reported.";
const ACTIVE: &str = "logic.metrics.histograms has no key `active`; it is imported as active.";

/// Every file that is read: what it is under `sources.sockets.classic`, but for `enabled`, and the comments there, those
/// above `flow` first.
const READ: &[(&str, &str, &[&str], &[&str])] = &[
    ("v2-everything", "flow: pid_condensed, buckets: [0.1, 0.5, 1, 5, 10, 50, 100, 200, 500]", &[], &[]),
    (
        "v2-selection",
        "metrics: [rtt, delivery_rate], include: {processes: {pids: [200, 1500], commands: [firefox]}, peers: \
         {addresses: [192.0.2.4, \"2001:db8::17\"], networks: [192.168.0.0/16], hosts: [some.example.org]}, \
         ports: [1000-2000]}",
        &[],
        &[PIDS, COMMANDS, PEERS, NETWORKS, HOSTS],
    ),
    (
        "v2-stack",
        "metrics: [rtt, cwnd, delivery_rate], include: {peers: {addresses: [192.0.2.4], hosts: [some.example.org]}, \
         ports: [2000-10000]}",
        &[],
        &[HOSTS],
    ),
    (
        "v3-everything",
        "buckets: [0.5, 1, 2.5, 5, 10, 25, 50], include: {processes: {pids: [1000, 2000], commands: [nginx, apache2]}, \
         peers: {addresses: [192.0.2.8, 192.0.2.1], networks: [10.0.0.0/8, 192.168.0.0/16], hosts: [example.com]}, \
         ports: [80-443, 8000-9000]}",
        &[],
        &[PIDS, COMMANDS, PEERS, NETWORKS, HOSTS],
    ),
    ("v3-empty-lists", "metrics: []", &[], &[]),
    (
        "v3-groups-only",
        "buckets: [0.001, 0.1, 10, 1000]",
        &[],
        &[
            "logic.metrics.gauges is active and names none of its metrics; all of them are reported.",
            "logic.metrics.counters is active and names none of its metrics; all of them are reported.",
        ],
    ),
    (
        "v3-partial",
        "metrics: [rtt, rtt_hist_ms], buckets: [0.1, 0.5, 1, 5, 10, 50, 100, 200], include: {processes: {commands: \
         [nginx, apache2, httpd]}, ports: [80-443]}",
        &[],
        &[COMMANDS],
    ),
    (
        "v3-bounds-above",
        "flow: pid_condensed, metrics: [rtt_hist_ms], buckets: [0.1, 0.5, 1, 200]",
        &[],
        &["logic.metrics.histograms is active and names none of its metrics; all of them are reported."],
    ),
    (
        "v3-sample-of-the-first",
        "buckets: [0.1, 0.5, 1], include: {processes: {pids: [1000]}, ports: [80-443]}",
        &[],
        &[],
    ),
    (
        "readme-minimal",
        "metrics: [rtt, data_segs_in, data_segs_out]",
        &[FOLDING],
        &[
            NO_CWND,
            NO_RATE,
            "logic.metrics.counters is active and names none of its metrics; all of them are reported.",
            "logic.metrics.histograms is missing; none of these metrics is reported.",
        ],
    ),
    (
        "readme-web-server",
        "metrics: [rtt, delivery_rate, rtt_hist_ms], buckets: [0.1, 0.5, 1, 5, 10, 50, 100, 200], include: {processes: \
         {commands: [nginx, apache2, httpd]}, ports: [80-443]}",
        &[FOLDING],
        &[NO_CWND, NO_COUNTERS, ACTIVE, COMMANDS],
    ),
    (
        "readme-web-server-with-counters",
        "buckets: [0.1, 0.5, 1, 5, 10, 50, 100, 200], include: {processes: {commands: [nginx, apache2, httpd]}, ports: \
         [80-443]}",
        &[FOLDING],
        &[ACTIVE, COMMANDS],
    ),
    (
        "readme-high-cardinality",
        "metrics: [rtt, rtt_hist_ms], buckets: [1, 5, 10, 50, 100, 500], include: {peers: {networks: [10.0.0.0/8, \
         192.168.0.0/16]}}",
        &[],
        &[NO_CWND, NO_RATE, NO_COUNTERS, ACTIVE, NETWORKS],
    ),
    (
        "readme-database",
        "metrics: [rtt, delivery_rate, rtt_hist_ms], buckets: [0.5, 1, 2, 5, 10, 25, 50, 100], include: {processes: \
         {commands: [postgres, mysqld, mongod, oracle]}, ports: [3306, 5432, 27017]}",
        &[],
        &[NO_CWND, NO_COUNTERS, ACTIVE, COMMANDS],
    ),
    (
        "readme-microservices",
        "metrics: [rtt, rtt_hist_ms], buckets: [0.01, 0.05, 0.1, 0.5, 1, 5, 10], include: {peers: {networks: \
         [10.0.0.0/8, 192.168.0.0/16, 172.16.0.0/12]}, ports: [8000-9999, 3000-3999]}",
        &[],
        &[NO_CWND, NO_RATE, NO_COUNTERS, ACTIVE, NETWORKS],
    ),
    (
        "readme-edge",
        "metrics: [rtt, rtt_hist_ms], buckets: [1, 5, 10, 25, 50, 100, 250], include: {ports: [80-443, 8080]}, exclude: \
         {peers: {networks: [10.0.0.0/8, 192.168.0.0/16, 172.16.0.0/12]}}",
        &[],
        &[NO_CWND, NO_RATE, NO_COUNTERS, ACTIVE, EXCLUDE],
    ),
    (
        "readme-development",
        "metrics: [rtt], include: {processes: {commands: [node, python, java, go]}, ports: [3000-9000]}",
        &[FOLDING],
        &[NO_CWND, NO_RATE, COMMANDS],
    ),
    (
        "odd",
        "flow: raw_endpoint, metrics: [rtt, data_segs_in, rtt_hist_ms], buckets: [0.5, 1, 10], include: {processes: \
         {pids: [7]}, ports: [1, 2]}, exclude: {processes: {commands: [\"sh -c 'a: b'\"]}, peers: {networks: \
         [\"2001:db8::/32\"]}, ports: [22]}",
        &[],
        &[
            "logic.metrics.gauges.rtt has no key `active`; it is imported as active.",
            NO_CWND,
            NO_RATE,
            "logic.metrics.counters has no key `active`; it is imported as active.",
            "logic.metrics.counters.dataSegsOut is missing; it is not imported.",
            "The bucketBounds were not in ascending order; they are sorted here, without duplicates.",
            EXCLUDE,
            COMMANDS,
        ],
    ),
    (
        "nothing-but-selection",
        "include: {ports: [443]}",
        &[FOLDING],
        &["logic.metrics is missing; all metrics are reported."],
    ),
    (
        "no-bounds",
        "metrics: [rtt_hist_ms]",
        &[],
        &[
            "logic.metrics.gauges is missing; none of these metrics is reported.",
            NO_COUNTERS,
            "bucketBounds is missing; these are the defaults of version 3.",
        ],
    ),
];

/// Every file that is refused: line, column, key and what is wrong.
const REFUSED: &[(&str, &str)] = &[
    ("empty", "1:1: the file: there is nothing in it"),
    ("fragment-process", "1:1: process: belongs under `logic`, `selection`"),
    ("fragment-peering", "1:1: peering: belongs under `logic`, `selection`"),
    ("fragment-port-ranges", "1:1: portRanges: belongs under `logic`, `selection`"),
    (
        "version-1",
        "2:1: cnfg: the file has the layout of the exporter's version 1; versions 2 and 3 begin with `logic`",
    ),
    ("compose", "1:1: version: unknown field `version`, expected one of logic, selection"),
    ("manifest", "1:1: apiVersion: unknown field `apiVersion`, expected one of logic, selection"),
    ("scrape", "1:1: scrape_configs: unknown field `scrape_configs`, expected one of logic, selection"),
    ("rules", "1:1: the file: is not a section with keys"),
    ("folding", "3:19: logic.compression.labelFolding: `host` is neither raw_endpoint nor pid_condensed"),
    ("bounds-text", "3:72: logic.metrics.histograms.rtt.bucketBounds[1]: `fast` is not a number"),
    (
        "bounds-zero",
        "3:67: logic.metrics.histograms.rtt.bucketBounds[0]: `0` is not a bound of a bucket; they are above 0",
    ),
    ("switch", "3:33: logic.metrics.gauges.rtt: is not a section with keys"),
    (
        "unknown-metric",
        "3:28: logic.metrics.gauges.retransmits: unknown field `retransmits`, expected one of active, rtt, cwnd, \
         deliveryRate, delivery_rate",
    ),
    (
        "network-mask",
        "4:18: logic.selection.peering.networks[0]: `10.0.0.0/255.0.0.0` has a mask; the length of the prefix goes \
         there: 10.0.0.0/8",
    ),
    (
        "network-prefix",
        "5:33: logic.selection.peering.networks.exclude[1]: `10.0.0.0/33` has a prefix of more than 32 bits",
    ),
    ("address", "1:43: logic.selection.peering.addresses[0]: `example.com` is not an IP address"),
    (
        "address-network",
        "1:43: logic.selection.peering.addresses[0]: `10.0.0.0/8` is not an IP address; networks have a list of their \
         own",
    ),
    ("host", "1:39: logic.selection.peering.hosts[0]: `http://example.com` is not the name of a host"),
    ("pid", "1:42: logic.selection.process.pids[1]: `-1` is not a PID"),
    ("pid-text", "1:38: logic.selection.process.pids[0]: `nginx` is not a whole number, or is out of range"),
    ("ports-turned", "1:34: logic.selection.portRanges[0]: no port is between 443 and 80"),
    ("ports-above", "1:53: logic.selection.portRanges[0].upper: `70000` is not a port"),
    ("ports-half", "1:34: logic.selection.portRanges[0]: missing field `upper`"),
    ("ports-number", "1:34: logic.selection.portRanges[0]: is not a section with keys"),
    ("selection-twice", "1:1: selection: is there twice, under logic and at the top level"),
    ("latency-and-rtt", "1:31: logic.metrics.histograms: duplicate field `rtt`"),
    (
        "exclude-elsewhere",
        "1:21: logic.selection.exclude: unknown field `exclude`, expected one of process, peering, stack, portRanges, \
         portranges",
    ),
    (
        "list-text",
        "1:41: logic.selection.peering.networks: invalid type: string \"10.0.0.0/8\", expected a list",
    ),
    ("not-yaml", "1:18: the file: unclosed bracket '['"),
];

/// The tables and the folders have the same files.
fn complete<'a>(folder_name: &str, names: impl Iterator<Item = &'a str>) {
    let there: BTreeSet<String> = std::fs::read_dir(folder(folder_name))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(there, names.map(str::to_owned).collect());
}

#[test]
fn every_file_of_either_version_is_read_as_what_it_means() {
    complete("read", READ.iter().map(|(name, ..)| *name));
    for (name, classic, above_flow, below) in READ {
        let file = folder("read").join(format!("{name}.yml"));
        let printed = imported(&file);
        let ours =
            Config::parse(&printed, Path::new(name)).unwrap_or_else(|error| panic!("{error}\n{printed}"));
        let meant = format!("sources: {{sockets: {{classic: {{enabled: true, {classic}}}}}}}");
        let meant = Config::parse(&meant, Path::new("expected")).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(ours.sources.sockets.classic, meant.sources.sockets.classic, "{name}:\n{printed}");
        let expected = [&[ALWAYS], *above_flow, &[LIMIT], *below].concat().join(" ");
        assert_eq!(comments(&printed), expected, "{name}:\n{printed}");
    }
}

#[test]
fn what_import_prints_is_a_configuration_that_stands_in_for_the_exporter() {
    let no_variable = |_: &str| None;
    for (name, ..) in READ {
        let printed = imported(&folder("read").join(format!("{name}.yml")));
        let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        std::io::Write::write_all(&mut file, printed.as_bytes()).unwrap();
        let output = connscope(&["config", "--config", file.path().to_str().unwrap()]);
        assert!(output.status.success(), "{name}: {output:?}\n{printed}");
        let config = Config::load(Some(file.path()), &no_variable, &Flags::default()).unwrap();
        assert_eq!(config.print(), text(&output.stdout), "{name}");
        let effective = config.print();
        for line in ["    listen: 0.0.0.0:8020\n", "    naming: classic\n", "    protocol: none\n"] {
            assert!(effective.contains(line), "{name}: {effective}");
        }
        assert!(!config.sources.conntrack.enabled && config.sources.sockets.enabled, "{name}");
    }
}

#[test]
fn comments_stand_above_the_key_they_are_about() {
    let printed = imported(&folder("read").join("v3-everything.yml"));
    let expected = "\
      include:
        processes:
          # Version 3 requires both pid and command. Here, as in version 2, either is enough.
          pids: [1000, 2000]
          # No flow ever matched `cmds`: both versions compare a name with a list of arguments. Here
          # a process has its name, the file name of its program and its command line, and each of
          # them matches.
          commands: [nginx, apache2]
        peers:
";
    assert!(printed.contains(expected), "{printed}");
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place() {
    complete("refused", REFUSED.iter().map(|(name, _)| *name));
    for (name, expected) in REFUSED {
        let file = folder("refused").join(format!("{name}.yml"));
        let output = connscope(&["config", "import", "ss-exporter", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2), "{name}: {output:?}");
        assert!(output.stdout.is_empty(), "{name}: {output:?}");
        assert_eq!(text(&output.stderr), format!("connscope: {}:{expected}\n", file.display()));
    }
}

#[test]
fn a_file_with_more_than_we_take_is_refused() {
    let hosts = vec!["a"; 101].join(", ");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(
        &mut file,
        format!("logic: {{selection: {{peering: {{hosts: [{hosts}]}}}}}}").as_bytes(),
    )
    .unwrap();
    let output = connscope(&["config", "import", "ss-exporter", file.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let expected = format!(
        "connscope: {}:1:1: logic.selection.peering.hosts: has more than 100 entries\n",
        file.path().display()
    );
    assert_eq!(text(&output.stderr), expected);
}

#[test]
fn import_says_what_it_can_read() {
    for (arguments, expected) in [
        (
            &["config", "import", "telegraf", "x"][..],
            "invalid value 'telegraf' for '<TOOL>' [possible values: ",
        ),
        (
            &["config", "import", "ss-exporter", "/no/such/file"],
            "/no/such/file: cannot be read: No such file",
        ),
        (&["config", "import", "ss-exporter"], "connscope config import ss-exporter FILE"),
    ] {
        let output = connscope(arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let line = text(&output.stderr);
        assert!(line.lines().count() == 1 && line.contains(expected), "{line}");
    }
}

#[test]
fn the_files_on_the_page_about_it_are_what_one_makes_of_the_other() {
    let page = include_str!("../../docs/migrate-ss-exporter.md");
    let files: Vec<String> =
        blocks(page).into_iter().filter(|(language, _)| language == "yaml").map(|(_, text)| text).collect();
    let [theirs, ours] = &files[..] else { panic!("{files:#?}") };
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, theirs.as_bytes()).unwrap();
    let printed = imported(file.path());
    let effective = |text: &str| Config::parse(text, Path::new("page")).unwrap().print();
    assert_eq!(effective(&printed), effective(ours));
}
