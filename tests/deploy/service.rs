//! The systemd unit and the drop-ins that its comments offer: systemd understands them, the limits are enough for what the
//! agent does by default, and with the capabilities that a drop-in gives the probes can do what it says.

use crate::support::{Namespace, command, skipped};
use connscope::config::Probes;
use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

const UNIT: &str = "deploy/systemd/connscope.service";

fn unit() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(UNIT)).unwrap()
}

/// What a comment of the unit offers.
#[derive(Debug, Default)]
struct DropIn {
    /// When it is needed.
    about: String,
    /// `Key=value`.
    lines: Vec<String>,
}

/// The drop-ins in the comments: the lines that are drawn in, and what is said before them.
fn drop_ins() -> Vec<DropIn> {
    let mut found: Vec<DropIn> = Vec::new();
    let mut about = String::new();
    for line in unit().lines() {
        if let Some(setting) = line.strip_prefix("#   ") {
            if !about.is_empty() {
                found.push(DropIn { about: std::mem::take(&mut about), lines: Vec::new() });
            }
            found.last_mut().unwrap().lines.push(setting.to_owned());
        } else {
            match line.strip_prefix("# ") {
                Some(prose) => about = format!("{about} {prose}"),
                None => about.clear(),
            }
        }
    }
    found
}

/// The one drop-in that is about something.
fn drop_in(about: &str) -> DropIn {
    let mut found: Vec<DropIn> = drop_ins().into_iter().filter(|one| one.about.contains(about)).collect();
    assert_eq!(found.len(), 1, "{about}: {found:#?}");
    found.remove(0)
}

/// The values of a key, as systemd adds them up.
fn values<'a>(lines: impl Iterator<Item = &'a str>, key: &str) -> Vec<String> {
    let values = lines.filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.flat_map(|value| value.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// What `systemd-analyze verify` says of the unit with something below it; `None` where there is none.
fn complaints(further: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    // What is started has to be there.
    let own = unit().replace("/usr/local/bin/connscope", env!("CARGO_BIN_EXE_connscope"));
    let path = folder.path().join("connscope.service");
    std::fs::write(&path, own).unwrap();
    let below = folder.path().join("connscope.service.d");
    std::fs::create_dir(&below).unwrap();
    std::fs::write(below.join("further.conf"), format!("[Service]\n{further}\n")).unwrap();
    let output = match Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            skipped("needs systemd-analyze (make test installs it)");
            return None;
        }
        output => output.unwrap(),
    };
    // Of units that this machine lacks it speaks as well.
    let said = String::from_utf8(output.stderr).unwrap();
    let about_us: Vec<&str> = said.lines().filter(|line| line.contains("connscope.service")).collect();
    Some(about_us.join("\n"))
}

#[test]
fn systemd_understands_the_unit_and_every_drop_in_of_its_comments() {
    let Some(said) = complaints("NoSuchKey=yes") else { return };
    assert!(said.contains("NoSuchKey"), "it would not be said: {said}");
    assert_eq!(complaints("").unwrap(), "");
    let drop_ins = drop_ins();
    assert!(drop_ins.len() >= 5, "{drop_ins:#?}");
    for one in drop_ins {
        assert_eq!(complaints(&one.lines.join("\n")).unwrap(), "", "{one:#?}");
    }
}

#[test]
fn the_unit_allows_as_many_descriptors_as_probes_and_namespaces_take() {
    /// Besides the probes, as in their source.
    const REST: usize = 256;
    let allowed = |lines: &[String]| -> usize {
        let [limit] = values(lines.iter().map(String::as_str), "LimitNOFILE").try_into().unwrap();
        limit.parse().unwrap()
    };
    let own: Vec<String> = unit().lines().map(str::to_owned).collect();
    let namespaces = 5 * 512;
    assert!(allowed(&own) >= 2 * Probes::default().concurrency + REST + namespaces);
    let many = drop_in("`concurrency: ");
    let (_, concurrency) = many.about.split_once("`concurrency: ").unwrap();
    let concurrency: usize = concurrency.split('`').next().unwrap().parse().unwrap();
    assert!(allowed(&many.lines) >= 2 * concurrency + REST + namespaces, "{many:#?}");
}

/// What the agent says to a command about one target, as a root that has the capabilities of the unit, and those of a
/// drop-in, and no others.
fn said(namespace: &Namespace, arguments: &[&str], target: &str, further: Option<&DropIn>) -> Output {
    let unit = unit();
    let lines = unit.lines().chain(further.iter().flat_map(|one| one.lines.iter().map(String::as_str)));
    let capabilities: Vec<String> = values(lines, "AmbientCapabilities")
        .iter()
        .map(|name| format!("+{}", name.trim_start_matches("CAP_").to_lowercase()))
        .collect();
    let capabilities = format!("-all,{}", capabilities.join(","));
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    write!(
        file,
        "sources: {{conntrack: {{enabled: false}}, sockets: {{enabled: false}}, probes: {{timeout: 2s, targets: [{target}]}}}}"
    )
    .unwrap();
    // A root that is root by its capabilities alone, so that this works in a user namespace, which has no other users.
    let mut setpriv = Command::new("setpriv");
    setpriv.args(["--securebits", "+noroot", "--bounding-set", &capabilities]);
    setpriv.args(["--inh-caps", &capabilities, "--ambient-caps", &capabilities]);
    let agent = command(&[arguments, &["--config", file.path().to_str().unwrap()]].concat());
    setpriv.arg(agent.get_program()).args(agent.get_args());
    namespace.inside(move || setpriv.output()).unwrap()
}

/// One round of probes: whether the target is up, and why not.
fn probed(namespace: &Namespace, target: &str, further: Option<&DropIn>) -> (bool, String) {
    let output = said(namespace, &["once", "--format", "prometheus"], target, further);
    let said = String::from_utf8(output.stdout).unwrap();
    let up = said.lines().find_map(|line| line.strip_prefix("probe_up{")?.rsplit(' ').next());
    let error = said.lines().find_map(|line| {
        line.strip_prefix("probe_duration_seconds_count{error_type=\"")?.split('"').next().map(str::to_owned)
    });
    let up = up.unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)));
    (up == "1", error.unwrap_or_default())
}

#[test]
fn echoes_take_the_capability_that_the_unit_says_or_the_sysctl() {
    let Some(namespace) = Namespace::new() else { return };
    let echo = "{name: echo, kind: icmp, host: 127.0.0.1}";
    let denied = (false, "permission_denied".to_owned());
    let up = (true, String::new());
    let check = |further: Option<&DropIn>| {
        let output = said(&namespace, &["check"], echo, further);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let may = drop_in("`kind: icmp`");
    assert_eq!(probed(&namespace, echo, None), denied);
    let (code, told) = check(None);
    assert!(code == Some(1) && told.contains("denied"), "{told}");
    assert!(told.contains("needs CAP_NET_RAW, or the agent's group in net.ipv4.ping_group_range"), "{told}");
    assert_eq!(probed(&namespace, echo, Some(&may)), up);
    let (code, told) = check(Some(&may));
    assert!(code == Some(0) && told.contains("over a raw socket"), "{told}");
    namespace.run("sysctl", &["-q", "-w", "net.ipv4.ping_group_range=0 0"]);
    assert_eq!(probed(&namespace, echo, None), up);
    let (code, told) = check(None);
    assert!(code == Some(0) && told.contains("over a datagram socket"), "{told}");
}

#[test]
fn probes_from_other_namespaces_take_the_capabilities_that_the_unit_says() {
    let (Some(here), Some(there)) = (Namespace::new(), Namespace::new()) else { return };
    let listener = there.inside(|| TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut other = there.inside(|| Command::new("sleep").arg("60").spawn()).unwrap();
    let target = format!("{{name: there, host: 127.0.0.1, port: {port}, netns: 'pid:{}'}}", other.id());
    let without = probed(&here, &target, None);
    let with = probed(&here, &target, Some(&drop_in("`netns:`")));
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(without, (false, "permission_denied".to_owned()));
    assert_eq!(with, (true, String::new()));
}
