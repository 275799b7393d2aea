//! What is left without a capability, and without what the kernel tells of its types.

use super::engines::said_as_nobody;
use super::kernel::LONG;
use super::lab::{Lab, tcp};
use super::{configuration, file, value};
use crate::support::agent::{Public, behind};
use crate::support::{Agent, command, get, sample, skipped};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

const CAPABILITIES: [&str; 4] = ["bpf", "perfmon", "net_admin", "dac_read_search"];

#[test]
fn each_of_the_sixteen_sets_of_capabilities_closes_what_it_lacks_and_nothing_else() {
    if !rustix::process::geteuid().is_root() {
        skipped("needs root to give capabilities to another user");
        return;
    }
    // Others' containers may be in a hierarchy that has no counter of OOM kills.
    let Some(lab) = Lab::new(tcp(), LONG, 500) else { return };
    let _container = lab.container("counted", None);
    // A directory of an engine that only root may read, with a container that has no name elsewhere.
    let docker = tempfile::tempdir().unwrap();
    std::fs::create_dir(docker.path().join("containers")).unwrap();
    std::fs::set_permissions(docker.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let file = configuration(&format!(
        "{{names: {{docker: [{}], kubelet: , containerd: [], crio: []}}}}",
        docker.path().display()
    ));
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let check = |set: u32| {
        let has = |place: usize| set >> place & 1 == 1;
        let given = CAPABILITIES.iter().enumerate().filter(|(place, _)| has(*place));
        let given = given.fold(String::new(), |given, (_, name)| given + ",+" + name);
        let said = said_as_nobody(&["check"], file.path(), &given);
        let works = |way: &str| {
            let line = said.lines().find(|line| line.starts_with(&format!("containers {way} ")));
            line.map(|line| line.contains(" works "))
        };
        let programs = has(0) && has(1);
        let line = |way: &str, capability: &str| {
            let line = said.lines().find(|line| line.starts_with(&format!("containers {way} "))).unwrap();
            assert!(line.contains(" works ") || line.contains(capability), "{given}: {said}");
        };
        assert_eq!(works("cgroup"), Some(true), "{given}: {said}");
        assert_eq!(works("btf"), Some(true), "{given}: {said}");
        assert_eq!(works("tcp"), Some(programs), "{given}: {said}");
        assert_eq!(works("baseline"), programs.then_some(true), "{given}: {said}");
        assert_eq!(works("translate"), Some(has(2)), "{given}: {said}");
        assert_eq!(works("names"), Some(has(3)), "{given}: {said}");
        // The second ways: taskstats, and the files of control groups.
        let told = |way: &str, by: &str| {
            let line = said.lines().find(|line| line.starts_with(&format!("containers {way} "))).unwrap();
            assert!(line.contains(by), "{by} expected, {given}: {said}");
        };
        assert_eq!(works("delay"), Some(programs || has(2)), "{given}: {said}");
        told(
            "delay",
            if programs {
                "bpf"
            } else if has(2) {
                "taskstats"
            } else {
                "CAP_NET_ADMIN"
            },
        );
        assert_eq!(works("oom"), Some(true), "{given}: {said}");
        told("oom", if programs { "bpf" } else { "cgroup" });
        line("tcp", "CAP_BPF and CAP_PERFMON");
        line("translate", "CAP_NET_ADMIN");
        line("names", "CAP_DAC_READ_SEARCH");
    };
    let check = &check;
    std::thread::scope(|scope| {
        for part in 0..4 {
            scope.spawn(move || (0..4).for_each(|set| check(part * 4 + set)));
        }
    });
}

#[test]
fn without_the_types_of_the_kernel_the_rest_is_read_and_a_line_says_what_is_missing() {
    if !rustix::process::geteuid().is_root() {
        skipped("needs root to mount something over the types of the kernel");
        return;
    }
    let file = file(
        "sources: {conntrack: {enabled: false}, sockets: {enabled: false}, containers: {enabled: true}}\n",
    );
    let run = |arguments: &[&str]| {
        let agent = command(&[arguments, &["--config", file.path().to_str().unwrap()]].concat());
        let mut unshare = Command::new("unshare");
        let over = "mount --bind /dev/null /sys/kernel/btf/vmlinux && exec \"$@\"";
        unshare.args(["--mount", "sh", "-c", over, "sh"]).arg(agent.get_program()).args(agent.get_args());
        String::from_utf8(unshare.output().unwrap().stdout).unwrap()
    };
    let read = run(&["once", "--format", "prometheus"]);
    let via = |via| value(&read, "connscope_containers_source", &["part=\"tcp\"", via]);
    assert_eq!((via("via=\"procfs\""), via("via=\"bpf\"")), (Some(1.0), None), "{read}");
    let checked = run(&["check"]);
    let btf = checked.lines().find(|line| line.starts_with("containers btf ")).unwrap();
    assert!(btf.contains("absent") && btf.contains("CONFIG_DEBUG_INFO_BTF"), "{checked}");
}

/// Starts an agent behind something that takes a part of the machine from it, scrapes it three times, and gives what it said
/// last and its log.
fn stays_up(starter: &[&str], program: &Command) -> (String, Vec<String>) {
    let mut agent = Agent::start(behind(starter, program));
    let address = agent.address();
    let scrapes = [(); 3].map(|()| get(address, "/metrics").1);
    for text in &scrapes {
        assert_eq!(sample(text, "connscope_source_up{source=\"containers\"}"), Some(1.0), "{text}");
    }
    assert_eq!(agent.ended(), None);
    (scrapes[2].clone(), agent.log.all())
}

pub(super) const LISTEN: [&str; 4] = ["--listen", "127.0.0.1:0", "--otlp-protocol", "none"];

#[test]
fn without_taskstats_the_agent_stays_up_and_says_so_once() {
    if !rustix::process::geteuid().is_root() {
        skipped("needs root to take a part of the machine away");
        return;
    }
    let file = file(
        "sources: {conntrack: {enabled: false}, sockets: {enabled: false}, \
         containers: {enabled: true, delay: taskstats}}\n",
    );
    let program = command(&[&LISTEN[..], &["--config", file.path().to_str().unwrap()]].concat());
    // Taskstats are not for another pid namespace than the first.
    let starter = ["unshare", "--mount", "--pid", "--kill-child", "--mount-proc"];
    let (text, log) = stays_up(&starter, &program);
    let via = |part: &str| value(&text, "connscope_containers_source", &[&format!("part=\"{part}\"")]);
    assert_eq!((via("tcp"), via("oom"), via("delay")), (Some(1.0), Some(1.0), None), "{text}");
    let word = "wait for CPUs and disks is not reported";
    assert_eq!(log.iter().filter(|line| line.contains(word)).count(), 1, "{log:#?}");
}

#[test]
fn where_the_processes_of_others_are_hidden_the_agent_stays_up() {
    if !rustix::process::geteuid().is_root() {
        skipped("needs root to mount another procfs");
        return;
    }
    let public = Public::new(
        "sources: {conntrack: {enabled: false}, sockets: {enabled: false}, containers: {enabled: true}}\n",
    );
    let program = public.nobody(&[], &LISTEN);
    let hidden = "mount -t proc -o hidepid=2 proc /proc && exec \"$@\"";
    let (text, _) = stays_up(&["unshare", "--mount", "sh", "-c", hidden, "sh"], &program);
    let procfs = ["part=\"tcp\"", "via=\"procfs\""];
    assert_eq!(value(&text, "connscope_containers_source", &procfs), Some(1.0), "{text}");
}
