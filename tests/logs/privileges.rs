//! What is read with which capabilities: each set by itself, as nobody.

use super::service::Service;
use super::{Running, configuration};
use crate::support::agent::Public;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

const SETTINGS: &str = "files: auto, journald: /var/log/journal";

const UID: &str = "0f5e7d3c-0000-4000-8000-000000000000";

/// Tests that are run at the same time have containers of their own.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The logs of a container of Docker, of one of a pod, of the journal, and of a service in its own `/var/log`.
pub(super) struct Logs {
    root: tempfile::TempDir,
    /// The logs of the container of Docker and of the one of the pod.
    pub(super) of_engines: [PathBuf; 2],
    /// Expressions of the inventory that match these.
    included: String,
    // In this order: a group with a process in it stays.
    pub(super) process: super::service::Process,
    _groups: Vec<Service>,
}

fn put(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

impl Logs {
    pub(super) fn new() -> Option<Self> {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path.trim_start_matches('/'));
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let id = |digit: &str| format!("{:x}{number:02x}", std::process::id()) + &digit.repeat(64);
        let [docker, pod] = ["a", "b"].map(|digit| id(digit).get(..64).unwrap().to_owned());
        let directory = format!("/var/lib/docker/containers/{docker}");
        let log = format!("{directory}/{docker}-json.log");
        let config = format!(
            "{{\"ID\":\"{docker}\",\"Name\":\"/web\",\"LogPath\":\"{log}\",\"Config\":{{\"Image\":\"web\",\"Labels\":{{}}}}}}"
        );
        put(&at(&format!("{directory}/config.v2.json")), &config);
        put(
            &at(&format!("{directory}/hostconfig.json")),
            "{\"LogConfig\":{\"Type\":\"json-file\",\"Config\":{}}}",
        );
        put(&at(&log), "");
        mode(&at("var/lib/docker"), 0o710);
        let target = format!("/var/log/pods/prod_web-0_{UID}/app/0.log");
        put(&at(&target), "");
        mode(&at(&target), 0o640);
        let link = at(&format!("var/log/containers/web-0_prod_app-{pod}.log"));
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(&target, link).unwrap();
        let journal = at("var/log/journal/system.journal");
        put(&journal, "");
        mode(&journal, 0o640);
        mode(root.path(), 0o755);
        let service = Service::new()?;
        // What nobody may not read the name of has its ID.
        let included =
            format!("/docker/web, /container/{docker}, '/k8s/.*', '/system\\.slice/{}'", service.unit);
        let mut process = service.process();
        process.tell("umask 077; exec 3>>/var/log/app.log");
        let groups = vec![
            service,
            Service::at(&format!("/docker/{docker}"), String::new())?,
            Service::at(&format!("/kubepods/besteffort/pod{UID}/{pod}"), String::new())?,
        ];
        let of_engines = [at(&log), at(&target)];
        Some(Self { root, of_engines, included, process, _groups: groups })
    }

    /// The same where the pod's log has no link, and its name is in the bundle of containerd.
    pub(super) fn without_links(&self) -> String {
        let mut links = std::fs::read_dir(self.root.path().join("var/log/containers")).unwrap();
        let link = links.next().unwrap().unwrap();
        let name = link.file_name().into_string().unwrap();
        let id = name.trim_end_matches(".log").rsplit_once('-').unwrap().1;
        let bundle = format!("run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}/config.json");
        let annotations = r#"{"annotations":{"io.kubernetes.cri.container-type":"container",
            "io.kubernetes.cri.container-name":"app","io.kubernetes.cri.sandbox-name":"web-0",
            "io.kubernetes.cri.sandbox-namespace":"prod"}}"#;
        put(&self.root.path().join(bundle), annotations);
        std::fs::remove_file(link.path()).unwrap();
        self.inventory().replace("containerd: []", "containerd: [/run/containerd]")
    }

    /// An inventory of these alone, without those of tests that are run at the same time.
    pub(super) fn inventory(&self) -> String {
        let Self { root, included, .. } = self;
        format!(
            "{{root: {}, include: [{included}], \
             names: {{docker: [/var/lib/docker], kubelet: /var/log/containers, containerd: [], crio: []}}}}",
            root.path().display()
        )
    }
}

/// Whether each part works, and what is said of it.
fn checked(logs: &Logs, capabilities: &[&str]) -> BTreeMap<String, (String, String)> {
    let public = Public::new(&configuration("otel", SETTINGS, &logs.inventory()));
    let output = public.nobody(capabilities, &["check", "--format", "json"]).output().unwrap();
    let checks: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let of_logs = checks.as_array().unwrap().iter().filter(|check| check["source"] == "logs");
    let word = |check: &serde_json::Value, key: &str| check[key].as_str().unwrap().to_owned();
    of_logs.map(|check| (word(check, "via"), (word(check, "status"), word(check, "detail")))).collect()
}

#[test]
fn each_set_of_capabilities_closes_what_it_lacks_and_check_says_what_that_is() {
    const READ: &str = "dac_read_search";
    const TRACE: &str = "sys_ptrace";
    let Some(logs) = Logs::new() else { return };
    let cases: [(&[&str], bool, bool, &str); 7] = [
        (&[], false, false, "/proc: "),
        (&[TRACE], false, false, "/proc: "),
        (&[READ], true, false, "/proc: "),
        (&[READ, TRACE], true, true, "/proc: "),
        (&["bpf", "perfmon"], false, false, "bpf: "),
        (&["bpf", "perfmon", READ], true, false, "bpf: "),
        (&["bpf", "perfmon", READ, TRACE], true, true, "bpf: "),
    ];
    for (capabilities, of_engines, of_processes, way) in cases {
        let checks = checked(&logs, capabilities);
        let says = |via: &str, works: bool, text: &str, capability: &str| {
            let (status, detail) = &checks[via];
            assert_eq!(status, if works { "works" } else { "denied" }, "{capabilities:?}: {checks:?}");
            assert!(detail.contains(if works { text } else { capability }), "{capabilities:?}: {checks:?}");
        };
        says("docker", of_engines, "1 of 1 logs can be read", "CAP_DAC_READ_SEARCH");
        says("cri", of_engines, "1 of 1 logs can be read", "CAP_DAC_READ_SEARCH");
        says("journald", of_engines, ", 1 file", "CAP_DAC_READ_SEARCH or the group systemd-journal");
        says("file", of_processes, way, "CAP_SYS_PTRACE");
        assert!(checks["file"].1.contains(way), "{capabilities:?}: {checks:?}");
    }
}

#[test]
fn an_engine_that_is_not_there_is_absent_also_where_another_is_closed() {
    let Some(logs) = Logs::new() else { return };
    let status = || {
        let checks = checked(&logs, &[]);
        ["docker", "cri"].map(|via| checks[via].0.clone())
    };
    assert_eq!(status(), ["denied", "denied"]);
    for gone in ["var/log/containers", "var/log/pods"] {
        std::fs::remove_dir_all(logs.root.path().join(gone)).unwrap();
    }
    assert_eq!(status(), ["denied", "absent"]);
    std::fs::remove_dir_all(logs.root.path().join("var/lib/docker")).unwrap();
    assert_eq!(status(), ["absent", "absent"]);
}

#[test]
fn with_the_drop_ins_of_the_unit_all_logs_are_read_and_without_them_none() {
    if !crate::deploy::confined::root() {
        return;
    }
    let Some(logs) = Logs::new() else { return };
    let public = Public::new(&configuration("otel", SETTINGS, &logs.inventory()));
    let works = |further: &[&str]| {
        let arguments = ["check", "--format", "json"];
        let (mut agent, _file) = crate::deploy::confined::by_drop_ins(&public, &arguments, further);
        let output = agent.output().unwrap();
        let checks: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let works = |via: &str| {
            let of_logs = |check: &&serde_json::Value| check["source"] == "logs" && check["via"] == via;
            checks.as_array().unwrap().iter().find(of_logs).unwrap()["status"] == "works"
        };
        ["docker", "cri", "journald", "file"].map(works)
    };
    assert_eq!(works(&[]), [false; 4]);
    assert_eq!(works(&["container-names"]), [true, true, true, false]);
    assert_eq!(works(&["logs"]), [true; 4]);
}

#[test]
fn without_capabilities_the_agent_stays_up_and_says_once_what_it_does_not_read() {
    let Some(logs) = Logs::new() else { return };
    for capabilities in [&[][..], &["dac_read_search"], &["bpf", "perfmon"], &["sys_ptrace"]] {
        let mut agent = Running::as_nobody(capabilities, SETTINGS, &logs.inventory());
        agent.sees("connscope_logs_files", &["log_source=\"file\""], 0.0);
        let open = "files that containers have open below /var/log are not read";
        agent.agent.wait_for(open);
        for _ in 0..3 {
            agent.sees("connscope_source_up", &["source=\"logs\""], 1.0);
        }
        let said = agent.agent.log.all();
        for part in ["files that containers have open", "opening 1 of the logs", "reading the journal"] {
            let lines = said.iter().filter(|line| line.contains(part)).count();
            assert!(lines <= 1, "{capabilities:?}: {said:#?}");
        }
        assert!(agent.agent.ended().is_none());
    }
}
