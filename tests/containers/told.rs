//! What `check` and the log say of settings that miss, of limits, and of the way that is left without privileges.

use super::file;
use super::kernel::LONG;
use super::lab::{Lab, tcp};
use crate::support::agent::{Public, behind};
use crate::support::{Agent, connscope, get, scraped, skipped};
use std::path::Path;

const SOURCES: &str = "{conntrack: {enabled: false}, sockets: {enabled: false}, containers: {enabled: true}}";

fn checked(path: &Path) -> String {
    let output = connscope(&["check", "--config", path.to_str().unwrap()]);
    String::from_utf8(output.stdout).unwrap()
}

fn line<'a>(checked: &'a str, way: &str) -> &'a str {
    let begin = format!("containers {way} ");
    checked.lines().find(|line| line.starts_with(&begin)).unwrap_or_else(|| panic!("no {way}: {checked}"))
}

/// The log of an agent after three cycles.
fn logged(path: &Path) -> Vec<String> {
    let mut agent = Agent::start(scraped(path));
    let address = agent.address();
    for _ in 0..3 {
        get(address, "/metrics");
    }
    agent.log.all()
}

#[test]
fn paths_that_are_set_and_are_not_there_are_named_by_check_and_once_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(at("file"), "").unwrap();
    let names = format!(
        "{{docker: [{}, /var/lib/docker], containerd: [{}], kubelet: {}, docker_socket: {}}}",
        at("none"),
        at("file"),
        at("links"),
        at("file")
    );
    let missing = file(&format!("inventory: {{names: {names}}}\nsources: {SOURCES}\n"));
    let (checked_names, log) = (checked(missing.path()), logged(missing.path()));
    let said = log.iter().filter(|line| line.contains("inventory.names.docker: ")).collect::<Vec<_>>();
    assert_eq!(said.len(), 1, "{log:#?}");
    for text in [line(&checked_names, "names"), said[0]] {
        for (key, path, what) in [
            ("docker", "none", "No such file"),
            ("containerd", "file", "is not a directory"),
            ("kubelet", "links", "No such file"),
            ("docker_socket", "file", "is not a socket"),
        ] {
            let wanted = format!("inventory.names.{key}: {}: {what}", at(path));
            assert!(text.contains(&wanted), "{wanted}: {text}");
        }
        assert!(!text.contains("/var/lib/docker"), "a default need not be there: {text}");
    }
    let root = file(&format!("inventory: {{root: {}}}\nsources: {SOURCES}\n", at("host")));
    let wanted = format!("inventory.root: {} is not a directory", at("host"));
    let checked = checked(root.path());
    assert!(line(&checked, "names").contains(&wanted), "{checked}");
    assert_eq!(logged(root.path()).iter().filter(|line| line.contains(&wanted)).count(), 1);
}

#[test]
fn containers_over_the_limit_are_said_by_check_and_once_in_the_log() {
    let Some(lab) = Lab::new(tcp(), LONG, 500) else { return };
    let _two = (lab.container("one", None), lab.container("two", None));
    let file = file(&format!("inventory: {{limit: 1}}\nsources: {SOURCES}\n"));
    let checked = checked(file.path());
    assert!(line(&checked, "cgroup").contains(" more are left out: raise inventory.limit, 1"), "{checked}");
    let log = logged(file.path());
    let said = |line: &&String| line.contains("WARN") && line.contains("inventory.limit");
    assert_eq!(log.iter().filter(said).count(), 1, "{log:#?}");
}

#[test]
fn settings_of_tcp_that_change_nothing_are_said_when_the_agent_starts() {
    let with = |tcp: &str| {
        file(&format!(
            "sources: {{conntrack: {{enabled: false}}, sockets: {{enabled: false}}, \
             containers: {{enabled: true, tcp: {tcp}}}}}\n"
        ))
    };
    let log = logged(with("{destinations: 500, total: 100, networks: [10.0.0.0/8, 8.8.8.0/24]}").path());
    let has = |log: &[String], text: &str| log.iter().filter(|line| line.contains(text)).count();
    assert_eq!(has(&log, "tcp.destinations (500) has no effect"), 1, "{log:#?}");
    assert_eq!(has(&log, "tcp.networks: 10.0.0.0/8 has no effect"), 1, "{log:#?}");
    assert_eq!(has(&log, "8.8.8.0/24"), 0, "{log:#?}");
    let log = logged(with("{public: each, networks: [8.8.8.0/24]}").path());
    assert_eq!(has(&log, "tcp.networks has no effect"), 1, "{log:#?}");
}

#[test]
fn without_a_capability_check_names_procfs_as_the_way_and_fails_where_that_is_closed_too() {
    if !rustix::process::geteuid().is_root() {
        skipped("needs root to become another user");
        return;
    }
    let Some(lab) = Lab::new(tcp(), LONG, 500) else { return };
    let _container = lab.container("seen", None);
    let public = Public::new(&format!("sources: {SOURCES}\n"));
    let run = |starter: &[&str]| {
        let program = public.nobody(&[], &["check"]);
        let mut program = if starter.is_empty() { program } else { behind(starter, &program) };
        let output = program.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = run(&[]);
    let procfs = line(&said, "procfs");
    assert!(procfs.contains(" works ") && procfs.contains("no connection is counted"), "{said}");
    assert_eq!(code, Some(0), "{said}");
    // The capability is named once a line, and what is missing without it.
    let tcp = line(&said, "tcp");
    assert_eq!(tcp.matches("CAP_BPF and CAP_PERFMON").count(), 1, "{tcp}");
    let hidden = "mount -t proc -o hidepid=2 proc /proc && exec \"$@\"";
    let (code, said) = run(&["unshare", "--mount", "sh", "-c", hidden, "sh"]);
    let procfs = line(&said, "procfs");
    assert!(procfs.contains(" absent ") && procfs.contains("hidepid"), "{said}");
    assert_eq!(code, Some(1), "{said}");
}

#[test]
fn root_of_a_user_namespace_is_not_asked_for_capabilities_that_it_has() {
    let config = file(&format!("sources: {SOURCES}\n"));
    let mut check = std::process::Command::new("unshare");
    check.args(["--user", "--map-root-user", env!("CARGO_BIN_EXE_connscope"), "check", "--config"]);
    let output = check.arg(config.path()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let tcp = line(&said, "tcp");
    assert!(tcp.contains("the first user namespace; CAP_BPF and CAP_PERFMON are there"), "{tcp}");
}
