//! How fast the end of connections is counted.

use crate::crowd::Crowd;
use crate::{Outcome, milliseconds, report};
use connscope::filter::{Filter, Names};
use connscope::metric::{Handle, Metric, Value};
use connscope::reading::Readings;
use connscope::source::Source;
use connscope::source::sockets::Sockets;
use connscope::source::sockets::config::Sockets as Settings;
use connscope::source::sockets::events::{DestroyEvents, Shared};
use connscope::source::sockets::group::Groups;
use connscope::source::sockets::metrics::{CONNSCOPE_SOCKETS_EVENTS, CONNSCOPE_SOCKETS_EVENTS_LOST};
use connscope::source::sockets::peers::Peers;
use connscope::source::sockets::track::Tracker;
use connscope::stop::Stop;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Connections that are closed before their events are taken: fewer than there is room for in the kernel.
const BATCH: usize = 1_000;
const BATCHES: usize = 5;

/// Events a second: both ends of 10,000 connections.
const GOAL_EVENTS: f64 = 20_000.0;

pub(crate) fn measure(crowd: &mut Crowd) -> Outcome<()> {
    alone(crowd)?;
    all_at_once(crowd)
}

/// Taking events that wait in the kernel, and nothing else.
fn alone(crowd: &mut Crowd) -> Outcome<()> {
    let settings = Settings::default();
    let groups = Groups::new(&settings.group_by, settings.limit, Peers::new(&settings.peer_groups));
    let shared = Shared::new(Tracker::new(groups, settings.track, true, false), Filter::default(), None)?;
    shared.add(0, DestroyEvents::open(Arc::new(Names::default()))?);
    shared.tracker().begin_dump(0);
    shared.tracker().end_dump(0, true);
    let (mut took, mut last) = (Duration::ZERO, (0, 0));
    for _ in 0..BATCHES {
        crowd.close(BATCH)?;
        // What the other end has to say to it is said by the kernel a little later.
        std::thread::sleep(Duration::from_millis(50));
        let started = Instant::now();
        shared.drain();
        took += started.elapsed();
        let mut readings = Readings::default();
        shared.observe(&mut readings);
        last = events(&readings);
    }
    let (received, lost) = last;
    println!("  {received} events taken in {:.3} ms, {lost} lost", milliseconds(took));
    let rate = f64::from(u32::try_from(received)?) / took.as_secs_f64();
    report("events taken a second", rate, "", Some(("at least", GOAL_EVENTS)));
    Ok(())
}

/// All that are left, closed as fast as one process can while the source listens.
fn all_at_once(crowd: &mut Crowd) -> Outcome<()> {
    let stop = Stop::new()?;
    let mut source = Sockets::new(&Settings::default(), &stop)?;
    source.read(&mut Readings::default())?;
    let sockets = crowd.connections() * 2;
    let started = Instant::now();
    crowd.close(crowd.connections())?;
    let closed = started.elapsed();
    let (mut received, mut lost) = (0, 0);
    for _ in 0..50 {
        std::thread::sleep(Duration::from_millis(20));
        let mut readings = Readings::default();
        source.read(&mut readings)?;
        (received, lost) = events(&readings);
        if received + lost >= sockets as u64 {
            break;
        }
    }
    let rate = f64::from(u32::try_from(sockets)?) / closed.as_secs_f64();
    println!(
        "  {sockets} sockets closed as fast as one process can, {rate:.0} a second: {received} events, {lost} lost"
    );
    stop.kill();
    Ok(())
}

/// Received and lost.
fn events(readings: &Readings) -> (u64, u64) {
    let of = |metric: &Metric| {
        let found = readings.iter().find(|reading| std::ptr::eq(reading.metric, metric));
        found.map_or(0, |reading| match &reading.value {
            Value::U64(number) => *number,
            _ => 0,
        })
    };
    (of(CONNSCOPE_SOCKETS_EVENTS.metric()), of(CONNSCOPE_SOCKETS_EVENTS_LOST.metric()))
}
