//! Which part of the program may know which, and what a file may use.

use super::syntax::Source;
use super::{read, walk};
use std::collections::{BTreeMap, BTreeSet};

/// The layers, the highest first; a name is the beginning of a module's path. What stands on one line is one layer.
const LAYERS: &[&[&str]] = &[
    &["cli", "main", "lib"],
    &["import", "agent", "signals"],
    &["web", "export"],
    &["cycle", "health", "history", "log", "self_metrics"],
    &["catalog"],
    &[
        "config",
        "source::conntrack",
        "source::sockets",
        "source::network",
        "source::probes",
        "source::containers",
        "source::logs",
        "source::node",
    ],
    &["source"],
    &["cloud", "host", "netlink", "filter"],
    &["settings"],
    &["reading"],
    &["metric"],
    &["stop", "tls"],
    &["sys"],
    &["peer", "runtime", "text", "url", "timeouts", "token_bucket"],
];

pub(super) fn sources() -> Vec<Source> {
    let files = walk("src");
    let rust = files.iter().filter_map(|file| file.strip_suffix(".rs")?.strip_prefix("src/"));
    rust.map(|file| Source::parse(&format!("{file}.rs"), &read(&format!("src/{file}.rs")))).collect()
}

/// Position and name of the layer of a module.
fn layer(module: &[String]) -> Option<(usize, &'static str)> {
    let path = module.join("::");
    let inside =
        |name: &str| path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    let names = LAYERS
        .iter()
        .enumerate()
        .flat_map(|(position, names)| names.iter().map(move |name| (position, *name)));
    names.filter(|(_, name)| inside(name)).max_by_key(|(_, name)| name.len())
}

/// The layer of what a file imports, with the path, where it may not: above its own, or a source that is not its own.
fn upwards(source: &Source) -> BTreeMap<&'static str, String> {
    let Some((own, own_name)) = layer(&source.module) else { return BTreeMap::new() };
    let ours = source.paths.iter().filter(|path| path[0] == "crate");
    let imported = ours.filter_map(|path| {
        let (position, name) = layer(&path[1..])?;
        // Sources know neither each other nor the agent's settings, and these know no source.
        let beside_source = name != own_name
            && position == own
            && [name, own_name].iter().any(|name| name.starts_with("source::"));
        (position < own || beside_source).then(|| (name, path.join("::")))
    });
    imported.collect()
}

#[test]
fn every_file_is_in_a_layer() {
    let outside: Vec<String> = sources()
        .into_iter()
        .filter(|source| !source.module.is_empty() && layer(&source.module).is_none())
        .map(|source| source.file)
        .collect();
    assert!(
        outside.is_empty(),
        "{outside:?} are in no layer: add the beginning of their path to LAYERS in tests/house/layers.rs, as low as what \
         they import allows, and to docs/design.md"
    );
}

#[test]
fn the_design_has_the_same_order() {
    let order: String = LAYERS.iter().map(|names| names.join(", ") + "\n").collect();
    assert!(
        read("docs/design.md").contains(&format!("```\n{order}```\n")),
        "docs/design.md has another order of the layers than LAYERS in tests/house/layers.rs; it is:\n{order}"
    );
}

#[test]
fn no_layer_imports_one_above_it() {
    let mut paths = Vec::new();
    for source in sources() {
        for (name, path) in upwards(&source) {
            let own = layer(&source.module).map_or("", |layer| layer.1);
            paths.push(format!("src/{}: {path} ({own} -> {name})", source.file));
        }
    }
    let order: Vec<String> = LAYERS.iter().map(|names| names.join(", ")).collect();
    assert!(
        paths.is_empty(),
        "A layer imports only those below it, and neither a source nor the configuration a source, so that each can be read, tested and replaced \
         without what is built on it. The order, the highest first: {}. Move what is shared to the lower of the two, or \
         give it as an argument:\n{}",
        order.join(" > "),
        paths.join("\n")
    );
}

#[test]
fn nothing_of_another_layer_is_passed_on() {
    let mut found = BTreeSet::new();
    for source in sources().iter().filter(|source| !source.module.is_empty()) {
        for path in source.reexported.iter().filter(|path| path[0] == "crate") {
            if layer(&path[1..]).map(|layer| layer.1) != layer(&source.module).map(|layer| layer.1) {
                found.insert(format!("{}: {}", source.file, path[1..].join("::")));
            }
        }
    }
    assert!(
        found.is_empty(),
        "`pub use` of another layer hides on whom a file depends: import it where it is used, from where it is\n{found:#?}"
    );
}

/// The files that a file imports, but for those it lies in or that lie in it: a folder and its file are one thing.
fn graph(sources: &[Source]) -> BTreeMap<&str, BTreeSet<&str>> {
    let files: BTreeMap<&[String], &str> =
        sources.iter().map(|source| (source.module.as_slice(), source.file.as_str())).collect();
    let mut graph = BTreeMap::new();
    for source in sources.iter().filter(|source| !source.module.is_empty()) {
        let ours = source.paths.iter().filter(|path| path[0] == "crate");
        let imported = ours.filter_map(|path| {
            let path = &path[1..];
            let module =
                (1..=path.len()).rev().map(|end| &path[..end]).find(|path| files.contains_key(path))?;
            let related = source.module.starts_with(module) || module.starts_with(&source.module);
            (!related).then(|| files[module])
        });
        graph.insert(source.file.as_str(), imported.collect::<BTreeSet<_>>());
    }
    graph
}

/// Everything that can be reached from a file.
fn reach<'a>(graph: &BTreeMap<&'a str, BTreeSet<&'a str>>, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&str> = graph.get(from).into_iter().flatten().copied().collect();
    while let Some(file) = open.pop() {
        if reached.insert(file) {
            open.extend(graph.get(file).into_iter().flatten());
        }
    }
    reached
}

#[test]
fn files_import_one_another_in_no_circle() {
    let sources = sources();
    let graph = graph(&sources);
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        graph.keys().map(|&file| (file, reach(&graph, file))).collect();
    let mut found = BTreeSet::new();
    for (file, reach) in &reached {
        if reach.contains(file) {
            let circle: Vec<&str> =
                reach.iter().filter(|other| reached[*other].contains(file)).copied().collect();
            found.insert(circle.join(" "));
        }
    }
    assert!(
        found.is_empty(),
        "Files that import one another in a circle can only be understood together: move what both need to a file of its own, \
         or give it as an argument\n{found:#?}"
    );
}

/// What pure code does not name: the beginnings of paths.
const OUTSIDE: &[&str] = &[
    "crate::sys",
    "libc",
    "rustix",
    "std::env",
    "std::fs",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "tokio",
];

/// What a file uses that is neither its arguments nor a value.
fn impure(source: &Source) -> Vec<String> {
    let path = |path: &Vec<String>| {
        let path = path.join("::");
        let outside = |name: &&&str| {
            path.strip_prefix(**name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        // The kernel's numbers are values.
        let number = path.strip_prefix("libc::").is_some_and(|name| name == name.to_uppercase());
        OUTSIDE.iter().find(outside).filter(|_| !number).map(|_| path.clone())
    };
    let elapsed = source.methods.contains("elapsed").then(|| "Instant::elapsed".to_owned());
    source.paths.iter().filter_map(path).chain(elapsed).collect()
}

fn says_pure(source: &Source) -> bool {
    source.about.split(|c: char| !c.is_alphanumeric()).any(|word| word.eq_ignore_ascii_case("pure"))
}

#[test]
fn what_says_pure_uses_no_clock_no_file_and_no_socket() {
    let mut used = Vec::new();
    for source in sources().iter().filter(|source| says_pure(source)) {
        let impure = impure(source);
        if !impure.is_empty() {
            used.push(format!("src/{}: {}", source.file, impure.join(", ")));
        }
    }
    assert!(
        used.is_empty(),
        "The first comment of these files says \"pure\": values in, values out, so that tests need neither a kernel nor \
         time. Let the caller ask the clock, the file or the socket and give what came as an argument:\n{}",
        used.join("\n")
    );
}

#[test]
fn unsafe_is_in_sys_alone() {
    let found: Vec<String> = sources()
        .into_iter()
        .filter(|source| source.has_unsafe && source.module.first().is_none_or(|first| first != "sys"))
        .map(|source| source.file)
        .collect();
    assert!(
        found.is_empty(),
        "{found:?}: `unsafe` is for src/sys, where every block has its SAFETY sentence and a safe function around it; put the \
         system call there"
    );
}

#[test]
fn imports_are_found_wherever_they_stand() {
    let finds = |file: &str, text: &str, name: &str| {
        let found = upwards(&Source::parse(file, text));
        assert!(found.contains_key(name), "{file}: {text}: {found:?}");
    };
    finds("metric/label.rs", "use crate::{config::{Config as C}, stop::Stop};", "config");
    finds("metric/label.rs", "fn f() { let x = crate::reading::X; }", "reading");
    finds("metric/label.rs", "fn f() { println!(\"{}\", crate::reading::x()); }", "reading");
    finds("metric/label.rs", "pub use super::super::cycle::Cycle;", "cycle");
    finds("metric/label.rs", "mod inner { fn f(_: super::super::super::web::W) {} }", "web");
    finds("metric/label.rs", "use super::super as all;\nfn f() { all::agent::run() }", "agent");
    finds("source/probes/tcp.rs", "use crate::source::sockets::Sockets;", "source::sockets");
    finds("config/load.rs", "use crate::catalog::SOURCES;", "catalog");
    finds(
        "config.rs",
        "pub struct Config { probes: crate::source::probes::config::Probes }",
        "source::probes",
    );
    finds("source/probes/tcp.rs", "use crate::config::Tls;", "config");
    let below = "use crate::{stop::Stop, metric::Metric}; use super::Other; use std::fs;";
    assert_eq!(upwards(&Source::parse("source/probes/tcp.rs", below)), BTreeMap::new());
}

#[test]
fn impure_code_is_found_under_whatever_name() {
    for text in [
        "use std::time::Instant;\nfn f() { Instant::now(); }",
        "use std::time as t;\nfn f() { t::Instant::now(); }",
        "fn f(at: std::time::Instant) { at.elapsed(); }",
        "use std::{fs::File, io};\nfn f() { File::open(\"x\"); }",
        "fn f() { assert!(std::fs::exists(\"x\").is_ok()); }",
        "use rustix::net::socket;",
    ] {
        assert!(!impure(&Source::parse("x.rs", text)).is_empty(), "{text}");
    }
    let values =
        "use std::time::{Duration, Instant};\nuse std::net::IpAddr;\nfn f(now: Instant) -> Instant { now }";
    assert_eq!(impure(&Source::parse("x.rs", values)), Vec::<String>::new());
    for text in
        ["fn f() { unsafe { g() } }", "unsafe fn f() {}", "unsafe impl Send for X {}", "m!(unsafe { g() });"]
    {
        assert!(Source::parse("x.rs", text).has_unsafe, "{text}");
    }
}

/// The shared files of `src/` that adding a source edits by hand: its module, its line in the list, and the keys of its
/// labels that no other source has. The schema of the configuration is written by its test.
const SHARED_BY_SOURCES: [&str; 3] = ["catalog.rs", "metric/label.rs", "source.rs"];

#[test]
fn adding_a_source_edits_at_most_three_shared_files() {
    let files = sources();
    for spec in connscope::catalog::SOURCES {
        let module = ["crate", "source", spec.name];
        let names = |source: &&Source| {
            let imported = source.paths.iter().any(|path| path.iter().map(String::as_str).take(3).eq(module));
            let declared = source.file == "source.rs"
                && read("src/source.rs").contains(&format!("pub mod {};", spec.name));
            imported || declared
        };
        // An importer writes the settings of a source from those of another tool, and comes after the source.
        let own = |source: &&Source| {
            source.module.starts_with(&["source".to_owned(), spec.name.to_owned()])
                || source.module.first().is_some_and(|first| first == "import")
        };
        let shared: BTreeSet<&str> = files
            .iter()
            .filter(|source| !own(source))
            .filter(names)
            .map(|source| source.file.as_str())
            .collect();
        assert_eq!(
            shared,
            BTreeSet::from(["catalog.rs", "source.rs"]),
            "a source is named where it is declared and listed, and nowhere else, so that adding one edits {SHARED_BY_SOURCES:?} \
             only: let {} say of itself, in its SourceKind, what the other files ask",
            spec.name
        );
    }
    let steps = read("CONTRIBUTING.md");
    for file in SHARED_BY_SOURCES {
        assert!(steps.contains(&format!("`src/{file}`")), "CONTRIBUTING.md does not name src/{file}");
    }
}
