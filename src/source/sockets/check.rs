//! What `connscope check` says of the sockets: what works, and what each capability would add.

use super::SPEC;
use super::events::Listening;
use super::sock_diag::SockDiag;
use crate::config::Config;
use crate::filter::Filter;
use crate::host::{cgroup, netns, process};
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
        checks.push(check(NETNS, namespaces(&settings.netns, &settings.filter)));
    }
    checks
}

/// Sockets are read wherever they can be dumped; everything else adds to it.
pub fn suffices(_config: &Config, checks: &[Check]) -> bool {
    checks.iter().all(|check| check.works() || ![DIAG, NETNS].contains(&check.via))
        && checks.iter().any(|check| check.via == DIAG)
}

fn dump(filter: &Filter) -> Result<String, SourceError> {
    let mut space = SockDiag::open(filter)?;
    let (mut listening, mut connections, mut datagrams) = (0, 0, 0);
    space.listeners(&mut |_| listening += 1)?;
    space.connections(filter, false, &mut |_| connections += 1)?;
    space.datagrams(filter, &mut |_| datagrams += 1)?;
    Ok(format!("TCP: {listening} listen, {connections} connections; UDP: {datagrams}"))
}

fn destroy() -> Result<String, SourceError> {
    let space = SockDiag::open(&Filter::default())?;
    let listening = Listening::open(Arc::clone(space.names()))
        .map_err(|cause| SourceError::io("joining the destroy groups of sock_diag", cause))?;
    let room = listening.room() / 1024;
    Ok(format!("the kernel tells of closed sockets; room for {room} KiB of it, more with CAP_NET_ADMIN"))
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

fn namespaces(configured: &[String], filter: &Filter) -> Result<String, SourceError> {
    let found = netns::find(configured);
    if let Some((_, error)) = found.missing.into_iter().next() {
        return Err(error);
    }
    let count = found.namespaces.len();
    for visit in netns::visit(&found.namespaces, || SockDiag::open(filter)?.listeners(&mut |_| {})) {
        visit.result?;
    }
    Ok(format!("{count} network namespaces"))
}
