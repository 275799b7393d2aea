//! `examples/connscope.yaml`, written from the schema: every key with its description, its words and its default.

use crate::support::schema;
use connscope::catalog::Config;
use serde_json::Value;

/// Columns of a comment.
const WIDTH: usize = 120;

const HEAD: &str = "\
# The configuration of connscope, every key with its default. A key that is left out has its default, so a file may be as
# short as what it changes. `connscope config --config FILE` checks a file and prints what is in effect.
#
# Flags and OTEL_* variables go over the file: flag, then variable, then file, then default.
#
# Written from the descriptions and defaults of the settings; a test keeps this file equal to them.
";

/// The file, whole.
pub(super) fn written() -> String {
    let schema = schema();
    let mut text = HEAD.to_owned();
    let mut path: Vec<(usize, String)> = Vec::new();
    for line in lines(&Config::default().print()) {
        let indent = line.len() - line.trim_start().len();
        let key = line.trim().split(':').next().unwrap_or_default().to_owned();
        path.retain(|(outer, _)| *outer < indent);
        path.push((indent, key));
        let keys: Vec<&str> = path.iter().map(|(_, key)| key.as_str()).collect();
        let property = property(&schema, &keys);
        if indent == 0 || (indent == 2 && keys.first() == Some(&"sources")) {
            text.push('\n');
        }
        let margin = format!("{}# ", " ".repeat(indent));
        about(&mut text, &margin, property, &schema);
        template(&mut text, &margin, property, &schema);
        text.push_str(line.strip_suffix(" null").unwrap_or(&line));
        text.push('\n');
    }
    text
}

/// The lines of the YAML, with each list on the line of its key.
fn lines(yaml: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in yaml.lines() {
        match (line.trim_start().strip_prefix("- "), lines.last_mut()) {
            (Some(entry), Some(list)) => {
                let before = list.strip_suffix(']').map(|open| format!("{open}, "));
                *list = format!("{}{entry}]", before.unwrap_or_else(|| format!("{list} [")));
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

/// The schema of a key.
fn property<'a>(schema: &'a Value, keys: &[&str]) -> &'a Value {
    keys.iter().fold(schema, |section, key| {
        let property = &resolved(schema, section)["properties"][key];
        assert!(property.is_object(), "the schema has no {keys:?}");
        property
    })
}

/// What a reference stands for.
fn resolved<'a>(schema: &'a Value, part: &'a Value) -> &'a Value {
    let reference = part["$ref"].as_str().and_then(|path| path.strip_prefix('#'));
    reference.map_or(part, |path| schema.pointer(path).expect("what is referred to is there"))
}

/// The description of a key, and its words where there is a closed set of them.
fn about(text: &mut String, margin: &str, property: &Value, schema: &Value) {
    comment(text, margin, property["description"].as_str().unwrap_or_default());
    let values = if property["items"].is_object() { &property["items"] } else { property };
    for word in resolved(schema, values)["oneOf"].as_array().into_iter().flatten() {
        if let (Some(word), Some(about)) = (word["const"].as_str(), word["description"].as_str()) {
            comment(text, margin, &format!("- {word}: {about}"));
        }
    }
    let words: Vec<&str> =
        resolved(schema, values)["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !words.is_empty() {
        comment(text, margin, &format!("One of {}.", words.join(", ")));
    }
}

/// The keys of the sections of a list that has none by default, in a comment.
fn template(text: &mut String, margin: &str, property: &Value, schema: &Value) {
    let Some(keys) = resolved(schema, &property["items"])["properties"].as_object() else { return };
    comment(text, margin, "Each has these keys, of which most may be left out:");
    section(text, &format!("{margin}  "), keys, schema);
}

fn section(text: &mut String, margin: &str, keys: &serde_json::Map<String, Value>, schema: &Value) {
    for (key, property) in keys {
        about(text, &format!("{margin}# "), property, schema);
        for part in [margin, key, ":\n"] {
            text.push_str(part);
        }
        let inner = if property["items"].is_object() { &property["items"] } else { property };
        if let Some(keys) = inner_keys(schema, inner) {
            section(text, &format!("{margin}  "), keys, schema);
        }
    }
}

/// The keys of a section, also of one that may be absent.
fn inner_keys<'a>(schema: &'a Value, part: &'a Value) -> Option<&'a serde_json::Map<String, Value>> {
    let parts = part["anyOf"].as_array().map_or(std::slice::from_ref(part), Vec::as_slice);
    // What stands for targets has the keys of a target, which stand above.
    let known = part["$ref"].as_str().is_some_and(|path| path.ends_with("/Target"));
    (!known).then(|| parts.iter().find_map(|part| resolved(schema, part)["properties"].as_object())).flatten()
}

fn comment(text: &mut String, margin: &str, sentence: &str) {
    let mut line = margin.trim_end().to_owned();
    let empty = line.len();
    for word in sentence.split_whitespace() {
        if line.len() > empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line.truncate(empty);
        }
        line.push(' ');
        line.push_str(word);
    }
    if line.len() > empty {
        text.push_str(&line);
        text.push('\n');
    }
}
