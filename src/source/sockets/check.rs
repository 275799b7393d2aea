//! The checks of `connscope check` for sockets: what works, and what each capability adds.

use super::NAME;
use super::config::Sockets as Settings;
use super::events::DestroyEvents;
use super::selected;
use super::sock_diag::SockDiag;
use crate::filter::Filter;
use crate::host::{cgroup, process};
use crate::reading::{SourceError, chain};
use crate::source::netns;
use crate::source::{Check, Requirement};
use std::sync::Arc;

/// Name of the check that the source cannot do without.
const DIAG: &str = "sock_diag";
const NETNS: &str = "netns";

/// Capabilities, files and kernel release that each part of the source needs.
pub const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        address_families: &["AF_NETLINK"],
        ..Requirement::of("sockets of the agent's network namespace")
    },
    Requirement {
        address_families: &["AF_NETLINK"],
        ..Requirement::of("close_events; CAP_NET_ADMIN gives a larger receive buffer")
    },
    Requirement {
        capabilities: &["CAP_NET_ADMIN"],
        address_families: &["AF_NETLINK"],
        ..Requirement::of("conditions on fwmark in filter")
    },
    Requirement {
        files: &["/sys/fs/cgroup"],
        kernel: "5.8",
        ..Requirement::of("group_by: [cgroup] and [container] by the cgroup id of a socket")
    },
    Requirement {
        capabilities: &["CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE"],
        files: &["/proc/PID/fd"],
        ..Requirement::of("group_by: [process], flow: pid_condensed and conditions on processes")
    },
    netns::REQUIREMENT,
];

/// Tries each part in the agent's own network namespace, then in the configured ones.
pub fn check(settings: &Settings) -> Vec<Check> {
    let check = |via, result| Check::new(NAME, via, result);
    let filter = match selected::filter(settings) {
        Ok(filter) => filter,
        Err(cause) => {
            return vec![check(DIAG, Err(SourceError::parse("reading sources.sockets.filter", cause)))];
        }
    };
    let mut checks = vec![
        check(DIAG, dump(&filter)),
        check("destroy", destroy()),
        check("fwmark", marks()),
        check("cgroup", cgroups()),
        check("process", process::check()),
    ];
    if !settings.netns.is_empty() {
        let read = || SockDiag::open(&filter)?.listeners(&filter, &mut |_, _| {});
        checks.push(check(NETNS, netns::check(&settings.netns, read)));
    }
    checks
}

/// Whether the source works: sockets can be dumped. Every other check adds to that.
pub fn suffices(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.works() || ![DIAG, NETNS].contains(&check.via))
        && checks.iter().any(|check| check.via == DIAG)
}

fn dump(filter: &Filter) -> Result<String, SourceError> {
    let mut diag = SockDiag::open(filter)?;
    let (mut listening, mut connections, mut datagrams) = (0, 0, 0);
    diag.listeners(filter, &mut |_, _| listening += 1)?;
    diag.connections(filter, false, &mut |_, _| connections += 1)?;
    let udp = match diag.datagrams(filter, &mut |_, _| datagrams += 1) {
        Ok(()) => datagrams.to_string(),
        Err(error @ SourceError::Absent { .. }) => format!("not read, {}", chain(&error)),
        Err(error) => return Err(error),
    };
    Ok(format!("TCP: {listening} listen, {connections} connections; UDP: {udp}"))
}

fn destroy() -> Result<String, SourceError> {
    let diag = SockDiag::open(&Filter::default())?;
    let events = DestroyEvents::open(Arc::clone(diag.names()))
        .map_err(|cause| SourceError::io("joining the destroy groups of sock_diag", cause))?;
    let room = format!("destroy events are received; the buffer has {} KiB", events.receive_buffer() / 1024);
    let held = rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(rustix::thread::CapabilitySet::NET_ADMIN));
    Ok(match (events.is_limited(), held) {
        (false, _) => room,
        (true, false) => format!("{room}, more with CAP_NET_ADMIN or a larger net.core.rmem_max"),
        // In a user namespace the capability has no effect: the limit is the machine's.
        (true, true) => format!("{room}, more with a larger net.core.rmem_max"),
    })
}

fn marks() -> Result<String, SourceError> {
    let filter: Filter =
        "fwmark 1".parse().map_err(|cause| SourceError::parse("reading the filter of this check", cause))?;
    SockDiag::open(&filter)?.marks(&filter).map(|()| "conditions on fwmark work".to_owned())
}

fn cgroups() -> Result<String, SourceError> {
    let mut cgroups = cgroup::Cgroups::new()?;
    cgroups.walk();
    match cgroups.latest().directories {
        0 | 1 if cgroup::has_version_1() => {
            let cause = "only its root; the control groups of processes are used instead";
            Err(SourceError::absent("looking for control groups of version 2", cause))
        }
        known => Ok(format!("{known} control groups")),
    }
}
