//! What the drop-ins beside containers.conf promise: the agent has their capabilities, their system calls, and what they leave of
//! `/proc`.

use super::kernel::LONG;
use super::lab::{Lab, tcp};
use crate::deploy::confined;
use crate::support::agent::Public;

#[test]
fn volumes_and_echoes_take_a_drop_in_each_beside_that_of_containers() {
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
    let works = |drop_ins: &[&str]| {
        let (mut agent, _file) = confined::by_drop_ins(&public, &["check"], drop_ins);
        let text = String::from_utf8(agent.output().unwrap().stdout).unwrap();
        ["tcp", "immediate_failures", "volumes", "icmp"].map(|part| {
            let line = text.lines().find(|line| line.starts_with(&format!("containers {part} ")));
            line.unwrap_or_else(|| panic!("{part}: {text}")).contains(" works ")
        })
    };
    assert_eq!(works(&["containers"]), [true, true, false, false]);
    assert_eq!(works(&["containers", "volumes"]), [true, true, true, false]);
    assert_eq!(works(&["containers", "latency-icmp"]), [true, true, true, true]);
    assert_eq!(works(&["containers", "latency-icmp", "logs"]), [true, true, true, true]);
}
