//! The Collector goes away for a minute and comes back.

use crate::parity::{PULLED, PUSHED, equal_to_kernel};
use crate::readings::{scrape, sum, traffic};
use crate::stack::{Collector, Prometheus, agent, end, quiet_namespace};
use std::time::{Duration, Instant};

const AWAY: Duration = Duration::from_mins(1);

/// How long a scrape may take, whatever the push is doing.
const SCRAPE: Duration = Duration::from_secs(1);

#[test]
fn a_collector_that_is_away_for_a_minute_costs_two_lines_and_no_numbers() {
    let Some(namespace) = quiet_namespace() else { return };
    let prometheus = Prometheus::start(&namespace);
    let mut collector = Collector::start(&namespace);
    let mut agent = agent(&namespace, &["--interval", "1s"], &[]);
    traffic(&namespace, 1);
    equal_to_kernel(&prometheus, &namespace, &[PUSHED, PULLED]);

    collector.kill();
    let killed = Instant::now();
    agent.wait_for("cannot push over OTLP");
    traffic(&namespace, 2);
    let mut slowest = Duration::ZERO;
    while killed.elapsed() < AWAY {
        let started = Instant::now();
        let text = scrape(&namespace).unwrap();
        slowest = slowest.max(started.elapsed());
        assert!(text.contains("error_type=\"connection\""), "{text}");
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(slowest < SCRAPE, "a scrape took {slowest:?} while the Collector was away");
    traffic(&namespace, 3);

    let back = Instant::now();
    let _collector = Collector::start(&namespace);
    agent.wait_for("pushing over OTLP again");
    let numbers = equal_to_kernel(&prometheus, &namespace, &[PUSHED, PULLED]);
    assert_eq!(sum(&numbers, "conntrack_insert_total"), 15.0);
    println!("slowest scrape during the outage {slowest:?}, numbers right {:?} after it", back.elapsed());
    // Cumulative counters: what happened meanwhile is there, and nothing looks like a restart.
    for counter in ["conntrack_insert_total", "conntrack_invalid_total", "process_cpu_time_seconds_total"] {
        let resets = prometheus.query(&format!("resets({counter}{PUSHED}[10m])")).unwrap();
        assert!(!resets.is_empty(), "{counter} has no series");
        assert!(resets.iter().all(|sample| sample.value == 0.0), "{resets:#?}");
    }
    let log = end(agent);
    let about_pushing: Vec<&String> = log.iter().filter(|line| line.contains("over OTLP")).collect();
    let [first, gone, again] = about_pushing.as_slice() else {
        panic!("not three lines: {about_pushing:#?}")
    };
    assert_eq!(*first, "INFO pushing over OTLP");
    assert!(gone.starts_with("WARN cannot push over OTLP"), "{gone}");
    assert!(again.starts_with("INFO pushing over OTLP again"), "{again}");
    let loud = log.iter().filter(|line| !line.starts_with("INFO")).count();
    assert_eq!(loud, 1, "{log:#?}");
}
