//! What events cost: CPU time of whoever opens connections, without a listener and with one, and of the thread that counts.

use super::{FASTEST, Outcome, SECONDS, destination, enter_own_namespace, report, track};
use connscope::metric::Value;
use connscope::reading::Readings;
use connscope::source::conntrack::entries::dump::cpu_time;
use connscope::source::conntrack::events::listener::Listener;
use connscope::source::conntrack::events::totals::Totals;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Connections a second.
const RATES: [u32; 2] = [10_000, FASTEST];
/// Pairs of runs, without events and with them, of which the fastest count.
const PAIRS: usize = 3;
/// Pause between two looks at the socket, as in the agent.
const TOGETHER: Duration = Duration::from_millis(10);

/// What one run found.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// Connections a second.
    rate: f64,
    /// CPU time of the sender for a connection, of the kernel included, nanoseconds.
    sender: f64,
    /// CPU time of the thread that counts in each second, milliseconds.
    counter: f64,
    received: f64,
    lost: f64,
}

pub(super) fn measure() -> Outcome<()> {
    for rate in RATES {
        let mut best: [Option<Run>; 2] = [None; 2];
        for _ in 0..PAIRS {
            for (best, counted) in best.iter_mut().zip([false, true]) {
                let run = std::thread::spawn(move || run(rate, counted).map_err(|error| error.to_string()));
                let run = run.join().map_err(|_| "the thread has panicked")??;
                if best.is_none_or(|best| run.sender < best.sender) {
                    *best = Some(run);
                }
            }
        }
        let [Some(without), Some(with)] = best else { return Err("no run".into()) };
        println!("{rate} new connections a second wanted, {:.0} made", with.rate);
        report("CPU time of the sender for a connection, no events", without.sender, "ns", None);
        report("  with events", with.sender, "ns", None);
        report("  events, for a connection", with.sender - without.sender, "ns", None);
        report("CPU time of the thread that counts, in a second", with.counter, "ms", None);
        report("events received", with.received, "", None);
        report("events lost", with.lost, "", Some(0.0));
    }
    Ok(())
}

/// Opens connections at a rate, in a namespace of its own.
fn run(rate: u32, counted: bool) -> Outcome<Run> {
    enter_own_namespace()?;
    let socket = track()?;
    let mut listener = counted.then(Listener::open).transpose()?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let counting = scope.spawn(|| {
            let mut totals = Totals::default();
            let started = cpu_time();
            while let Some(listener) = &mut listener {
                let last = over.load(Ordering::Relaxed);
                listener.drain(&mut totals);
                if last {
                    break;
                }
                std::thread::sleep(TOGETHER);
            }
            (totals, cpu_time().saturating_sub(started))
        });
        let sent = send(rate, |number| Ok(socket.send_to(b"x", destination(number)?).map(drop)?));
        over.store(true, Ordering::Relaxed);
        let (totals, counter) = counting.join().map_err(|_| "the thread has panicked")?;
        let (sender, took) = sent?;
        let mut readings = Readings::default();
        totals.observe(&[], &mut readings);
        let value = |name: &str| {
            let reading = readings.iter().find(|reading| reading.metric.name == name);
            match reading.map(|reading| &reading.value) {
                Some(Value::U64(value)) => u32::try_from(*value).map_or(f64::INFINITY, f64::from),
                _ => f64::NAN,
            }
        };
        let connections = f64::from(rate * SECONDS);
        Ok(Run {
            rate: connections / took.as_secs_f64(),
            sender: sender.as_secs_f64() * 1e9 / connections,
            counter: counter.as_secs_f64() * 1e3 / took.as_secs_f64(),
            received: value("conntrack.events"),
            lost: value("connscope.conntrack.events.lost"),
        })
    })
}

/// Calls `one` so many times a second, a thousandth of them in each millisecond. Returns the CPU time, and the time.
fn send(rate: u32, mut one: impl FnMut(u32) -> Outcome<()>) -> Outcome<(Duration, Duration)> {
    let (started, cpu) = (Instant::now(), cpu_time());
    for millisecond in 0..1000 * SECONDS {
        let due = started + Duration::from_millis(millisecond.into());
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let each = rate / 1000;
        (0..each).try_for_each(|number| one(millisecond * each + number))?;
    }
    Ok((cpu_time().saturating_sub(cpu), started.elapsed()))
}
