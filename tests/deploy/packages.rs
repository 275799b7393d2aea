//! The manifest of the packages and their scripts, as far as they can be looked at without making a package: `make packages` does.

use super::{deploy, read, text, yaml};
use std::process::Command;

/// What `.ci/packages` lays beside the manifest.
const MADE: &[&str] = &["root/", "root/etc/connscope/connscope.yaml", "_connscope", "LICENSE"];

#[test]
fn what_the_packages_name_is_there_and_one_file_is_a_configuration() {
    let manifest = yaml(&deploy("deploy/packages/nfpm.yaml"));
    let contents = manifest["contents"].as_array().unwrap();
    for entry in contents {
        let source = text(entry, "src");
        let there = deploy("deploy/packages").join(source).exists();
        assert!(there || MADE.iter().any(|made| source.starts_with(made)), "{source} is nowhere");
    }
    let kept: Vec<&str> = contents
        .iter()
        .filter(|entry| entry["type"] == "config|noreplace")
        .map(|entry| text(entry, "dst"))
        .collect();
    assert_eq!(kept, ["/etc/connscope/connscope.yaml"]);
    // The unit starts the agent with it.
    let unit = read(&deploy("deploy/systemd/connscope.service"));
    assert!(unit.contains("connscope run --config /etc/connscope/connscope.yaml\n"), "{unit}");
}

#[test]
fn the_scripts_of_the_packages_are_shell_and_each_package_has_all_of_its_own() {
    let manifest = yaml(&deploy("deploy/packages/nfpm.yaml"));
    for kind in ["deb", "rpm"] {
        let scripts = manifest["overrides"][kind]["scripts"].as_object().unwrap();
        assert_eq!(scripts.len(), 3, "{kind}");
        for script in scripts.values() {
            let path = deploy("deploy/packages").join(script.as_str().unwrap());
            let checked = Command::new("sh").arg("-n").arg(&path).output().unwrap();
            assert!(checked.status.success(), "{}: {checked:?}", path.display());
            assert!(read(&path).contains("connscope.service"), "{}", path.display());
        }
    }
}

#[test]
fn the_page_names_the_version_that_lists_the_dependencies() {
    let script = read(&deploy(".ci/static"));
    let version = script.lines().find_map(|line| line.strip_prefix("auditable=")).unwrap();
    let page = read(&deploy("docs/install.md"));
    assert!(page.contains(&format!("cargo-auditable of the same version, {version},")), "{version}");
}
