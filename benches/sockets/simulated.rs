//! A million sockets that are made up, through the tracker and its groups.

use crate::agent::size;
use crate::{Outcome, Times};
use connscope::source::sockets::attributes::Attribution;
use connscope::source::sockets::config::Sockets as Settings;
use connscope::source::sockets::diag::{Family, Record, State};
use connscope::source::sockets::group::Groups;
use connscope::source::sockets::labels::Key;
use connscope::source::sockets::peers::Peers;
use connscope::source::sockets::tcp_info::TcpInfo;
use connscope::source::sockets::track::Tracker;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

const SOCKETS: u32 = 1_000_000;

pub(crate) fn measure() -> Outcome<()> {
    let settings = Settings::default();
    run("with the limit that is the default", &settings, settings.track)?;
    run("with all of them remembered", &settings, SOCKETS as usize)
}

fn run(what: &str, settings: &Settings, track: usize) -> Outcome<()> {
    let before = size("self", "VmRSS")?;
    let groups = Groups::new(&settings.group_by, settings.limit, Peers::new(&settings.peer_groups));
    let mut tracker = Tracker::new(groups, track, true, false);
    println!("  {what}");
    for cycle in ["first cycle", "second cycle"] {
        let mut times = Times::default();
        times.take(|| one_cycle(&mut tracker));
        times.print(&format!("  {cycle}"), SOCKETS as usize);
    }
    println!("    {:54} {:9} of {track}", "remembered", tracker.len());
    println!("    {:54} {:9} of {} and the rest", "groups", tracker.groups.iter().count(), settings.limit);
    for key in [Key::Track, Key::Group, Key::ServicePort] {
        let left_out = tracker.groups.left_out(key);
        println!("    {:54} {left_out:9}", format!("left out because of a limit: {}", key.word()));
    }
    let now = size("self", "VmRSS")?;
    println!("    {:54} {before:9.1} MiB before, {now:.1} MiB after", "resident memory");
    Ok(())
}

#[expect(clippy::cast_possible_truncation, reason = "ports are 16 bits of the number")]
fn port(number: u32) -> u16 {
    number as u16
}

/// A dump of all of them: every port and many peers, as the worst a machine could have.
fn one_cycle(tracker: &mut Tracker) {
    let mut info = [0; 280];
    if let Some(acked) = info.get_mut(120..128) {
        acked.copy_from_slice(&1000u64.to_ne_bytes());
    }
    if let Some(rtt) = info.get_mut(68..72) {
        rtt.copy_from_slice(&250u32.to_ne_bytes());
    }
    tracker.groups.begin_cycle();
    tracker.begin_dump(0);
    let now = Instant::now();
    for number in 0..SOCKETS {
        let peer = Ipv4Addr::from(number.wrapping_mul(2_654_435_761));
        let local = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), port(number)));
        let peer = SocketAddr::from((peer, port(number / 7)));
        let record = Record {
            cookie: u64::from(number) + 1,
            inode: number,
            tcp: Some(TcpInfo::new(&info)),
            ..Record::new(Family::V4, State::Established, local, peer)
        };
        tracker.update(0, &record, &Attribution::default(), now);
    }
    tracker.end_dump(0, true);
    tracker.sweep(now);
}
