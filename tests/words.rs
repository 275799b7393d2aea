//! The words: what is written down beside the code is what the code does. METRICS.md, the table's own rules, the names
//! in an exposition, the examples, the commands in the README, the paths in the documentation.

use clap::{CommandFactory, Parser};
use connscope::cli::{self, Cli};
use connscope::config::{Config, Flags};
use connscope::cycle::Sources;
use connscope::export::Shared;
use connscope::export::instruments::Recorder;
use connscope::export::prometheus::{Pull, Scrape};
use connscope::metric::distribution::Distribution;
use connscope::metric::naming::{self, Profile};
use connscope::metric::table::{self, METRICS};
use connscope::metric::{Handle, Kind, Label, Limits, Metric, Number, Value};
use connscope::reading::Readings;
use connscope::source::worker::Worker;
use connscope::source::{Source, SourceError};
use connscope::stop::Stop;
use opentelemetry_sdk::Resource;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const PROFILES: [Profile; 2] = [Profile::Otel, Profile::Classic];

/// Units of the table that are not annotations in braces.
const UNITS: [&str; 5] = ["", "1", "By", "By/s", "s"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The files of a directory with this extension, as paths from the root.
fn files(dir: &str, extension: &str) -> Vec<String> {
    let mut files: Vec<String> = std::fs::read_dir(root().join(dir))
        .unwrap_or_else(|error| panic!("{dir}: {error}"))
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| Path::new(name).extension().is_some_and(|found| found == extension))
        .map(|name| format!("{dir}/{name}"))
        .collect();
    files.sort();
    files
}

#[test]
fn the_reference_equals_the_table() {
    let written = std::fs::read_to_string(root().join("METRICS.md")).unwrap_or_default();
    let reference = connscope::metric::reference::markdown();
    if written != reference {
        std::fs::write(root().join("METRICS.md"), reference).expect("METRICS.md can be written");
        panic!(
            "METRICS.md was stale and has been rewritten from src/metric/table.rs; look at it and commit it"
        );
    }
}

#[test]
fn names_are_unique_in_opentelemetry_and_in_each_prometheus_profile() {
    let mut names = BTreeSet::new();
    for metric in METRICS {
        assert!(names.insert(metric.name), "{} is there twice", metric.name);
    }
    for profile in PROFILES {
        let mut names = BTreeSet::new();
        for name in METRICS.iter().filter_map(|metric| naming::prometheus(metric, profile)) {
            assert!(names.insert(name.clone()), "{name} is there twice in the profile {profile:?}");
        }
    }
}

#[test]
fn names_are_lowercase_and_dotted_and_never_say_total() {
    for Metric { name, .. } in METRICS {
        let plain = |character: char| {
            character.is_ascii_lowercase() || character.is_ascii_digit() || matches!(character, '.' | '_')
        };
        assert!(name.chars().all(plain), "{name}: only a-z, 0-9, dots and underscores");
        assert!(name.contains('.'), "{name}: no root");
        assert!(name.split(['.', '_']).all(|word| !word.is_empty()), "{name}: an empty word");
        assert!(
            !name.split(['.', '_']).any(|word| word == "total"),
            "{name}: Prometheus adds the word total"
        );
        let theirs = ["system.network.connection.count"].contains(name);
        assert!(theirs || !name.starts_with("system."), "{name}: nothing invented inside system.*");
    }
}

#[test]
fn no_metric_of_ours_ends_in_a_suffix_that_prometheus_keeps_for_histograms() {
    for metric in METRICS.iter().filter(|metric| metric.name != "system.network.connection.count") {
        for name in PROFILES.iter().filter_map(|profile| naming::prometheus(metric, *profile)) {
            let reserved = ["_count", "_sum", "_bucket", "_info"].iter().any(|end| name.ends_with(end));
            assert!(!reserved || metric.name == "connscope.build.info", "{name}: promtool refuses it");
        }
    }
}

#[test]
fn every_description_is_one_sentence_on_one_line() {
    for Metric { name, description, .. } in METRICS {
        assert!(description.ends_with('.'), "{name}: the description ends with a period");
        assert!(
            description.starts_with(|first: char| first.is_uppercase() || first == '1'),
            "{name}: it begins with a capital, or says what 1 means"
        );
        assert!(!description.contains(". "), "{name}: one sentence; a second one goes after a semicolon");
        assert!(!description.contains(['\n', '\r', '"', '\\']), "{name}: nothing that # HELP would escape");
        assert_eq!(*description, description.trim(), "{name}: no blanks around it");
    }
}

#[test]
fn every_unit_is_known_and_a_state_has_none() {
    for metric in METRICS {
        let annotation = metric.unit.strip_prefix('{').and_then(|unit| unit.strip_suffix('}'));
        let known = UNITS.contains(&metric.unit)
            || (metric.only_classic && metric.unit == "ms") // as the old exporter has it
            || annotation.is_some_and(|unit| unit.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
        assert!(known, "{}: the unit {} is not known", metric.name, metric.unit);
        let state = metric.kind == Kind::Gauge && metric.number == Number::U64;
        assert!(!state || metric.unit != "1", "{}: the unit 1 makes Prometheus say _ratio", metric.name);
    }
}

#[test]
fn every_row_knows_its_place_its_labels_are_sorted_and_only_histograms_have_buckets() {
    for (position, metric) in METRICS.iter().enumerate() {
        assert_eq!(metric.index, position, "{}", metric.name);
        let keys: Vec<&str> = metric.labels.iter().map(|label| label.key()).collect();
        assert!(
            keys.is_sorted(),
            "{}: labels in alphabetical order of their keys, not {keys:?}",
            metric.name
        );
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "{}: a label twice", metric.name);
        let histogram = matches!(metric.kind, Kind::Histogram | Kind::Recorded);
        assert_eq!(metric.boundaries.is_empty(), !histogram, "{}", metric.name);
        assert!(metric.boundaries.is_sorted(), "{}", metric.name);
    }
}

#[test]
fn the_bound_of_every_metric_stays_below_a_hundred_thousand_on_a_large_machine() {
    let large = Limits { cpus: 256, namespaces: 16, sources: 1, ..Limits::default() };
    for metric in METRICS {
        let series = metric.cardinality(large);
        assert!((1..100_000).contains(&series), "{}: {series} series", metric.name);
    }
}

#[test]
fn classic_names_are_the_kernels_words_and_their_help_is_the_old_exporters() {
    let conntrack =
        METRICS.iter().filter_map(|metric| Some((metric, metric.name.strip_prefix("conntrack.")?)));
    for (metric, word) in conntrack {
        let Some(classic) = metric.classic else { continue };
        assert_eq!(classic.name, format!("conntrack_{word}"));
        assert_eq!(classic.help, format!("Total of conntrack {word}"));
        assert_eq!(metric.kind, Kind::Counter, "{}", metric.name);
    }
}

#[test]
fn every_kernel_counter_has_its_row_under_its_own_word() {
    use connscope::source::conntrack::fields::{EXPECTATIONS, STATISTICS};
    for known in STATISTICS.iter().chain(EXPECTATIONS) {
        assert_eq!(known.metric.metric().name, format!("conntrack.{}", known.word));
    }
}

/// A row whatever its kind, for a source that has one reading of each.
#[derive(Clone, Copy)]
struct AnyRow(&'static Metric);

impl Handle for AnyRow {
    type Value = Value;
    fn metric(self) -> &'static Metric {
        self.0
    }
    fn value(value: Value) -> Value {
        value
    }
}

struct OneOfEach;

impl Source for OneOfEach {
    fn read(&mut self, out: &mut Readings) -> Result<(), SourceError> {
        for metric in METRICS.iter().filter(|metric| metric.kind != Kind::Recorded) {
            let value = match (metric.kind, metric.number) {
                (Kind::Histogram, _) => {
                    let mut distribution = Distribution::new(metric.boundaries.into());
                    distribution.record(0.2);
                    Value::Distribution(Arc::new(distribution))
                }
                (_, Number::U64) => Value::U64(1),
                (_, Number::I64) => Value::I64(1),
                (_, Number::F64) => Value::F64(1.0),
            };
            out.observe(AnyRow(metric), &labels(metric), value);
        }
        Ok(())
    }
}

fn labels(metric: &Metric) -> Vec<(Label, Arc<str>)> {
    metric.labels.iter().map(|label| (*label, "x".into())).collect()
}

fn exposition_of_every_row(profile: Profile) -> String {
    let limits = Limits { cpus: 1, namespaces: 1, sources: 1, ..Limits::default() };
    let stop = Stop::new().expect("an eventfd can be had");
    let worker = Worker::start("conntrack", Duration::from_secs(5), Box::new(OneOfEach))
        .expect("a thread can be started");
    let shared = Shared {
        resource: Resource::builder_empty().build(),
        sources: Arc::new(Sources::of(vec![worker], limits, None, &stop)),
        recorder: Recorder::default(),
        limits,
    };
    let pull = Pull::new(&shared, profile).expect("the table fits the bridge");
    let histogram = table::OTEL_OPERATION_DURATION;
    shared.recorder.record(histogram, &labels(histogram.metric()), 0.2);
    match pull.scrape() {
        Scrape::Exposition(text) => text,
        Scrape::Nothing(why) => panic!("{why}"),
    }
}

#[test]
fn the_names_we_document_are_the_names_the_bridge_prints() {
    for profile in PROFILES {
        let text = exposition_of_every_row(profile);
        // `.ci/rules` has promtool check it.
        if let Some(file) = std::env::var_os("CONNSCOPE_EXPOSITION").filter(|_| profile == Profile::Otel) {
            std::fs::write(&file, &text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        }
        let printed: BTreeMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
            .filter(|(name, _)| *name != "target_info")
            .collect();
        let mut documented = BTreeSet::new();
        for metric in METRICS {
            let Some(name) = naming::prometheus(metric, profile) else { continue };
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::UpDownCounter | Kind::Gauge => "gauge",
                Kind::Histogram | Kind::Recorded => "histogram",
            };
            assert_eq!(printed.get(name.as_str()), Some(&kind), "{name} in the profile {profile:?}:\n{text}");
            documented.insert(name);
        }
        let printed: BTreeSet<String> = printed.into_keys().map(str::to_owned).collect();
        assert_eq!(printed, documented, "profile {profile:?}");
    }
}

#[test]
fn the_labels_and_helps_we_document_are_those_the_bridge_prints() {
    for profile in PROFILES {
        let text = exposition_of_every_row(profile);
        for metric in METRICS {
            let Some(name) = naming::prometheus(metric, profile) else { continue };
            let help = match profile {
                Profile::Otel => metric.description,
                Profile::Classic => metric.classic.expect("it has a classic name").help,
            };
            assert!(text.contains(&format!("# HELP {name} {help}\n")), "{name}:\n{text}");
            let histogram = matches!(metric.kind, Kind::Histogram | Kind::Recorded);
            let sample = if histogram { format!("{name}_count") } else { name };
            let mut keys: Vec<String> =
                metric.labels.iter().map(|label| naming::label(label.key())).collect();
            keys.sort();
            let keys: Vec<String> = keys.iter().map(|key| format!("{key}=\"x\"")).collect();
            let labels = if keys.is_empty() { String::new() } else { format!("{{{}}}", keys.join(",")) };
            assert!(text.contains(&format!("\n{sample}{labels} ")), "{sample}{labels}:\n{text}");
        }
    }
}

fn no_variable(_: &str) -> Option<String> {
    None
}

fn load(file: Option<&Path>) -> Config {
    Config::load(file, &no_variable, &Flags::default()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_example_loads() {
    let examples = files("examples", "yaml");
    assert!(examples.contains(&"examples/connscope.yaml".to_owned()), "{examples:?}");
    for example in examples {
        load(Some(&root().join(example)));
    }
}

#[test]
fn the_default_file_says_what_holds_without_it() {
    let path = root().join("examples/connscope.yaml");
    let file =
        Config::parse(&read("examples/connscope.yaml"), &path).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(file.print(), Config::default().print());
    // And it stays so for whoever has the file and sets a variable: an endpoint written down here would be in the way.
    let http = |name: &str| (name == "OTEL_EXPORTER_OTLP_PROTOCOL").then(|| "http/protobuf".to_owned());
    let with = |file| Config::load(file, &http, &Flags::default()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(with(Some(path.as_path())).print(), with(None).print());
}

#[test]
fn the_default_file_has_every_key_there_is() {
    let schema = Config::schema();
    let text = read("examples/connscope.yaml");
    let mut keys = BTreeSet::new();
    properties(&schema, &mut keys);
    assert!(keys.contains("via") && keys.contains("ca_file"), "the schema is read wrongly: {keys:?}");
    for key in keys {
        // The keys of what the default has none of stand in a comment.
        let plain = |line: &str| line.trim_start_matches([' ', '#', '-']).starts_with(&format!("{key}:"));
        let there = text.lines().any(plain);
        assert!(there, "examples/connscope.yaml does not have {key}");
    }
}

/// Every key of every object in a JSON Schema.
fn properties(schema: &serde_json::Value, keys: &mut BTreeSet<String>) {
    if let Some(properties) = schema.get("properties").and_then(serde_json::Value::as_object) {
        keys.extend(properties.keys().cloned());
    }
    for definition in schema.get("$defs").and_then(serde_json::Value::as_object).into_iter().flatten() {
        properties(definition.1, keys);
    }
}

#[test]
fn what_config_prints_can_be_loaded_again() {
    for example in files("examples", "yaml") {
        let config = load(Some(&root().join(&example)));
        let dir = tempfile::tempdir().expect("a directory can be made");
        let printed = dir.path().join("printed.yaml");
        // The values of headers are hidden; whoever loads the file puts them back.
        let text = config.print().replace("(hidden)", "secret");
        std::fs::write(&printed, text).expect("the file can be written");
        assert_eq!(load(Some(&printed)).print(), config.print(), "{example}");
    }
}

/// The fenced blocks of a page: the word after the fence, and what is inside.
pub(crate) fn blocks(page: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut block: Option<(String, String)> = None;
    for line in page.lines() {
        match (line.trim_start().strip_prefix("```"), block.take()) {
            (Some(_), Some(done)) => blocks.push(done),
            (Some(language), None) => block = Some((language.trim().to_owned(), String::new())),
            (None, Some((language, text))) => block = Some((language, text + line + "\n")),
            (None, None) => {}
        }
    }
    assert!(block.is_none(), "a fence is not closed");
    blocks
}

/// The commands of a page that are ours: lines of `sh` blocks that run connscope, without what the shell does around.
fn commands(page: &str) -> Vec<Vec<String>> {
    blocks(page)
        .into_iter()
        .filter(|(language, _)| language == "sh")
        .flat_map(|(_, text)| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|line| {
            let line = [" #", " |", " >"]
                .iter()
                .fold(line.as_str(), |line, end| line.split(end).next().unwrap_or(line));
            let words: Vec<&str> = line
                .split_ascii_whitespace()
                .skip_while(|word| *word == "sudo" || (word.contains('=') && !word.starts_with('-')))
                .collect();
            let (first, arguments) = words.split_first()?;
            let ours = Path::new(first).file_name().is_some_and(|name| name == "connscope");
            ours.then(|| {
                std::iter::once("connscope").chain(arguments.iter().copied()).map(str::to_owned).collect()
            })
        })
        .collect()
}

#[test]
fn the_commands_in_the_pages_are_understood_and_the_cheap_ones_run() {
    let mut count = 0;
    for page in pages() {
        for command in commands(&read(&page)) {
            count += 1;
            Cli::try_parse_from(&command).unwrap_or_else(|error| panic!("{page}: {command:?}: {error}"));
            let prints = command.get(1).is_some_and(|word| ["metrics", "config"].contains(&word.as_str()));
            if prints && !command.iter().any(|word| word.starts_with("/etc/")) {
                let done = cli::run(command.iter().map(Into::into));
                let done = done.unwrap_or_else(|error| panic!("{page}: {command:?}: {error}"));
                assert!(done.code == 0 && !done.text.is_empty(), "{page}: {command:?}");
            }
        }
    }
    assert!(count >= 8, "only {count} commands were found; is a block not marked as sh?");
}

#[test]
fn the_yaml_in_the_pages_is_a_configuration() {
    for page in
        ["README.md", "docs/configuration.md", "docs/migration.md", "docs/filter.md", "docs/probes.md"]
    {
        let blocks = blocks(&read(page));
        let yaml: Vec<&String> =
            blocks.iter().filter(|(language, _)| language == "yaml").map(|(_, text)| text).collect();
        assert!(!yaml.is_empty(), "{page}: no yaml block was found");
        for text in yaml {
            Config::parse(text, Path::new(page)).unwrap_or_else(|error| panic!("{error}\n{text}"));
        }
    }
}

/// The pages for operators, but for the runbooks, which `deploy.rs` reads.
fn pages() -> Vec<String> {
    let mut pages = files("docs", "md");
    pages.extend(["README.md", "CONTRIBUTING.md"].map(str::to_owned));
    pages
}

#[test]
fn the_first_screen_of_the_readme_says_what_it_is_what_it_replaces_and_how_to_try_it() {
    let readme = read("README.md");
    let lines: Vec<&str> = readme.lines().collect();
    assert!(lines.len() <= 200, "README.md has {} lines; reference belongs into docs/", lines.len());
    let first = lines[..45].join("\n");
    let tools = [
        "conntrack-stats-exporter",
        "Telegraf",
        "prometheus_ss_exporter",
        "connection-status-exporter",
        "coroot-node-agent",
    ];
    for tool in tools {
        assert!(first.lines().any(|line| line.starts_with(&format!("| {tool}"))), "no row for {tool}");
    }
    for command in ["make run", "make test"] {
        assert!(first.lines().any(|line| line.starts_with(command)), "no {command}");
    }
    assert!(first.contains("```text"), "no sample of what it prints");
    for page in pages().into_iter().filter(|page| page.starts_with("docs/")) {
        assert!(
            readme.contains(&page) || page == "docs/migrate-ss-exporter.md",
            "README.md does not name {page}"
        );
    }
}

#[test]
fn the_readme_says_which_opentelemetry_crates_are_used() {
    let manifest = read("Cargo.toml");
    let dependencies = manifest.split("\n[dependencies]\n").nth(1).and_then(|rest| rest.split("\n[").next());
    let used: BTreeSet<&str> = dependencies
        .expect("there are dependencies")
        .lines()
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name))
        .filter(|name| name.starts_with("opentelemetry"))
        .collect();
    let readme = read("README.md");
    let named: BTreeSet<&str> =
        readme.lines().filter_map(|line| line.strip_prefix("| `opentelemetry")?.split('`').next()).collect();
    let used: BTreeSet<&str> =
        used.into_iter().filter_map(|name| name.strip_prefix("opentelemetry")).collect();
    assert_eq!(named, used);
    assert!(readme.contains("`opentelemetry-otlp` is not the exporter"));
}

#[test]
fn the_page_of_connection_tracking_explains_every_counter() {
    let page = read("docs/conntrack.md");
    for metric in METRICS.iter().filter(|metric| metric.name.starts_with("conntrack.")) {
        let word = metric.name.trim_start_matches("conntrack.");
        let named = page.contains(&format!("`{word}`"));
        assert!(named, "docs/conntrack.md does not say what {} means", metric.name);
    }
}

#[test]
fn the_page_of_the_configuration_names_every_command_and_every_flag() {
    let page = read("docs/configuration.md");
    let cli = Cli::command();
    for command in cli.get_subcommands() {
        let words = format!("connscope {}", command.get_name());
        assert!(page.contains(&words), "docs/configuration.md does not have `{words}`");
    }
    for flag in cli.get_arguments().filter_map(clap::Arg::get_long) {
        let known = ["help", "version"].contains(&flag) || page.contains(&format!("--{flag}"));
        assert!(known, "docs/configuration.md does not have --{flag}");
    }
}

#[test]
fn the_page_of_the_sockets_explains_every_metric_of_the_source() {
    let page = read("docs/sockets.md");
    let roots = ["system.network.", "tcp.", "udp.", "connscope.sockets."];
    for metric in METRICS.iter().filter(|metric| !metric.only_classic) {
        let ours = roots.iter().any(|root| metric.name.starts_with(root));
        // `tcp.top.*` stands for the three of them.
        let named = page.contains(&format!("`{}`", metric.name)) || metric.name.starts_with("tcp.top.");
        assert!(!ours || named, "docs/sockets.md does not say what {} means", metric.name);
    }
}

#[test]
fn the_page_of_the_configuration_names_every_variable_that_is_read() {
    let source = read("src/config/environment.rs");
    let page = read("docs/configuration.md");
    let mut names: BTreeSet<String> = BTreeSet::new();
    for literal in source.split('"').skip(1).step_by(2) {
        if literal.starts_with("OTEL_") && !literal.contains(['{', ' ']) {
            names.insert(literal.to_owned());
        }
    }
    for setting in source.split(".otlp(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        names.insert(format!("OTEL_EXPORTER_OTLP_{setting}"));
    }
    assert!(names.len() > 15, "environment.rs is read wrongly: {names:?}");
    for name in names {
        // OTEL_EXPORTER_OTLP_[METRICS_]TIMEOUT stands for both.
        let both = name.replacen("OTEL_EXPORTER_OTLP_METRICS_", "OTEL_EXPORTER_OTLP_", 1).replacen(
            "OTEL_EXPORTER_OTLP_",
            "OTEL_EXPORTER_OTLP_[METRICS_]",
            1,
        );
        assert!(page.contains(&name) || page.contains(&both), "docs/configuration.md does not have {name}");
    }
}

#[test]
fn the_service_starts_the_agent_as_its_command_line_is() {
    let unit = read("deploy/systemd/connscope.service");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("it starts something");
    Cli::try_parse_from(start.split_ascii_whitespace()).unwrap_or_else(|error| panic!("{error}"));
    for line in ["AmbientCapabilities=CAP_NET_ADMIN", "CapabilityBoundingSet=CAP_NET_ADMIN", "KillMode=mixed"]
    {
        assert!(unit.lines().any(|found| found == line), "{line} is not there");
    }
}

/// `a/{b,c}.rs` as `a/b.rs` and `a/c.rs`.
fn expanded(path: &str) -> Vec<String> {
    match path.split_once('{').and_then(|(head, rest)| Some((head, rest.split_once('}')?))) {
        None => vec![path.to_owned()],
        Some((head, (names, tail))) => {
            names.split(',').flat_map(|name| expanded(&format!("{head}{name}{tail}"))).collect()
        }
    }
}

/// What a page says about files of this repository: words in backquotes or in a block that look like paths.
fn paths(page: &str) -> BTreeSet<String> {
    const ENDS: [&str; 8] = [".rs", ".md", ".toml", ".yaml", ".service", ".yml", ".lock", ".c"];
    const DIRS: [&str; 7] = ["src/", "tests/", "benches/", "examples/", "docs/", "deploy/", ".ci/"];
    let quoted = page.split('`').skip(1).step_by(2).filter(|word| !word.contains('\n')).map(str::to_owned);
    quoted
        .flat_map(|text| text.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .map(|word| word.trim_end_matches([',', ';', ')']).to_owned())
        .filter(|word| !word.starts_with(['/', '.']) || word.starts_with(".ci/"))
        .filter(|word| !word.ends_with('/') && !word.contains([':', '*', '…', '<']))
        .filter(|word| !word.starts_with("foo") && !word.starts_with("mod.rs")) // how files are named, not files
        .filter(|word| {
            DIRS.iter().any(|dir| word.starts_with(dir)) || ENDS.iter().any(|end| word.ends_with(end))
        })
        .flat_map(|word| expanded(&word))
        .collect()
}

fn exists(path: &str) -> bool {
    ["", "src", "docs"].iter().any(|dir| root().join(dir).join(path).exists())
}

#[test]
fn the_pages_speak_of_files_that_exist() {
    let further = ["CHANGELOG.md", "METRICS.md"].map(str::to_owned);
    for page in pages().into_iter().chain(further) {
        // A fence is three backquotes; what is inside it is looked at by another test.
        let text = read(&page);
        let outside: String = text.split("```").step_by(2).collect();
        for path in paths(&outside) {
            assert!(exists(&path), "{page} speaks of {path}, which is not there");
        }
        for link in outside.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let local = !link.contains("://") && !link.starts_with('#');
            let link = link.split('#').next().unwrap_or_default();
            assert!(!local || exists(link), "{page} links to {link}, which is not there");
        }
    }
}

/// A folder and the module file beside it are one line, `name/`. What is below a folder of a folder needs none.
#[test]
fn the_design_has_every_folder_of_the_source_and_no_other() {
    let design = read("docs/design.md");
    let folders = design.split("\n## The folders\n").nth(1).expect("the page has its folders");
    let (_, block) = blocks(folders).into_iter().next().expect("the folders are listed");
    let tree = block.split("src/\n").nth(1).expect("the source is listed last");
    let listed: BTreeSet<String> =
        tree.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    let mut there = BTreeSet::new();
    walk(&root().join("src"), "", &mut there);
    let not_listed: Vec<_> = there.difference(&listed).collect();
    let not_there: Vec<_> =
        listed.difference(&there).filter(|entry| !exists(&format!("src/{entry}"))).collect();
    assert!(
        not_listed.is_empty(),
        "docs/design.md, The folders, does not have {not_listed:?}: add a line for each"
    );
    assert!(not_there.is_empty(), "docs/design.md, The folders, has {not_there:?}, which are not there");
}

/// The files beside which there is no folder of their name, the folders, and those of the sources.
fn walk(dir: &Path, from: &str, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(dir).expect("src can be listed").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            found.insert(format!("{from}{name}/"));
            if from.is_empty() && name == "source" {
                walk(&entry.path(), &format!("{name}/"), found);
            }
        } else if from.is_empty() && !entry.path().with_extension("").is_dir() {
            found.insert(name);
        }
    }
}
