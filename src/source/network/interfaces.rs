//! What is reported of interfaces, and what is kept of them from one cycle to the next (pure).

use super::ask::Interface;
use super::drivers::StatisticKind;
use super::metrics;
use super::unwrap::Unwrapper;
use crate::metric::Label;
use crate::reading::Readings;
use std::collections::HashMap;
use std::sync::Arc;

/// Cycles for which it is remembered that a card which is not seen had allowances.
const KEPT: u64 = 10;

/// The totals of the queueing disciplines, and which cards have reported allowances.
#[derive(Debug, Default)]
pub struct Interfaces {
    qdiscs: Unwrapper<(Arc<str>, u32, u32, Vec<u8>)>,
    /// Cards by network namespace and `ifindex` that reported an allowance other than 0, with the latest cycle in which
    /// they were seen.
    allowances: HashMap<(Arc<str>, u32), u64>,
    cycle: u64,
}

impl Interfaces {
    /// Observes an interface of this network namespace, with the labels of the namespace.
    pub fn observe(
        &mut self,
        interface: Interface,
        namespace: &Arc<str>,
        labels: &[(Label, Arc<str>)],
        out: &mut Readings,
    ) {
        let with = |label: Label, value: &str| {
            let mut labels = labels.to_vec();
            labels.extend([(Label::InterfaceName, Arc::clone(&interface.name)), (label, value.into())]);
            labels
        };
        let failed = self.allowances_failed(&interface, namespace);
        for (meaning, number) in interface.numbers {
            match meaning {
                StatisticKind::Exceeded(_) | StatisticKind::Available(_) if failed => {}
                StatisticKind::Exceeded(limit) => {
                    let labels = with(Label::Limit, limit.word());
                    out.observe(metrics::INTERFACE_ALLOWANCE_EXCEEDED, &labels, number);
                }
                StatisticKind::Available(limit) => {
                    let labels = with(Label::Limit, limit.word());
                    out.observe(metrics::INTERFACE_ALLOWANCE_AVAILABLE, &labels, number);
                }
                StatisticKind::Error(kind) => {
                    out.observe(metrics::INTERFACE_ERRORS, &with(Label::Kind, kind.word()), number);
                }
            }
        }
        for qdisc in interface.qdiscs {
            let kind = crate::text::bounded_bytes(&qdisc.kind, crate::text::LONGEST_NAME);
            let key = (Arc::clone(namespace), qdisc.interface, qdisc.parent, qdisc.kind);
            let drops = self.qdiscs.total(key, qdisc.drops);
            out.observe(metrics::QDISC_DROPS, &with(Label::Qdisc, &kind), drops);
        }
    }

    /// Whether the driver did not get the allowances from the card: it then has 0 for all of them
    /// (`ena_com_get_customer_metrics`, whose error `ena_ethtool.c` ignores). Without connections left some were exceeded,
    /// and what was exceeded stays so.
    fn allowances_failed(&mut self, interface: &Interface, namespace: &Arc<str>) -> bool {
        let (mut has, mut has_available, mut sum) = (false, false, 0u64);
        for (meaning, number) in &interface.numbers {
            match meaning {
                StatisticKind::Exceeded(_) => has = true,
                StatisticKind::Available(_) => (has, has_available) = (true, true),
                StatisticKind::Error(_) => continue,
            }
            sum = sum.saturating_add(*number);
        }
        if !has {
            return false;
        }
        let key = (Arc::clone(namespace), interface.index);
        if sum > 0 {
            self.allowances.insert(key, self.cycle);
            return false;
        }
        let known = self.allowances.get_mut(&key).map(|seen| *seen = self.cycle).is_some();
        known || has_available
    }

    /// Ends a cycle: forgets what was not seen for 10 cycles.
    pub fn end_cycle(&mut self) {
        self.qdiscs.end_cycle();
        let cycle = self.cycle;
        self.allowances.retain(|_, seen| *seen + KEPT > cycle);
        self.cycle += 1;
    }
}
