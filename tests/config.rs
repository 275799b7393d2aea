//! The configuration: the examples load, and the one with every key says what holds without it.

mod example;

use crate::support::schema;
use crate::words::{files, read, root};
use connscope::catalog::Config;
use connscope::config::Flags;
use std::collections::BTreeSet;
use std::path::Path;

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
fn the_default_file_equals_the_descriptions_and_defaults_of_the_settings() {
    let written = example::written();
    if read("examples/connscope.yaml") != written {
        std::fs::write(root().join("examples/connscope.yaml"), written).expect("the example can be written");
        panic!(
            "examples/connscope.yaml was stale and has been rewritten from the settings; look at it and commit it"
        );
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
    let schema = schema();
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

#[test]
fn a_name_that_is_too_long_is_refused_with_its_length() {
    let long = |count: usize| "x".repeat(count);
    let refused = |text: String| {
        let error = Config::parse(&text, Path::new("test.yaml")).unwrap_err().to_string();
        assert!(error.len() < 1000, "{} bytes", error.len());
        error
    };
    let target = |target: String| format!("sources: {{probes: {{targets: [{{{target}}}]}}}}");
    for (text, why) in [
        (
            target(format!("name: {}, host: a, port: 1", long(1025))),
            "has 1025 bytes in name, which takes 1024 at most",
        ),
        (
            target(format!("name: a, host: {}, port: 1", long(1025))),
            "has 1025 bytes in host, which takes 1024",
        ),
        (
            target(format!("name: a, kind: http, url: 'http://a/{}'", long(8192))),
            "bytes in url, which takes 8192",
        ),
        (target(format!("name: a, host: a, port: 1, interface: {}", long(16))), "has 16 bytes in interface"),
        (
            format!("sources: {{sockets: {{peer_groups: {{{}: [10.0.0.0/8]}}}}}}", long(257)),
            "has 257 bytes; a name takes 256 at most",
        ),
        (
            format!("sources: {{sockets: {{netns: [{}]}}}}", long(4097)),
            "has 4097 bytes; an entry takes 4096 at most",
        ),
        (
            format!("sources: {{probes: {{dns: [{{names: [{}]}}]}}}}", long(1025)),
            "has 1025 bytes; an entry takes 1024 at most",
        ),
        (
            format!("sources: {{probes: {{files: [{}.json]}}}}", long(4092)),
            "has 4097 bytes; an entry takes 4096 at most",
        ),
        (
            format!("export: {{prometheus: {{hosts: [{}]}}}}", long(256)),
            "has 256 bytes; an entry takes 255 at most",
        ),
    ] {
        let error = refused(text);
        assert!(error.contains(why), "{error}");
    }
    let fits = target(format!("name: {}, host: {}, port: 1, interface: {}", long(1024), long(253), long(15)));
    Config::parse(&fits, Path::new("test.yaml")).unwrap();
}
