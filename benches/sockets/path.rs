//! What the fields of the network path that Linux has since 4.19 add to a cycle: a dump that was kept, through the tracker,
//! with each `tcp_info` as it is and cut before these fields.

use crate::{Outcome, Times, report};
use connscope::source::sockets::attributes::Attribution;
use connscope::source::sockets::config::Sockets as Settings;
use connscope::source::sockets::diag;
use connscope::source::sockets::group::Groups;
use connscope::source::sockets::peers::Peers;
use connscope::source::sockets::tcp_info::TcpInfo;
use connscope::source::sockets::track::Tracker;
use std::time::{Duration, Instant};

/// Where `tcpi_dsack_dups` begins; the fields of the path are from there on.
const BEFORE_PATH: usize = 216;
/// Pairs of passes.
const PAIRS: usize = 100;
/// What is aimed at: percent of a cycle.
const GOAL_PERCENT: f64 = 3.0;

/// Prints what these fields add, in percent of `cycle`.
pub(crate) fn measure(datagrams: &[Vec<u8>], cycle: Duration) -> Outcome<()> {
    let (mut whole, mut cut) = (Pass::new(usize::MAX), Pass::new(BEFORE_PATH));
    for _ in 0..PAIRS {
        cut.run(datagrams)?;
        whole.run(datagrams)?;
    }
    let more = whole.times.median().saturating_sub(cut.times.median());
    let percent = more.as_secs_f64() / cycle.as_secs_f64() * 100.0;
    report("what the fields of the path add to it", percent, "%", Some(("under", GOAL_PERCENT)));
    Ok(())
}

/// A tracker, and how long it takes for the dump.
struct Pass {
    length: usize,
    tracker: Tracker,
    times: Times,
}

impl Pass {
    fn new(length: usize) -> Self {
        let settings = Settings::default();
        let groups = Groups::new(&settings.group_by, settings.limit, Peers::new(&settings.peer_groups));
        let tracker = Tracker::new(groups, settings.track, true, false);
        Self { length, tracker, times: Times::default() }
    }

    fn run(&mut self, datagrams: &[Vec<u8>]) -> Outcome<()> {
        let Self { length, tracker, times } = self;
        times.take(|| {
            tracker.groups.begin_cycle();
            tracker.begin_dump(0);
            let now = Instant::now();
            for datagram in datagrams {
                diag::parse(datagram, crate::sequence(datagram), |record| {
                    let tcp = record.tcp.map(|tcp| cut(tcp, *length));
                    let record = diag::Record { tcp, ..*record };
                    tracker.update(0, &record, &Attribution::default(), now);
                })?;
            }
            tracker.end_dump(0, true);
            tracker.sweep(now);
            Ok(())
        })
    }
}

fn cut(tcp: TcpInfo<'_>, length: usize) -> TcpInfo<'_> {
    TcpInfo::new(tcp.bytes().get(..length).unwrap_or(tcp.bytes()))
}
