//! The names of reasons, as the running kernel's types have them (pure).
//!
//! `include/net/dropreason-core.h`: since Linux 6.0 the highest 16 bits of a reason are a subsystem (mac80211, openvswitch), whose
//! own reasons are in the types of its module and are not told apart.

use crate::host::bpf::enums::Enumeration;
use std::collections::BTreeMap;
use std::sync::Arc;

const DROP: &str = "SKB_DROP_REASON_";
const SUBSYSTEM: &str = "SKB_DROP_REASON_SUBSYS_";
const RESET: &str = "SK_RST_REASON_";
/// Set in the number of a subsystem.
const OF_SUBSYSTEM: u32 = 0x8000;

/// Reasons by the numbers that the programs count by.
#[derive(Debug, Default)]
pub struct ReasonNames {
    drops: BTreeMap<u16, Arc<str>>,
    resets: BTreeMap<u16, Arc<str>>,
    not_specified: Option<u32>,
}

impl ReasonNames {
    /// Takes the enumerations `skb_drop_reason`, `skb_drop_reason_subsys` and `sk_rst_reason`.
    pub fn new(drops: &Enumeration, subsystems: &Enumeration, resets: &Enumeration) -> Self {
        let short = |values: &Enumeration, prefix: &str, add: u32| {
            let named = values.iter().filter_map(|(number, name)| {
                let number = u16::try_from(number.checked_add(add)?).ok()?;
                Some((number, name.strip_prefix(prefix).unwrap_or(name).into()))
            });
            named.collect::<BTreeMap<u16, Arc<str>>>()
        };
        let not_specified = drops
            .iter()
            .find(|(_, name)| name.strip_prefix(DROP) == Some("NOT_SPECIFIED"))
            .map(|(number, _)| *number);
        let mut drops = short(drops, DROP, 0);
        drops.extend(short(subsystems, SUBSYSTEM, OF_SUBSYSTEM));
        Self { drops, resets: short(resets, RESET, 0), not_specified }
    }

    /// The reason that says nothing; those below it are no drops. `None` if the kernel has no reasons.
    pub fn not_specified(&self) -> Option<u32> {
        self.not_specified
    }

    /// The tracepoint gives no reason for resets.
    pub fn without_resets(&mut self) {
        self.resets.clear();
    }

    /// Whether resets have a reason.
    pub fn has_resets(&self) -> bool {
        !self.resets.is_empty()
    }

    /// Number of reasons to drop.
    pub fn count(&self) -> usize {
        self.drops.len()
    }

    /// The name of a reason to drop, or its number.
    pub fn drop(&self, number: u16) -> Arc<str> {
        self.drops.get(&number).map_or_else(|| number.to_string().into(), Arc::clone)
    }

    /// The name of a reason to reset, or its number; `None` if the kernel gives none.
    pub fn reset(&self, number: u16) -> Option<Arc<str>> {
        let named = || self.resets.get(&number).map_or_else(|| number.to_string().into(), Arc::clone);
        (!self.resets.is_empty()).then(named)
    }
}
