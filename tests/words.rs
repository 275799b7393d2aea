//! The words: what the pages say is what the code does. Their commands are understood, the files they speak of are there,
//! every metric, flag and variable is explained.

use crate::support::table::rows as table_rows;
use clap::{CommandFactory, Parser};
use connscope::catalog::Config;
use connscope::cli::{self, Cli};
use connscope::metric::Metric;
use connscope::source;
use std::collections::BTreeSet;
use std::path::Path;

mod phrases;

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The files of a directory with this extension, as paths from the root.
pub(crate) fn files(dir: &str, extension: &str) -> Vec<String> {
    let mut files: Vec<String> = std::fs::read_dir(root().join(dir))
        .unwrap_or_else(|error| panic!("{dir}: {error}"))
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| Path::new(name).extension().is_some_and(|found| found == extension))
        .map(|name| format!("{dir}/{name}"))
        .collect();
    files.sort();
    files
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
    for page in [
        "README.md",
        "docs/configuration.md",
        "docs/migration.md",
        "docs/filter.md",
        "docs/probes.md",
        "docs/containers.md",
        "docs/migrate-coroot-node-agent.md",
    ] {
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
    for metric in table_rows().filter(|metric| metric.name.starts_with("conntrack.")) {
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
fn the_pages_of_the_sources_explain_every_metric_of_their_source() {
    let pages = [
        ("docs/sockets.md", &source::sockets::metrics::PART),
        ("docs/network.md", &source::network::metrics::PART),
        ("docs/containers.md", &source::containers::metrics::PART),
        ("docs/logs.md", &source::logs::metrics::PART),
        ("docs/node.md", &source::node::metrics::PART),
    ];
    for (file, part) in pages {
        let page = read(file);
        // That of `tcp.top.*` says it of the three of them.
        let explained = |metric: &&Metric| !metric.only_classic && !metric.name.starts_with("tcp.top.");
        for metric in part.rows.iter().filter(explained) {
            let named = page.contains(&format!("`{}`", metric.name));
            assert!(named, "{file} does not say what {} means", metric.name);
        }
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
