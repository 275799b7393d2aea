//! The configuration: the examples load, and the one with every key says what holds without it.

mod example;

use crate::support::schema;
use crate::words::{files, read, root};
use connscope::config::{Config, Flags};
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
