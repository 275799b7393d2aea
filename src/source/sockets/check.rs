//! What `connscope check` says of the sockets: what works, and what each capability would add.

use super::SPEC;
use super::events::Listening;
use super::sock_diag::SockDiag;
use crate::config::Config;
use crate::filter::Filter;
use crate::host::{cgroup, process};
use crate::source::netns;
use crate::source::{Check, SourceError};
use crate::stop::Stop;
use std::sync::Arc;

/// The way that everything rests on.
const DIAG: &str = "sock_diag";
const NETNS: &str = "netns";

/// Tries each part in the agent's own network namespace, then the configured ones.
pub fn check(config: &Config, _stop: &Stop) -> Vec<Check> {
    let settings = &config.sources.sockets;
    let check = |via, result| Check::new(SPEC.name, via, result);
    let mut checks = vec![
        check(DIAG, dump(&settings.filter)),
        check("destroy", destroy()),
        check("fwmark", marks()),
        check("cgroup", cgroups()),
        check("process", process::check()),
    ];
    if !settings.netns.is_empty() {
        let read = || SockDiag::open(&settings.filter)?.listeners(&settings.filter, &mut |_, _| {});
        checks.push(check(NETNS, netns::check(&settings.netns, read)));
    }
    checks
}

/// Sockets are read wherever they can be dumped; everything else adds to it.
pub fn suffices(_config: &Config, checks: &[Check]) -> bool {
    checks.iter().all(|check| check.works() || ![DIAG, NETNS].contains(&check.via))
        && checks.iter().any(|check| check.via == DIAG)
}

fn dump(filter: &Filter) -> Result<String, SourceError> {
    let mut diag = SockDiag::open(filter)?;
    let (mut listening, mut connections, mut datagrams) = (0, 0, 0);
    diag.listeners(filter, &mut |_, _| listening += 1)?;
    diag.connections(filter, false, &mut |_, _| connections += 1)?;
    diag.datagrams(filter, &mut |_, _| datagrams += 1)?;
    Ok(format!("TCP: {listening} listen, {connections} connections; UDP: {datagrams}"))
}

fn destroy() -> Result<String, SourceError> {
    let diag = SockDiag::open(&Filter::default())?;
    let listening = Listening::open(Arc::clone(diag.names()))
        .map_err(|cause| SourceError::io("joining the destroy groups of sock_diag", cause))?;
    let room =
        format!("the kernel tells of closed sockets; room for {} KiB of events", listening.room() / 1024);
    Ok(if listening.is_limited() { format!("{room}, more with CAP_NET_ADMIN") } else { room })
}

fn marks() -> Result<String, SourceError> {
    let filter: Filter =
        "fwmark 1".parse().map_err(|cause| SourceError::parse("reading the filter of this check", cause))?;
    SockDiag::open(&filter)?.marks(&filter).map(|()| "filters can ask for marks".to_owned())
}

fn cgroups() -> Result<String, SourceError> {
    let mut cgroups = cgroup::Cgroups::new()?;
    cgroups.look();
    match cgroups.latest().known {
        0 | 1 if cgroup::has_version_1() => {
            let cause = "only its root; control groups are told by the processes then";
            Err(SourceError::absent("looking for control groups of version 2", cause))
        }
        known => Ok(format!("{known} control groups")),
    }
}
