//! What the drop-ins beside containers.conf promise: the agent has their capabilities, their system calls, and what they leave of
//! `/proc`.

use super::kernel::LONG;
use super::lab::{Lab, tcp};
use crate::deploy::confined;
use crate::support::agent::{Public, behind};

#[test]
fn volumes_echoes_and_immediate_failures_take_a_drop_in_each_beside_that_of_containers() {
    if !confined::root() {
        return;
    }
    let Some(lab) = Lab::new(tcp(), LONG, 500) else { return };
    let _container = lab.container("asked", None);
    let public = Public::new(&format!(
        "inventory: {{units: false, names: {{docker: [{}], kubelet: , containerd: [], crio: []}}}}\n\
         sources:\n  conntrack: {{enabled: false}}\n  sockets: {{enabled: false}}\n  network: {{enabled: false}}\n  \
         containers: {{enabled: true, volumes: true, tcp: {{latency: icmp, immediate_failures: true}}}}\n",
        lab.names().display()
    ));
    let check = |drop_ins: &[&str]| {
        let (agent, _file) = confined::by_drop_ins(&public, &["check"], drop_ins);
        let mounted = "mount -t tracefs tracefs /sys/kernel/tracing && exec \"$@\"";
        let mut agent = behind(&["unshare", "--mount", "sh", "-c", mounted, "sh"], &agent);
        String::from_utf8(agent.output().unwrap().stdout).unwrap()
    };
    let works = |drop_ins: &[&str]| {
        let text = check(drop_ins);
        ["tcp", "volumes", "icmp", "immediate_failures"].map(|part| {
            let line = text.lines().find(|line| line.starts_with(&format!("containers {part} ")));
            line.unwrap_or_else(|| panic!("{part}: {text}")).contains(" works ")
        })
    };
    assert_eq!(works(&["containers"]), [true, false, false, false]);
    assert_eq!(works(&["container-volumes", "containers"]), [true, true, false, false]);
    assert_eq!(works(&["container-icmp", "containers"]), [true, true, true, false]);
    assert_eq!(works(&["container-failures", "containers"]), [true, false, false, true]);
    let refused = check(&["containers"]);
    let line = refused.lines().find(|line| line.starts_with("containers immediate_failures ")).unwrap();
    assert!(line.contains("perf_event_open") && line.contains("container-failures.conf"), "{line}");
    // Whoever has logs.conf as well has processes hidden, and sees them.
    assert_eq!(works(&["container-icmp", "containers", "logs"]), [true, true, true, false]);
}
