//! The manifests for Kubernetes: the alerts in them are the shipped ones, and the program takes their configurations. `make
//! kubernetes` renders and checks the rest.

use super::{deploy, files, read, stem};
use crate::support::{Agent, command};
use std::fmt::Write;

/// Where the objects of the Prometheus operator are.
const RULES: &str = "deploy/kubernetes/components/prometheus-operator/rules";

/// A file of rules as an object of the Prometheus operator.
fn object(name: &str, rules: &str) -> String {
    let mut text = format!(
        "# Made from deploy/prometheus/rules/{name}.yml by a test, which keeps the two equal.\n\
         apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: {name}\n  namespace: connscope\nspec:\n"
    );
    for line in rules.lines().filter(|line| !line.starts_with('#')) {
        let indent = if line.is_empty() { "" } else { "  " };
        writeln!(text, "{indent}{line}").unwrap();
    }
    text
}

#[test]
fn the_alerts_of_the_prometheus_operator_equal_the_shipped_ones() {
    let sources = files("deploy/prometheus/rules", "yml");
    let mut wanted: Vec<(String, String)> = sources
        .iter()
        .map(|path| (format!("{}.yaml", stem(path)), object(&stem(path), &read(path))))
        .collect();
    let mut list =
        "# Written by a test.\napiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n".to_owned();
    for (name, _) in &wanted {
        writeln!(list, "  - {name}").unwrap();
    }
    wanted.push(("kustomization.yaml".to_owned(), list));
    wanted.sort();
    let folder = deploy(RULES);
    std::fs::create_dir_all(&folder).unwrap();
    let mut there: Vec<(String, String)> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), read(&path)))
        .collect();
    there.sort();
    if there != wanted {
        for (name, _) in &there {
            std::fs::remove_file(folder.join(name)).unwrap();
        }
        for (name, text) in &wanted {
            std::fs::write(folder.join(name), text).unwrap();
        }
        panic!(
            "{RULES} was stale and has been rewritten from deploy/prometheus/rules; look at it and commit it"
        );
    }
}

#[test]
fn the_configurations_in_the_manifests_are_taken() {
    for folder in ["base", "components/containers", "components/drops", "components/logs"] {
        let path = deploy("deploy/kubernetes").join(folder).join("connscope.yaml");
        let checked = command(&["config", "--quiet", "--config", path.to_str().unwrap()]).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
}

/// The address that the agent listens on where Prometheus scrapes it, as the manifest has it.
fn listens(manifest: &str) -> String {
    let text = read(&deploy(manifest));
    let argument = text.split("--listen, \"").nth(1).unwrap_or_else(|| panic!("{manifest} has no --listen"));
    argument.split('"').next().unwrap().to_owned()
}

#[test]
fn scraped_agents_listen_on_nodes_of_either_family() {
    for manifest in [
        "deploy/kubernetes/components/prometheus-operator/daemon-set.yaml",
        "deploy/helm/connscope/templates/daemon-set.yaml",
    ] {
        for (node, shown) in [("127.0.0.1", "http://127.0.0.1:"), ("::1", "http://[::1]:")] {
            let address = listens(manifest).replace("$(HOST_IP)", node).replace(":9371", ":0");
            let mut agent = Agent::start(command(&["--otlp-protocol", "none", "--listen", &address]));
            let line = agent.wait_for("connscope is running");
            assert!(line.contains(shown), "{manifest}: {line}");
        }
    }
}
