//! Tries each part, for `connscope check`.

use super::ask::{NamespaceAnswer, ReadOptions};
use super::config::Network as Settings;
use super::counters::COUNTERS;
use super::drops;
use super::{NAME, drivers, machine};
use crate::reading::SourceError;
use crate::source::{Check, netns};

/// Interfaces that are named.
const NAMED: usize = 8;

/// Tries each part in the agent's own network namespace, then the configured ones.
pub(super) fn check(settings: &Settings) -> Vec<Check> {
    let wanted = ReadOptions { rules: settings.rules, listened: settings.drops };
    let mut answer = NamespaceAnswer::ask(wanted);
    let mut failed = |part: &str| {
        let index = answer.failed.iter().position(|(name, _)| name == part)?;
        Some(answer.failed.swap_remove(index).1)
    };
    let (counters, interfaces, qdiscs) = (failed("counters"), failed("interfaces"), failed("qdiscs"));
    let (rules, failed_listened) = (failed("rules"), failed("listened"));
    let statistics = answer.failed.pop().map(|(_, error)| error);
    let result = |error: Option<SourceError>, said: String| error.map_or(Ok(said), Err);
    let cards: Vec<String> = answer
        .interfaces
        .iter()
        .filter_map(|interface| {
            let driver = interface.driver.as_deref()?;
            let known = drivers::known(driver.as_bytes()).is_some();
            let unknown = if known { "" } else { ", whose statistics are not known" };
            Some(format!("{} ({driver}{unknown})", interface.name))
        })
        .collect();
    let more = cards.len().saturating_sub(NAMED);
    let named = cards.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let cards = match (cards.len(), more) {
        (0, _) => "no network card".to_owned(),
        (_, 0) => named,
        _ => format!("{named} and {more} more"),
    };
    let queues: usize = answer.interfaces.iter().map(|interface| interface.qdiscs.len()).sum();
    let queues = format!("the drops of {queues} queueing discipline{}", if queues == 1 { "" } else { "s" });
    let cpus = machine::read_softnet().map(|rows| format!("{} CPUs", rows.len()));
    let mut checks = vec![
        Check::new(NAME, "ethtool", result(interfaces.or(statistics), cards)),
        Check::new(NAME, "qdisc", result(qdiscs, queues)),
        Check::new(
            NAME,
            "counters",
            result(counters, format!("{} of {COUNTERS} known counters", answer.counters.count())),
        ),
        Check::new(NAME, "softnet", cpus),
    ];
    if settings.rules {
        let found = format!("{} rules that drop or reject have a counter", answer.rules.packets.len());
        let found = match answer.rules.left_out {
            0 => found,
            more => format!("{found}; {more} more are left out"),
        };
        checks.push(Check::new(NAME, "rules", result(rules, found)));
    }
    if settings.drops {
        checks.push(Check::new(NAME, "drops", failed_listened.map_or_else(drops::check, Err)));
        checks.push(Check::new(NAME, drops::NAMES, drops::check_names()));
    }
    if !settings.netns.is_empty() {
        let read = || match NamespaceAnswer::ask(wanted) {
            NamespaceAnswer { read: 0, mut failed, .. } => {
                failed.pop().map_or(Ok(()), |(_, error)| Err(error))
            }
            _ => Ok(()),
        };
        checks.push(Check::new(NAME, "netns", netns::check(&settings.netns, read)));
    }
    checks
}

/// Without the names of network namespaces their inodes are reported.
pub(super) fn suffices(checks: &[Check]) -> bool {
    checks.iter().all(|check| check.works() || check.via == drops::NAMES)
}
