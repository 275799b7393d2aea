//! One text into one tree, and settings from it: what YAML means, what is refused and where, and what a hostile text costs.

use connscope::settings::values::LONGEST_TEXT;
use connscope::settings::{self, Limits};
use proptest::prelude::*;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Sample {
    name: String,
    #[serde(default)]
    port: u16,
    #[serde(default)]
    share: Option<f64>,
    #[serde(default)]
    on: bool,
    #[serde(default)]
    kind: Kind,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Samples {
    all: Vec<Sample>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Plain,
    Sized(u8),
}

fn sample(text: &str) -> Result<Sample, String> {
    settings::from_str(text).map_err(|error| {
        let (line, column) = error.position();
        format!("{line}:{column}: {error}")
    })
}

#[test]
fn scalars_are_what_the_setting_takes_them_for() {
    let text = "name: 1.10\nport: 0x1F_90\nshare: 5e-1\non: yes\nkind: {sized: 7}\nlabels: {a: true, b: '~', c: 007}\n";
    let labels = [("a", "true"), ("b", "~"), ("c", "007")].map(|(key, value)| (key.into(), value.into()));
    let expected = Sample {
        name: "1.10".into(),
        port: 8080,
        share: Some(0.5),
        on: true,
        kind: Kind::Sized(7),
        labels: labels.into(),
    };
    assert_eq!(sample(text).unwrap(), expected);
    let json = r#"{"name": "\ud83d\ude80", "share": null, "kind": "plain"}"#;
    assert_eq!(sample(json).unwrap().name, "\u{1f680}");
}

#[test]
fn anchors_aliases_and_merge_keys_give_the_values_of_what_they_name() {
    let text =
        "x: &base {name: x, port: 1}\nall:\n- *base\n- {<<: *base, port: 2}\n- {<<: [*base, {on: true}]}\n";
    let merged = "- &a {k: 1, l: 2}\n- &b {l: 3, m: 4}\n- {k: 0, <<: [*a, *b]}\n";
    let merged: Vec<BTreeMap<String, u8>> = settings::from_str(merged).unwrap();
    let values = [("k", 0), ("l", 2), ("m", 4)].map(|(key, value)| (key.to_owned(), value));
    assert_eq!(merged[2], values.into(), "its own first, then the first of the list");
    let Samples { all } = settings::from_str(text).unwrap();
    let found: Vec<_> = all.iter().map(|sample| (sample.name.as_str(), sample.port, sample.on)).collect();
    assert_eq!(found, [("x", 1, false), ("x", 2, false), ("x", 1, true)]);
}

#[test]
fn what_is_wrong_is_said_with_its_key_and_place() {
    for (text, expected) in [
        ("name: [a]", "1:7: name: is a list; a string is expected"),
        ("name:", "1:5: name: is empty; a string is expected"),
        ("name: x\nport: 70000", "2:7: port: `70000` is not a whole number, or is out of range"),
        ("name: x\nport: -1", "2:7: port: `-1` is not a whole number, or is out of range"),
        ("name: x\nshare: inf", "2:8: share: `inf` is not a number"),
        ("name: x\non: maybe", "2:5: on: is neither true nor false"),
        ("name: x\nkind: odd", "2:7: kind: unknown variant `odd`, expected one of plain, sized"),
        ("name: x\nlabels: {a: b, a: c}", "2:16: labels.a: is repeated"),
        ("name: x\nlabels: [a]", "2:9: labels: is not a section with keys"),
        ("name: x\n[a]: b", "2:1: a key is a text, not a list or a section"),
        ("name: x\n<<: [1]", "2:6: `<<` takes a section with keys, or a list of them"),
        ("port: 1", "1:1: missing field `name`"),
        ("- name: x", "1:1: is not a section with keys"),
        ("name: x\n---\nname: y", "2:1: has more than one document"),
    ] {
        assert_eq!(sample(text).unwrap_err(), expected, "{text}");
    }
}

#[test]
fn aliases_of_aliases_and_depth_are_refused_before_anything_is_made_of_them() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let names = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(bomb, "a{level}: &a{level} [{names}]").unwrap();
    }
    let refused = settings::from_str::<serde_json::Value>(&bomb).unwrap_err();
    assert!(refused.message().contains("holds more than 1000000 values"), "{refused}");

    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let refused = settings::from_str::<serde_json::Value>(&deep).unwrap_err();
    assert!(refused.message().contains("has more than 100 levels"), "{refused}");

    let mut stairs = String::from("a0: &a0 [x]\n");
    for level in 1..200 {
        writeln!(stairs, "a{level}: &a{level} [*a{}]", level - 1).unwrap();
    }
    let refused = settings::from_str::<serde_json::Value>(&stairs).unwrap_err();
    assert!(refused.message().contains("has more than 100 levels"), "{refused}");

    let long = format!("a: [b, '{}']", "x".repeat(LONGEST_TEXT + 1));
    let refused = settings::from_str::<serde_json::Value>(&long).unwrap_err();
    assert_eq!(
        (refused.message(), refused.position()),
        ("has 65537 bytes; a text takes 65536 at most", (1, 8))
    );
    assert!(settings::from_str::<serde_json::Value>(&"x".repeat(LONGEST_TEXT)).is_ok());

    let limits = Limits { nodes: 3, bytes: 1000, text: 9, items: 9, depth: 2, json: false };
    assert!(settings::document::<Vec<u8>>("[1, 2]", limits).is_ok());
    assert!(settings::document::<Vec<u8>>("[1, 2, 3]", limits).is_err());
}

proptest! {
    #[test]
    fn what_json_says_is_what_is_read(value in json()) {
        let read: serde_json::Value = settings::from_str(&value.to_string()).unwrap();
        prop_assert_eq!(read, value);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[-\\[\\]{}:,&*!|>'\"#%@`~<a0 \\n\\t]{0,60}") {
        let _read = settings::from_str::<serde_json::Value>(&text);
    }
}

/// JSON of every kind; floats are left out, since a whole one is written without its point.
fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<u64>().prop_map(serde_json::Value::from),
        "\\PC{0,12}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            prop::collection::btree_map("[a-z~]{1,6}", inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}
