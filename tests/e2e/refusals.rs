//! A receiver that refuses: every way of it shows in `otel.sdk.exporter.*` on the pull endpoint and as one line in the
//! log, leaks nothing, and keeps no scrape waiting.
//!
//! What the Collector cannot be made to do, a receiver in this process does; what it can (its limit of 4 MiB a
//! message, its memory limiter), it does itself.

use crate::endurance::{Sample, sample};
use crate::readings::{exported, exports, scrape};
use crate::stack::{Collector, Prometheus, agent, agent_with, end, quiet_namespace, until};
use crate::support::receiver::{Behaviour, Receiver, Speaks, Status};
use crate::support::{Agent, Namespace, Script};
use connscope::export::encode::pack::MAX_BYTES;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// How long a scrape may take, whatever the push is doing.
const SCRAPE: Duration = Duration::from_secs(1);

/// One way to refuse.
struct Refusal {
    name: &'static str,
    behaviour: Behaviour,
    /// `error.type`
    error: &'static str,
    /// What the log says.
    said: &'static str,
}

fn refusals(speaks: Speaks) -> [Refusal; 4] {
    let (status, exhausted) = match speaks {
        Speaks::Grpc => (Status::Grpc(tonic::Code::ResourceExhausted), "RESOURCE_EXHAUSTED"),
        Speaks::Http => (Status::Http(429), "429"),
    };
    [
        Refusal {
            name: "rejects data points",
            behaviour: Behaviour::Partial { rejected: 3, message: "too old" },
            error: "rejected",
            said: "rejects data points: rejected 3 of",
        },
        Refusal {
            name: "is exhausted",
            behaviour: Behaviour::Refuse { status, message: "come back later", retry_after: None },
            error: exhausted,
            said: "come back later",
        },
        Refusal {
            name: "never answers",
            behaviour: Behaviour::Hang,
            error: "timeout",
            said: "\"error.type\":\"timeout\"",
        },
        Refusal {
            name: "hangs up",
            behaviour: Behaviour::Close,
            error: "connection",
            said: "cannot push over OTLP",
        },
    ]
}

/// Most that the allocated memory may grow over all refusals, in bytes. They are some dozen cycles and the first of their
/// kind; that nothing is forgotten cycle by cycle is for `endurance`.
const MOST_GROWTH: f64 = 2.0 * 1024.0 * 1024.0;

/// What the agent holds when nothing is under way: of each the least of many looks.
fn held(agent: &Agent) -> Sample {
    let looks = (0..100).map(|_| {
        std::thread::sleep(Duration::from_millis(5));
        sample(agent.pid(), 0.0)
    });
    looks
        .reduce(|least, look| Sample {
            anonymous: least.anonymous.min(look.anonymous),
            files: least.files.min(look.files),
            threads: least.threads.min(look.threads),
            ..least
        })
        .unwrap()
}

fn every_refusal_is_seen_and_gone_again(speaks: Speaks) {
    let Some(namespace) = quiet_namespace() else { return };
    let receiver = namespace.inside(|| Receiver::start(speaks));
    let protocol = if speaks == Speaks::Grpc { "grpc" } else { "http/protobuf" };
    let variables = [("OTEL_EXPORTER_OTLP_TIMEOUT", "500")];
    let url = receiver.url();
    let arguments = ["--interval", "100ms", "--otlp-endpoint", &url, "--otlp-protocol", protocol];
    let mut agent = agent(&namespace, &arguments, &variables);
    agent.wait_for("pushing over OTLP");
    let before = held(&agent);
    let mut slowest = Duration::ZERO;
    for refusal in refusals(speaks) {
        receiver.behave(refusal.behaviour);
        let line = agent.wait_for("\"WARN\"");
        assert!(line.contains(refusal.said), "{}: {line}", refusal.name);
        // Some more of the same is not said again.
        let mut seen_inflight = false;
        until(refusal.name, || {
            let started = Instant::now();
            let text = scrape(&namespace)?;
            slowest = slowest.max(started.elapsed());
            seen_inflight |= inflight(&text) > 0.0;
            let told = exported(&text, Some(refusal.error));
            let failed = exports(&text, Some(refusal.error));
            if told > 0.0 && failed >= 4.0 { Ok(()) } else { Err(format!("{told} points, {failed} exports")) }
        });
        assert!(seen_inflight || refusal.error != "timeout", "what hangs is in flight");
        receiver.behave(Behaviour::Accept);
        agent.wait_for("pushing over OTLP again");
    }
    assert!(slowest < SCRAPE, "a scrape took {slowest:?}");
    until("what hung is over", || {
        let left = inflight(&scrape(&namespace)?);
        if left == 0.0 { Ok(()) } else { Err(format!("{left} data points in flight")) }
    });
    let after = held(&agent);
    println!("{protocol}: slowest scrape {slowest:?}; before {before:?}, after {after:?}");
    assert!(after.files <= before.files, "open files: {before:?}, then {after:?}");
    assert!(after.threads <= before.threads, "threads: {before:?}, then {after:?}");
    assert!(after.anonymous - before.anonymous < MOST_GROWTH, "allocated memory: {before:?}, then {after:?}");
    let log = end(agent);
    let warnings = log.iter().filter(|line| line.starts_with("WARN")).count();
    let again = log.iter().filter(|line| line.contains("pushing over OTLP again")).count();
    assert_eq!((warnings, again), (4, 4), "{log:#?}");
}

fn inflight(exposition: &str) -> f64 {
    exposition
        .lines()
        .find(|line| line.starts_with("otel_sdk_exporter_metric_data_point_inflight{"))
        .and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .unwrap()
}

#[test]
fn refusals_over_grpc_are_seen_and_nothing_leaks_or_stalls() {
    every_refusal_is_seen_and_gone_again(Speaks::Grpc);
}

#[test]
fn refusals_over_http_are_seen_and_nothing_leaks_or_stalls() {
    every_refusal_is_seen_and_gone_again(Speaks::Http);
}

/// CPUs in the answer of [`large`]'s program: the most series of one metric that are always allowed.
const CPUS: u32 = 1024;

/// An agent with more to say than fits into one message: the counters of 1024 CPUs in a namespace with a long name.
/// The folder and the program go with it.
fn large(namespace: &Namespace) -> (Agent, Script) {
    let script = Script::new("cat $DIR/output");
    let words = "found invalid ignore insert insert_failed drop early_drop error search_restart clash_resolve \
                 chaintoolong searched new delete delete_list expect_new expect_create expect_delete";
    let mut output = String::new();
    for cpu in 0..CPUS {
        let pairs: Vec<String> = words.split_ascii_whitespace().map(|word| format!("{word}={cpu}")).collect();
        writeln!(output, "cpu={cpu}   \t{} ", pairs.join(" ")).unwrap();
    }
    std::fs::write(script.file("output"), output).unwrap();
    let name = script.file(&"n".repeat(250));
    std::os::unix::fs::symlink(namespace.path(), &name).unwrap();
    let config = script.file("agent.yaml");
    let text = format!(
        "sources: {{conntrack: {{via: command, command: {}, netns: [{}]}}}}\n",
        script.path(),
        name.display()
    );
    std::fs::write(&config, text).unwrap();
    (agent_with(namespace, &config, &["--interval", "2s"], &[]), script)
}

#[test]
fn what_is_larger_than_a_message_may_be_arrives_in_several() {
    let Some(namespace) = quiet_namespace() else { return };
    let prometheus = Prometheus::start(&namespace);
    let _collector = Collector::start(&namespace);
    let (agent, _script) = large(&namespace);
    until("Prometheus holds the counters of every CPU", || {
        let query = "sum by (__name__) ({__name__=~\"conntrack_.*_total\",job=\"connscope\",netns!=\"\"})";
        let sums = prometheus.query(query)?;
        let expected = f64::from(CPUS * (CPUS - 1) / 2);
        match sums.iter().filter(|sum| sum.value == expected).count() {
            18 => Ok(()),
            right => Err(format!("{right} of 18 are right: {sums:#?}")),
        }
    });
    // Every data point carries its own labels, so it takes at least the bytes of this one.
    let counts = "count by (netns) ({__name__=~\"conntrack_.*_total\",job=\"connscope\",netns!=\"\"})";
    let counts = prometheus.query(counts).unwrap();
    let [points] = counts.as_slice() else { panic!("one namespace: {counts:?}") };
    let least = points.value * f64::from(u32::try_from(points.label("netns").len()).unwrap());
    let most = f64::from(u32::try_from(MAX_BYTES).unwrap());
    println!("one collection has more than {least} bytes, a message at most {most}");
    assert!(least > most, "{least} bytes may be one message");
    let log = end(agent);
    assert!(log.iter().all(|line| line.starts_with("INFO")), "{log:#?}");
}

#[test]
fn a_collector_that_takes_smaller_messages_refuses_visibly() {
    refused_by_the_collector(
        "yaml:receivers::otlp::protocols::grpc::max_recv_msg_size_mib: 1",
        "RESOURCE_EXHAUSTED",
        "larger than max",
    );
}

#[test]
fn a_collector_short_of_memory_refuses_visibly() {
    refused_by_the_collector(
        "yaml:processors::memory_limiter: {check_interval: 1s, limit_mib: 1}",
        "UNAVAILABLE",
        "memory",
    );
}

fn refused_by_the_collector(overlay: &str, error: &str, said: &str) {
    let Some(namespace) = quiet_namespace() else { return };
    let _collector = Collector::start_with(&namespace, Some(overlay), &[]);
    let (mut agent, _script) = large(&namespace);
    let line = agent.wait_for("cannot push over OTLP");
    assert!(line.contains(error) && line.contains(said), "{line}");
    let mut slowest = Duration::ZERO;
    until("the pull endpoint tells of two refusals", || {
        let started = Instant::now();
        let text = scrape(&namespace)?;
        slowest = slowest.max(started.elapsed());
        let (well, told) = (exported(&text, None), exported(&text, Some(error)));
        if exports(&text, Some(error)) >= 2.0 && told > f64::from(CPUS) {
            return Ok(());
        }
        Err(format!("{told} data points refused, {well} taken"))
    });
    assert!(slowest < SCRAPE, "a scrape took {slowest:?}");
    let log = end(agent);
    assert_eq!(log.iter().filter(|line| line.starts_with("WARN")).count(), 1, "{log:#?}");
}
