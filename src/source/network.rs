//! Where the network stack, the card and the cloud drop packets or refuse connections, as far as the kernel counts it without
//! privileges: drivers' statistics by ethtool, queueing disciplines by rtnetlink, the backlog of each CPU, and counters of
//! `/proc/net`.

use super::netns::Report;
use super::{Check, Mode, Requirement, Source, SourceKind};
use crate::host::Host;
use crate::host::netns::{self, Finder, NamespaceResult};
use crate::metric::{Bounds, Label, Part};
use crate::reading::{Readings, SourceError};
use crate::source::metrics::NETNS;
use crate::stop::Stop;
use ask::{NamespaceAnswer, ReadOptions};
use config::Network as Settings;
use drops::Drops;
use drops::kernel::Limits;
use interfaces::Interfaces;
use labels::{INTERFACES, LeftOut, RULES};
use rule_totals::RuleTotals;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub mod ask;
mod check;
pub mod config;
pub mod counters;
pub mod drivers;
pub mod drops;
pub mod interfaces;
pub mod labels;
pub mod listen;
pub mod machine;
pub mod metrics;
pub mod rtnetlink;
pub mod rule_totals;
pub mod rules;
pub mod softnet;
pub mod timeouts;
pub mod unwrap;

/// Key in the configuration, label value, field in the log.
pub const NAME: &str = "network";

impl SourceKind for Network {
    type Settings = Settings;
    const NAME: &'static str = NAME;
    const PART: &'static Part = &metrics::PART;
    const REQUIREMENTS: &'static [Requirement] = &[
        Requirement {
            address_families: &["AF_NETLINK", "AF_UNIX"],
            ..Requirement::of("interfaces and queueing disciplines")
        },
        Requirement {
            files: &[
                "/proc/net/netstat",
                "/proc/net/snmp",
                "/proc/net/snmp6",
                "/proc/net/sockstat",
                "/proc/net/softnet_stat",
            ],
            ..Requirement::of("counters of the network stack")
        },
        Requirement {
            capabilities: &["CAP_NET_ADMIN"],
            address_families: &["AF_NETLINK"],
            ..Requirement::of("rules of nftables (rules)")
        },
        Requirement {
            capabilities: &["CAP_BPF", "CAP_PERFMON"],
            files: &["/sys/kernel/btf/vmlinux"],
            kernel: "5.17",
            ..Requirement::of("packets dropped by reason (drops)")
        },
        Requirement {
            capabilities: &["CAP_SYS_PTRACE"],
            files: &["/run/netns", "/proc/PID/ns/net"],
            ..Requirement::of("names of the network namespaces in which they are dropped (drops)")
        },
        super::netns::REQUIREMENT,
    ];

    fn enabled(settings: &Settings) -> bool {
        settings.enabled
    }

    fn deadline(_: &Settings, _: Mode) -> Duration {
        timeouts::CYCLE
    }

    fn bounds(settings: &Settings, _: &Host) -> Bounds {
        vec![
            (&NETNS, netns::namespace_limit(&settings.netns)),
            (&labels::CPU, crate::sys::possible_cpus().len().max(1)),
        ]
    }

    fn build(settings: &Settings, _: &Host, _: Mode, _: &Stop) -> Result<Box<dyn Source>, SourceError> {
        Ok(Box::new(Self::new(settings)))
    }

    fn check(settings: &Settings, _: &Host, _: &Stop) -> Vec<Check> {
        check::check(settings)
    }

    fn suffices(_: &Settings, checks: &[Check]) -> bool {
        check::suffices(checks)
    }
}

/// The source: the namespaces it reads, and the totals of counters that wrap.
pub struct Network {
    finder: Finder,
    wanted: ReadOptions,
    drops: Option<Drops>,
    machine: machine::Machine,
    interfaces: Interfaces,
    rule_totals: RuleTotals,
}

impl Network {
    /// The source with its settings; nothing is opened before it is read.
    pub fn new(settings: &Settings) -> Self {
        Self {
            finder: Finder::new(&settings.netns),
            wanted: ReadOptions { rules: settings.rules, listened: settings.drops },
            drops: settings.drops.then(|| Drops::new(Limits::default())),
            machine: machine::Machine::default(),
            interfaces: Interfaces::default(),
            rule_totals: RuleTotals::default(),
        }
    }

    /// Observes what one namespace answered, as far as there is room.
    fn observe(
        &mut self,
        answer: NamespaceAnswer,
        netns: Option<&Arc<str>>,
        room: &mut SeriesCount,
        out: &mut Readings,
    ) {
        let labels: Vec<(Label, Arc<str>)> =
            netns.map(|label| (Label::Netns, Arc::clone(label))).into_iter().collect();
        answer.counters.observe(&labels, out);
        for (part, error) in answer.failed {
            let part = netns.map_or(part.clone(), |netns| format!("{netns}: {part}"));
            out.fail(part, error);
        }
        room.rules_left_out += answer.rules.left_out;
        room.listened.extend(answer.listened);
        let namespace = netns.map_or_else(|| Arc::from(""), Arc::clone);
        for (rule, counters) in answer.rules.packets {
            if room.rules == RULES {
                room.rules_left_out += 1;
                continue;
            }
            room.rules += 1;
            let packets = self.rule_totals.total(&namespace, &rule, &counters);
            let texts = [
                (Label::Family, rule.family),
                (Label::Table, &rule.table),
                (Label::Chain, &rule.chain),
                (Label::Comment, &rule.comment),
                (Label::Verdict, rule.verdict.word()),
            ];
            let texts = texts.into_iter().map(|(label, text)| (label, text.into()));
            let labels: Vec<(Label, Arc<str>)> = labels.iter().cloned().chain(texts).collect();
            out.observe(metrics::NETFILTER_RULE_PACKETS, &labels, packets);
        }
        room.interfaces_left_out += answer.interfaces_left_out;
        for interface in answer.interfaces {
            if room.interfaces == INTERFACES {
                room.interfaces_left_out += 1;
                continue;
            }
            room.interfaces += 1;
            self.interfaces.observe(interface, &namespace, &labels, out);
        }
    }
}

/// How much was reported in a cycle, and how much was not.
#[derive(Default)]
struct SeriesCount {
    interfaces: usize,
    interfaces_left_out: u64,
    rules: usize,
    rules_left_out: u64,
    /// Ports that TCP listens on in any of the namespaces.
    listened: Vec<u16>,
}

impl Source for Network {
    fn read(&mut self, out: &mut Readings) -> Result<(), SourceError> {
        let (mut room, wanted) = (SeriesCount::default(), self.wanted);
        let mut named = None;
        let machine = self.machine.observe(out);
        let result = if self.finder.is_configured() {
            let (mut report, namespaces) = Report::begin(NAME, self.finder.find(), out);
            for NamespaceResult { namespace, result } in
                netns::visit(&namespaces, || Ok(NamespaceAnswer::ask(wanted)))
            {
                let result = result.and_then(|(_, answer)| {
                    let (answer, result) = usable(answer);
                    self.observe(answer, Some(&namespace.label), &mut room, out);
                    result
                });
                report.record(&namespace.label, result, out);
            }
            named = Some(namespaces);
            report.finish(out)
        } else {
            let (answer, result) = usable(NamespaceAnswer::ask(wanted));
            self.observe(answer, None, &mut room, out);
            result
        };
        self.interfaces.end_cycle();
        self.rule_totals.end_cycle();
        for (key, count) in
            [(LeftOut::Interface, room.interfaces_left_out), (LeftOut::Rule, room.rules_left_out)]
        {
            out.observe(metrics::CONNSCOPE_NETWORK_LEFT_OUT, &[(Label::Key, key.word().into())], count);
        }
        if let Err(error) = machine {
            out.fail("machine", error);
        }
        if let Some(drops) = &mut self.drops
            && let Err(error) = drops.observe(room.listened, named.as_deref(), now(), out)
        {
            out.fail("drops", error);
        }
        result
    }
}

#[expect(clippy::disallowed_methods, reason = "what changes rarely is read again after a time")]
fn now() -> Instant {
    Instant::now()
}

/// The error of a namespace in which nothing could be read is taken out of its answer.
fn usable(mut answer: NamespaceAnswer) -> (NamespaceAnswer, Result<(), SourceError>) {
    match answer.failed.pop() {
        Some((_, error)) if answer.read == 0 => (answer, Err(error)),
        Some(failed) => {
            answer.failed.push(failed);
            (answer, Ok(()))
        }
        None => (answer, Ok(())),
    }
}
