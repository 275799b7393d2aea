//! What the sources say that they need, against what the documentation and `connscope check` say of it.

use crate::support::Namespace;
use crate::support::agent::Public;
use connscope::catalog::SOURCES;
use connscope::source::Requirement;
use std::collections::{BTreeMap, BTreeSet};

const PAGE: &str = "docs/install.md";
const BEGIN: &str =
    "| source | for | capabilities | address families | files | Linux |\n|---|---|---|---|---|---|\n";

fn row(source: &str, requirement: &Requirement) -> String {
    let list =
        |entries: &[&str]| entries.iter().map(|entry| format!("`{entry}`")).collect::<Vec<_>>().join(", ");
    let Requirement { purpose, capabilities, address_families, files, kernel } = requirement;
    let [capabilities, families, files] =
        [capabilities, address_families, files].map(|entries| list(entries));
    let cells =
        [format!("`{source}`"), (*purpose).to_owned(), capabilities, families, files, (*kernel).to_owned()];
    format!("| {} |\n", cells.join(" | ")).replace("  ", " ")
}

#[test]
fn the_table_of_requirements_is_what_the_sources_say() {
    let path = super::deploy(PAGE);
    let page = super::read(&path);
    let (before, rest) =
        page.split_once(BEGIN).unwrap_or_else(|| panic!("{PAGE} has no table that begins {BEGIN}"));
    let after = rest.split_once("\n\n").map_or(String::new(), |(_, after)| format!("\n{after}"));
    let all = SOURCES.iter().flat_map(|spec| spec.requirements.iter().map(move |one| row(spec.name, one)));
    let written = format!("{before}{BEGIN}{}{after}", all.collect::<String>());
    if written != page {
        std::fs::write(&path, written).unwrap();
        panic!("the table of {PAGE} was stale and has been rewritten from what the sources say; commit it");
    }
}

/// The capabilities that a text names.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|one: char| !one.is_ascii_uppercase() && one != '_');
    words.filter(|word| word.starts_with("CAP_")).map(str::to_owned).collect()
}

/// By source, the capabilities that `connscope check` asks for where the agent has these and no others.
fn asked_for(
    namespace: &Namespace,
    public: &Public,
    capabilities: &[&str],
) -> BTreeMap<String, BTreeSet<String>> {
    let mut check = public.nobody(capabilities, &["check", "--format", "json"]);
    let output = namespace.inside(move || check.output()).unwrap();
    let checks: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let mut asked: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for check in checks.as_array().unwrap() {
        let source = check["source"].as_str().unwrap().to_owned();
        asked.entry(source).or_default().extend(named(check["capability"].as_str().unwrap_or_default()));
    }
    asked
}

#[test]
fn check_asks_for_the_capabilities_that_the_sources_need_and_no_others() {
    let Some(namespace) = Namespace::new() else { return };
    let public = Public::new(
        "sources:\n  conntrack: {netns: all}\n  sockets: {netns: all, group_by: [process]}\n  network: {netns: all, rules: true, drops: true}\n  \
         containers: {enabled: true}\n  \
         logs: {enabled: true}\n  node: {enabled: true}\n  \
         probes: {targets: [{name: echo, kind: icmp, host: 127.0.0.1}]}\n",
    );
    let mut asked = asked_for(&namespace, &public, &[]);
    // Without CAP_SYS_PTRACE no other namespace is found, and so none is entered.
    for (source, more) in asked_for(&namespace, &public, &["sys_ptrace", "dac_read_search"]) {
        asked.entry(source).or_default().extend(more);
    }
    for spec in SOURCES {
        let needed: BTreeSet<String> =
            spec.requirements.iter().flat_map(|one| one.capabilities).map(|&name| name.to_owned()).collect();
        let asked = &asked[spec.name];
        assert!(
            asked.is_subset(&needed),
            "{}: check asks for {asked:?}, the source needs {needed:?}",
            spec.name
        );
        match spec.name {
            // Names and logs of containers are in folders that a machine without an engine does not have.
            "containers" | "logs" => {}
            // Namespaces are those of targets, and none is configured.
            "probes" => assert!(asked.contains("CAP_NET_RAW"), "{asked:?}"),
            _ => assert_eq!(asked, &needed, "{}: check does not ask for all that is missing", spec.name),
        }
    }
}

#[test]
fn the_page_of_a_source_names_what_it_needs() {
    for spec in SOURCES {
        let file = format!("docs/{}.md", spec.name);
        let page = super::read(&super::deploy(&file));
        for requirement in spec.requirements {
            for capability in requirement.capabilities {
                assert!(
                    page.contains(capability),
                    "{file} does not name {capability}, which {} needs",
                    requirement.purpose
                );
            }
        }
    }
}
