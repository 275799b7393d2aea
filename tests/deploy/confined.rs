//! The agent as its unit starts it: with exactly the capabilities of the unit and of a drop-in, and behind the syscall filter of both.
//! What the drop-in promises works, and without it it does not.

use super::service::{DropIn, drop_in, together, unit, values};
use crate::support::agent::{Public, behind};
use crate::support::seccomp::{allowed, filtered};
use crate::support::{Agent, Namespace, command, eventually, get, sample, skipped};
use std::fmt::Write as _;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

/// The lines of the unit and of a drop-in.
fn lines(further: Option<&DropIn>) -> Vec<String> {
    let own = unit();
    let further = further.iter().flat_map(|one| one.lines.iter().cloned());
    own.lines().map(str::to_owned).chain(further).collect()
}

/// The capabilities, for setpriv. An empty value takes those before it away.
fn capabilities(further: Option<&DropIn>) -> String {
    let named = values(lines(further).iter().map(String::as_str), "AmbientCapabilities");
    let kept = named.iter().rposition(String::is_empty).map_or(0, |last| last + 1);
    let of = |name: &String| format!(",+{}", name.trim_start_matches("CAP_").to_lowercase());
    named[kept..].iter().map(of).fold("-all".to_owned(), |list, one| list + &one)
}

/// Whether what makes and installs a filter is here.
fn tools() -> bool {
    let here = |program: &str, argument: &str| Command::new(program).arg(argument).output().is_ok();
    let all = here("systemd-analyze", "--version") && here("perl", "-e0") && here("setpriv", "--version");
    if !all {
        skipped("needs systemd-analyze, perl and setpriv (make test installs them)");
    }
    all
}

/// The agent as a user of its own, with what the unit and these drop-ins say; it takes root.
pub(crate) fn by_drop_ins(
    public: &Public,
    arguments: &[&str],
    names: &[&str],
) -> (Command, tempfile::NamedTempFile) {
    as_the_unit(public, arguments, together(names).as_ref())
}

/// The last value of a key.
fn value(lines: &[String], key: &str) -> String {
    values(lines.iter().map(String::as_str), key).pop().unwrap_or_default()
}

/// Has a program see of the file system what `ProtectSystem=`, `PrivateDevices=`, `ProtectKernelTunables=`, `ProtectControlGroups=` and
/// `ProtectProc=` leave. `/tmp` is not a new one, for a test's files are there, but read-only like the rest.
fn mounted(program: &Command, further: Option<&DropIn>) -> Command {
    let all = lines(further);
    let mut script = String::new();
    assert_eq!(value(&all, "PrivateDevices"), "yes");
    script.push_str(
        "mount -t tmpfs -o mode=755 dev /dev\n\
         for one in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 /dev/${one%:*} c 1 ${one#*:}; done\n",
    );
    let [system, tunables, groups] = ["ProtectSystem", "ProtectKernelTunables", "ProtectControlGroups"];
    assert_eq!([system, tunables, groups].map(|key| value(&all, key)), ["strict", "yes", "yes"]);
    // Some are below others by now.
    script.push_str(
        "cut -d ' ' -f 5 /proc/self/mountinfo | grep -vE '^/(proc|dev)(/|$)' >/dev/mounts\n\
         while read -r one; do mount -o remount,bind,ro \"$one\" 2>/dev/null || true; done </dev/mounts\n\
         rm /dev/mounts\n",
    );
    match &*value(&all, "ProtectProc") {
        "invisible" => script.push_str("mount -t proc -o hidepid=2 proc /proc\n"),
        shown => assert_eq!(shown, "default", "what is it that this leaves?"),
    }
    script.push_str("mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys\nexec \"$@\"");
    behind(&["unshare", "--mount", "sh", "-ec", &script, "sh"], program)
}

/// The agent as a user of its own, which takes root.
fn as_the_unit(
    public: &Public,
    arguments: &[&str],
    further: Option<&DropIn>,
) -> (Command, tempfile::NamedTempFile) {
    confined(&public.command(arguments), further)
}

pub(super) fn confined(program: &Command, further: Option<&DropIn>) -> (Command, tempfile::NamedTempFile) {
    let (program, file) = filtered(&lines(further), program).unwrap();
    let list = capabilities(further);
    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"];
    let sets = ["--bounding-set", &list, "--inh-caps", &list, "--ambient-caps", &list];
    (mounted(&behind(&[&nobody[..], &sets].concat(), &program), further), file)
}

pub(crate) fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skipped("needs root to give capabilities to another user");
    }
    root && tools()
}

#[test]
fn the_filter_is_that_of_the_unit_and_refuses_what_it_does_not_name() {
    if !tools() {
        return;
    }
    let own = allowed(&lines(None)).unwrap();
    for (name, expected) in
        [("read", true), ("accept4", true), ("bpf", false), ("mount", false), ("setuid", false)]
    {
        assert_eq!(own.contains(name), expected, "{name}");
    }
    assert!(allowed(&lines(Some(&drop_in("containers")))).unwrap().contains("bpf"));
    let mut chroot = Command::new("perl");
    chroot.args(["-e", "chroot '/' or die qq(refused: $!\\n)"]);
    let (mut filtered, _file) = filtered(&lines(None), &chroot).unwrap();
    let said = String::from_utf8(filtered.output().unwrap().stderr).unwrap();
    assert!(said.contains("refused: Operation not permitted"), "{said}");
}

#[test]
fn the_unit_alone_is_enough_for_conntrack_sockets_network_and_the_node() {
    let (true, Some(namespace)) = (root(), Namespace::new()) else { return };
    let public = Public::new("sources: {network: {rules: true}, node: {enabled: true}}\n");
    let (mut agent, _file) = as_the_unit(&public, &["check", "--format", "json"], None);
    let output = namespace.inside(move || agent.output()).unwrap();
    let checks: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = checks.as_array().unwrap();
    let seen: std::collections::BTreeSet<&str> =
        checks.iter().map(|check| check["source"].as_str().unwrap()).collect();
    assert!(seen.is_superset(&["conntrack", "sockets", "network", "node"].into()), "{seen:?}");
    let denied: Vec<_> = checks.iter().filter(|check| check["status"] == "denied").collect();
    // Only root reads the size of an entry; processes.conf shows those of sockets.
    let expected = |check: &&serde_json::Value| check["via"] == "slabinfo" || check["via"] == "process";
    assert!(denied.iter().all(expected), "{denied:#?}");
    assert_eq!(output.status.code(), Some(0), "{checks:#?}");
}

#[test]
fn processes_of_other_users_are_named_with_the_drop_in_for_them() {
    let (true, Some(namespace)) = (root(), Namespace::new()) else { return };
    let public = Public::new("sources: {conntrack: {enabled: false}, sockets: {group_by: [process]}}\n");
    let _listens = namespace.inside(|| TcpListener::bind("127.0.0.1:0")).unwrap();
    let named = |further: Option<&DropIn>| {
        let (mut agent, _file) = as_the_unit(&public, &["once", "--format", "prometheus"], further);
        let output = namespace.inside(move || agent.output()).unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(
            said.contains("tcp_listen_queue_limit{"),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        // The listener is this process's.
        said.lines().any(|line| {
            line.starts_with("tcp_listen_queue_limit{") && line.contains("process_executable_name=\"main-")
        })
    };
    assert!(!named(None));
    assert!(named(Some(&drop_in("processes"))));
}

#[test]
fn names_of_containers_and_programs_in_the_kernel_take_their_drop_ins() {
    if !root() {
        return;
    }
    // A folder of an engine that only root may read.
    let docker = tempfile::tempdir().unwrap();
    std::fs::create_dir(docker.path().join("containers")).unwrap();
    std::fs::set_permissions(docker.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let public = Public::new(&format!(
        "inventory: {{names: {{docker: [{}], kubelet: , containerd: [], crio: []}}}}\n\
         sources: {{conntrack: {{enabled: false}}, sockets: {{enabled: false}}, containers: {{enabled: true}}}}\n",
        docker.path().display()
    ));
    let works = |further: Option<&DropIn>| {
        let (mut agent, _file) = as_the_unit(&public, &["check"], further);
        let said = String::from_utf8(agent.output().unwrap().stdout).unwrap();
        ["names", "tcp"].map(|way| {
            let line = said.lines().find(|line| line.starts_with(&format!("containers {way} ")));
            line.unwrap_or_else(|| panic!("{said}")).contains(" works ")
        })
    };
    assert_eq!(works(None), [false, false]);
    assert_eq!(works(Some(&drop_in("container-names"))), [true, false]);
    assert_eq!(works(Some(&drop_in("containers"))), [true, true]);
}

#[test]
fn dropped_packets_are_counted_by_reason_with_the_drop_in_for_them() {
    let (true, Some(namespace)) = (root(), Namespace::new()) else { return };
    let public = Public::new(
        "sources: {conntrack: {enabled: false}, sockets: {enabled: false}, network: {drops: true}}\n",
    );
    let said = |names: &[&str]| {
        let (mut agent, _file) = by_drop_ins(&public, &["check"], names);
        let said = String::from_utf8(namespace.inside(move || agent.output()).unwrap().stdout).unwrap();
        let line = said.lines().find(|line| line.split_whitespace().nth(1) == Some("drops"));
        line.unwrap_or_else(|| panic!("{said}")).to_owned()
    };
    assert!(said(&[]).contains("CAP_BPF"), "{}", said(&[]));
    assert!(said(&["drops"]).contains(" works "), "{}", said(&["drops"]));
}

#[test]
fn sockets_are_read_without_any_capability() {
    let (true, Some(namespace)) = (root(), Namespace::new()) else { return };
    let further = drop_in("sockets-only");
    assert_eq!(capabilities(Some(&further)), "-all");
    let public = Public::new("sources: {conntrack: {enabled: false}}\n");
    let _listens = namespace.inside(|| TcpListener::bind("127.0.0.1:0")).unwrap();
    let (mut agent, _file) = as_the_unit(&public, &["once", "--format", "prometheus"], Some(&further));
    let said = String::from_utf8(namespace.inside(move || agent.output()).unwrap().stdout).unwrap();
    assert_eq!(sample(&said, "connscope_source_up{source=\"sockets\"}"), Some(1.0), "{said}");
    assert!(said.contains("tcp_listen_queue_limit{"), "{said}");
}

#[test]
fn a_credential_is_read_where_the_file_itself_is_not() {
    if !root() {
        return;
    }
    let yaml = "export: {otlp: {protocol: none}, prometheus: {listen: '127.0.0.1:0'}}\n";
    let public = Public::new(yaml);
    let private = public.config();
    std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o600)).unwrap();
    let (mut agent, _file) = as_the_unit(&public, &["run"], None);
    let output = agent.output().unwrap();
    let line = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && line.contains("Permission denied"), "{line}");
    // As systemd hands it over: a file of the service's user, that nobody may write.
    rustix::fs::chown(&private, Some(rustix::fs::Uid::from_raw(65534)), None).unwrap();
    std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o400)).unwrap();
    let (agent, _file) = as_the_unit(&public, &["run"], Some(&drop_in("credentials")));
    assert_eq!(get(Agent::start(agent).address(), "/-/healthy").0, 200);
}

/// The most that a process had resident, in MiB.
fn most_resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[test]
fn ten_thousand_targets_that_do_not_answer_have_room_with_the_drop_in_for_them() {
    let (true, Some(namespace)) = (root(), Namespace::new()) else { return };
    // Nobody is behind this link: a connection waits for its time-out, with its descriptor.
    namespace.run("ip", &["link", "add", "silent", "type", "veth", "peer", "name", "end"]);
    namespace.run("ip", &["address", "add", "10.9.0.1/16", "dev", "silent"]);
    namespace.run("ip", &["link", "set", "end", "up"]);
    namespace.run("ip", &["link", "set", "silent", "arp", "off", "up"]);
    let mut yaml = "export: {otlp: {protocol: none}}\nsources:\n  conntrack: {enabled: false}\n  sockets: {enabled: false}\n  \
                    probes:\n    limit: 10000\n    concurrency: 4000\n    timeout: 5s\n    interval: 10s\n    targets:\n"
        .to_owned();
    for number in 0..10_000 {
        let (high, low) = (1 + number / 250, 2 + number % 250);
        let _infallible = writeln!(yaml, "    - {{name: t{number}, host: 10.9.{high}.{low}, port: 9}}");
    }
    let public = Public::new(&yaml);
    let further = drop_in("many-targets");
    let (agent, _file) = as_the_unit(&public, &["run", "--listen", "127.0.0.1:0"], Some(&further));
    let value = |key: &str| values(further.lines.iter().map(String::as_str), key).pop().unwrap();
    let descriptors = value("LimitNOFILE");
    let limited = behind(&["prlimit", &format!("--nofile={descriptors}:{descriptors}")], &agent);
    let mut agent = namespace.inside(|| Agent::start(limited));
    let address = agent.address();
    let scrape = || namespace.inside(|| get(address, "/metrics").1);
    let (mut text, mut open) = (String::new(), 0);
    // In the first interval every target is probed, as many at once as there may be.
    eventually("every target was probed", || {
        open = open.max(std::fs::read_dir(format!("/proc/{}/fd", agent.pid())).unwrap().count());
        text = scrape();
        text.lines().filter(|line| line.starts_with("probe_up{") && line.ends_with(" 0")).count() == 10_000
    });
    assert_eq!(sample(&text, "connscope_probes_left_out"), Some(0.0));
    let timeouts = text
        .lines()
        .filter(|line| line.starts_with("probe_duration_seconds_count{error_type=\"timeout\""))
        .count();
    assert_eq!(timeouts, 10_000, "none was refused a descriptor");
    let (own, most) = (64, value("MemoryMax").trim_end_matches('M').parse().unwrap());
    let resident = most_resident(agent.pid());
    eprintln!("10,000 targets: {open} descriptors, {resident} MiB at most");
    assert!(open > 1000 && open < descriptors.parse().unwrap(), "{open} descriptors");
    assert!((own..most).contains(&resident), "{resident} MiB");
}

/// What the agent says to a command about one target, as a root that has the capabilities of the unit, and those of a
/// drop-in, and no others.
fn said(namespace: &Namespace, arguments: &[&str], target: &str, further: Option<&DropIn>) -> Output {
    let capabilities = capabilities(further);
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    write!(
        file,
        "sources: {{conntrack: {{enabled: false}}, sockets: {{enabled: false}}, probes: {{timeout: 2s, targets: [{target}]}}}}"
    )
    .unwrap();
    // A root that is root by its capabilities alone, so that this works in a user namespace, which has no other users.
    let noroot = ["setpriv", "--securebits", "+noroot", "--bounding-set", &capabilities];
    let sets = ["--inh-caps", &capabilities, "--ambient-caps", &capabilities];
    let agent = command(&[arguments, &["--config", file.path().to_str().unwrap()]].concat());
    let (agent, _until_it_ends) = filtered(&lines(further), &agent).unwrap();
    let mut setpriv = behind(&[&noroot[..], &sets].concat(), &agent);
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
    let (Some(namespace), true) = (Namespace::new(), tools()) else { return };
    let echo = "{name: echo, kind: icmp, host: 127.0.0.1}";
    let denied = (false, "permission_denied".to_owned());
    let up = (true, String::new());
    let check = |further: Option<&DropIn>| {
        let output = said(&namespace, &["check"], echo, further);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let may = drop_in("icmp");
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
    let (Some(here), Some(there), true) = (Namespace::new(), Namespace::new(), tools()) else { return };
    let listener = there.inside(|| TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut other = there.inside(|| Command::new("sleep").arg("60").spawn()).unwrap();
    let target = format!("{{name: there, host: 127.0.0.1, port: {port}, netns: 'pid:{}'}}", other.id());
    let without = probed(&here, &target, None);
    let with = probed(&here, &target, Some(&drop_in("netns")));
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(without, (false, "permission_denied".to_owned()));
    assert_eq!(with, (true, String::new()));
}
