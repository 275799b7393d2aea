//! `connscope config`: what wins over what, what is printed, and the schema.

use super::{config_file, refusal, text};
use crate::support::{command, connscope, schema};
use connscope::catalog::SOURCES;

#[test]
fn the_flag_wins_over_the_variable_and_the_variable_over_the_file() {
    let file = config_file(
        "export: {otlp: {interval: 20s, endpoint: \"http://file:1\"}, prometheus: {listen: \"127.0.0.1:1\"}}\n",
    );
    let path = file.path().to_str().unwrap();
    let printed = |command: &mut std::process::Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    };
    let from_file = printed(&mut command(&["config", "--config", path]));
    assert!(
        from_file.contains("interval: 20s") && from_file.contains("endpoint: http://file:1"),
        "{from_file}"
    );
    let from_variable = printed(
        command(&["config", "--config", path])
            .env("OTEL_METRIC_EXPORT_INTERVAL", "30000")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://variable:1")
            .env("OTEL_EXPORTER_PROMETHEUS_HOST", "::1")
            .env("OTEL_EXPORTER_PROMETHEUS_PORT", "9464"),
    );
    assert!(from_variable.contains("interval: 30s") && from_variable.contains("http://variable:1"));
    assert!(from_variable.contains("[::1]:9464"), "{from_variable}");
    let from_flag = printed(
        command(&["config", "--config", path, "--interval", "40s", "--otlp-endpoint", "http://flag:1"])
            .env("OTEL_METRIC_EXPORT_INTERVAL", "30000")
            .env("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://variable:1"),
    );
    assert!(from_flag.contains("interval: 40s") && from_flag.contains("http://flag:1"), "{from_flag}");
    // What is printed is a configuration again, and the same one.
    let again = config_file(&from_flag);
    assert_eq!(printed(&mut command(&["config", "--config", again.path().to_str().unwrap()])), from_flag);
}

#[test]
fn secrets_are_not_printed() {
    let file = config_file("export: {otlp: {headers: {authorization: tell-nobody}}}\n");
    let output = connscope(&["config", "--config", file.path().to_str().unwrap()]);
    let printed = text(&output.stdout);
    assert!(printed.contains("authorization") && !printed.contains("tell-nobody"), "{printed}");
}

#[test]
fn sections_with_nothing_in_them_say_nothing() {
    let default = connscope(&["config"]).stdout;
    for yaml in [
        "",
        "# nothing\n",
        "---\n",
        "export:\nsources:\nlog:\n",
        "export: {otlp: {headers: , tls: }, prometheus: }\nsources: {conntrack: {netns: , table: {dirs: , files: }}}\n",
        "export: {otlp: {endpoint: \"http://localhost:4317\"}}\n",
    ] {
        let file = config_file(yaml);
        let output = connscope(&["config", "--config", file.path().to_str().unwrap()]);
        assert!(output.status.success(), "{yaml}: {output:?}");
        assert_eq!(text(&output.stdout), text(&default), "{yaml}");
    }
}

#[test]
fn the_schema_takes_what_the_program_takes_and_nothing_else() {
    let printed = connscope(&["config", "--schema"]);
    let schema: serde_json::Value = serde_json::from_slice(&printed.stdout).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let json = |yaml: &str| connscope::settings::from_str::<serde_json::Value>(yaml).unwrap();
    for example in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples")).unwrap() {
        let path = example.unwrap().path();
        let instance = json(&std::fs::read_to_string(&path).unwrap());
        if let Err(error) = schema.validate(&instance) {
            panic!("{}: {error}", path.display());
        }
    }
    let effective = json(&text(&connscope(&["config"]).stdout));
    assert!(schema.is_valid(&effective), "what is printed is valid: {effective}");
    for bad in [
        "export: {otlp: {interval: abc}}",
        "export: {otlp: {intervall: 10s}}",
        "export: {prometheus: {listen: zzz}}",
        "sources: {conntrack: {netns: [\"pid:x\"]}}",
        "sources: {conntrack: {via: magic}}",
    ] {
        assert!(!schema.is_valid(&json(bad)), "{bad}");
    }
}

#[test]
fn every_word_of_the_flags_of_the_sources_is_taken_and_no_other() {
    for flag in SOURCES.iter().flat_map(|spec| spec.flags) {
        for (word, _) in flag.words {
            let output = connscope(&["config", flag.name, word]);
            assert!(text(&output.stdout).contains(&format!(": {word}\n")), "{}: {output:?}", flag.name);
        }
        if !flag.words.is_empty() {
            let line = refusal(&connscope(&["config", flag.name, "magic"]));
            assert!(line.contains(flag.name) && line.contains("magic"), "{line}");
        }
    }
    let schema = schema();
    let ways = schema["$defs"]["Via"]["oneOf"].as_array().unwrap().iter();
    let ways: Vec<&str> = ways.map(|way| way["const"].as_str().unwrap()).collect();
    let flags: Vec<&str> = SOURCES[0].flags[0].words.iter().map(|(word, _)| *word).collect();
    assert_eq!(flags, ways, "the flag and the key take the same words");
    let line = refusal(&connscope(&["config", "--conntrack-command", ""]));
    assert_eq!(line, "connscope: --conntrack-command : is not the name of a program");
}

#[test]
fn metrics_are_listed_in_both_formats() {
    let output = connscope(&["metrics", "--format", "json"]);
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let drop = list.as_array().unwrap().iter().find(|metric| metric["name"] == "conntrack.drop").unwrap();
    assert_eq!(drop["prometheus"], "conntrack_drop_total");
    assert_eq!(drop["classic"], "conntrack_drop");
    assert!(text(&connscope(&["metrics"]).stdout).contains("## conntrack.drop\n"));
}
