//! Reading the configuration again: what changes, what goes on, what is refused, and that nothing is left behind.

use crate::support::authority::Authority;
use crate::support::receiver::{Received, Receiver, Speaks};
use crate::support::{Agent, PATIENCE, Script, command, connscope, eventually, get, request, sample};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An agent whose configuration is rewritten while it runs.
pub(super) struct Reloaded {
    pub(super) script: Script,
    pub(super) agent: Agent,
    pub(super) address: SocketAddr,
}

/// One target that nobody serves, under this name.
pub(super) fn target(name: &str) -> String {
    format!("probes: {{targets: [{{name: {name}, host: 127.0.0.1, port: 1}}]}}")
}

pub(super) fn yaml(conntrack: &str, sources: &str, export: &str) -> String {
    format!(
        "export: {{{export}}}\nsources: {{conntrack: {{via: command{conntrack}}}, sockets: {{enabled: false}}, {sources}}}\n"
    )
}

pub(super) const NO_PUSH: &str = "otlp: {protocol: none}, prometheus: {lifecycle: true}";

impl Reloaded {
    pub(super) fn start(config: &str, found: u32) -> Self {
        Self::start_with(config, found, |_| {})
    }

    pub(super) fn start_with(
        config: &str,
        found: u32,
        more: impl FnOnce(&mut std::process::Command),
    ) -> Self {
        let script = Script::new("cat $DIR/output");
        let file = script.file("connscope.yaml");
        std::fs::write(&file, config).unwrap();
        std::fs::write(script.file("output"), counts(found)).unwrap();
        let mut command = command(&["--listen", "127.0.0.1:0", "--config", file.to_str().unwrap()]);
        command.args(["--conntrack-command", &script.path()]);
        more(&mut command);
        let mut agent = Agent::start(command);
        let address = agent.address();
        Self { script, agent, address }
    }

    pub(super) fn write(&self, config: &str) {
        std::fs::write(self.script.file("connscope.yaml"), config).unwrap();
    }

    fn count(&self, found: u32) {
        std::fs::write(self.script.file("output"), counts(found)).unwrap();
    }

    pub(super) fn post(&self) -> (u16, String) {
        let (status, _, body) = request(self.address, "POST", "/-/reload");
        (status, body)
    }

    fn sample(&self, series: &str) -> Option<f64> {
        sample(&get(self.address, "/metrics").1, series)
    }

    fn found(&self) -> f64 {
        self.sample(r#"conntrack_found_total{cpu="0"}"#).unwrap()
    }
}

fn counts(found: u32) -> String {
    format!(
        "cpu=0 found={found} invalid=0 insert=0 insert_failed=0 drop=0 early_drop=0 error=0 search_restart=0\n"
    )
}

#[test]
fn a_source_with_the_same_settings_keeps_what_it_remembers() {
    let reloaded = Reloaded::start(&yaml("", &target("one"), NO_PUSH), u32::MAX - 1);
    assert_eq!(reloaded.found(), f64::from(u32::MAX - 1));
    reloaded.count(4);
    // Only a source that remembers knows that the counter of the kernel has wrapped.
    let unwrapped = 2f64.powi(32) + 4.0;
    assert_eq!(reloaded.found(), unwrapped);
    let has = |name: &str| get(reloaded.address, "/metrics").1.contains(&format!("=\"{name}\""));
    eventually("the first target is probed", || has("one"));
    reloaded.write(&yaml("", &target("two"), NO_PUSH));
    assert_eq!(reloaded.post(), (200, "changed sources.probes\n".to_owned()));
    assert_eq!(reloaded.found(), unwrapped, "conntrack goes on");
    eventually("the second target is probed", || has("two"));
    assert!(!has("one"), "the first is gone");
    reloaded.write(&yaml(", timeout: 3s", &target("two"), NO_PUSH));
    assert_eq!(reloaded.post(), (200, "changed sources.conntrack\n".to_owned()));
    assert_eq!(reloaded.found(), 4.0, "a source that was restarted remembers nothing");
    assert!(has("two"));
    assert_eq!(reloaded.post(), (200, "nothing has changed\n".to_owned()));
    reloaded.write(&yaml(", enabled: false", &target("two"), NO_PUSH));
    assert_eq!(reloaded.post().0, 200);
    let text = get(reloaded.address, "/metrics").1;
    assert!(!text.contains("conntrack_found") && !text.contains("source=\"conntrack\""), "{text}");
}

#[test]
fn a_bad_file_keeps_the_old_configuration_and_says_why() {
    let mut reloaded = Reloaded::start(&yaml("", "", NO_PUSH), 7);
    let success = "connscope_config_last_reload_success";
    let time = "connscope_config_last_reload_time_seconds";
    let started = reloaded.sample(time).unwrap();
    assert_eq!(reloaded.sample(success), Some(1.0));
    let authority = Authority::new();
    let (ended, key) = authority.sign_until("ended", 2020);
    let [ca, ended, key] = [authority.file(), ended, key].map(|path| path.display().to_string());
    let expired = format!(
        "export: {{otlp: {{endpoint: 'https://localhost:1', tls: {{ca_file: {ca}, cert_file: {ended}, key_file: {key}}}}}}}\n"
    );
    for (config, why) in [
        ("sources: {conntrack: {vai: command}}\n", "unknown field `vai`"),
        ("export: {otlp: {protocol: none}, prometheus: {naming: other}}\n", "unknown variant `other`"),
        ("{", "connscope.yaml:"),
        (
            "export: {otlp: {endpoint: 'https://localhost:1', tls: {ca_file: /nowhere/ca.pem}}}\n",
            "/nowhere/ca.pem: No such file",
        ),
        (&expired, "ended.pem: the certificate has expired at 2020-01-01T00:00:00Z: renew it"),
    ] {
        reloaded.write(config);
        let (status, body) = reloaded.post();
        assert_eq!((status, body.lines().count()), (500, 1), "{body}");
        assert!(body.contains(why), "{body}");
        reloaded.agent.wait_for("the configuration is refused, the previous one stays in effect");
        assert_eq!(reloaded.sample(success), Some(0.0));
        assert_eq!(reloaded.sample(time), Some(started));
        assert_eq!(reloaded.found(), 7.0);
    }
    let url = format!("http://{}", reloaded.address);
    let status = connscope(&["status", &url]);
    let said = String::from_utf8_lossy(&status.stdout);
    assert!(status.status.code() == Some(1) && said.contains("the last reload was refused"), "{status:?}");
    let file = reloaded.script.file("connscope.yaml");
    std::fs::remove_file(&file).unwrap();
    assert!(reloaded.post().1.contains("No such file"));
    // Nobody ever writes to it.
    rustix::fs::mkfifoat(rustix::fs::CWD, &file, 0o600.into()).unwrap();
    assert!(reloaded.post().1.contains("it is a named pipe"));
    std::fs::remove_file(&file).unwrap();
    reloaded.write(&yaml("", "", NO_PUSH));
    assert_eq!(reloaded.post(), (200, "nothing has changed\n".to_owned()));
    assert_eq!(reloaded.sample(success), Some(1.0));
    assert!(reloaded.sample(time).unwrap() > started);
    assert_eq!(connscope(&["status", &url]).status.code(), Some(0));
}

#[test]
fn names_and_hosts_of_the_endpoint_change_at_once() {
    let reloaded = Reloaded::start(&yaml("", "", NO_PUSH), 7);
    let classic =
        "otlp: {protocol: none}, prometheus: {lifecycle: true, naming: classic, hosts: [a.example]}";
    reloaded.write(&yaml("", "", classic));
    assert_eq!(reloaded.post(), (200, "changed export.prometheus\n".to_owned()));
    assert_eq!(reloaded.sample(r#"conntrack_found{cpu="0"}"#), Some(7.0));
    reloaded.write(&yaml("", "", "otlp: {protocol: none}"));
    assert_eq!(reloaded.post().0, 200);
    assert_eq!(reloaded.found(), 7.0);
    let (status, why) = reloaded.post();
    assert!(
        status == 403 && why.contains("--web.enable-lifecycle"),
        "the file does not allow it any more: {why}"
    );
}

#[test]
fn a_reload_over_http_is_off_by_default_and_never_for_web_pages() {
    let mut agent = super::scraped(&[]);
    let address = agent.address();
    let (status, _, why) = request(address, "POST", "/-/reload");
    assert!(status == 403 && why.contains("export.prometheus.lifecycle"), "{why}");
    let mut agent = super::scraped(&["--web.enable-lifecycle"]);
    let address = agent.address();
    let (status, head, _) = request(address, "GET", "/-/reload");
    assert!(status == 405 && head.to_lowercase().contains("allow: post, put"), "{head}");
    assert_eq!(request(address, "PUT", "/-/reload").0, 200);
    let (status, _, why) = request(address, "POST", "/-/reload HTTP/1.0\r\nOrigin: http://a.example\r\nX: ");
    assert!(status == 403 && why.contains("web page"), "{why}");
}

#[test]
fn a_signal_reloads_and_the_service_manager_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let next = || {
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let mut reloaded = Reloaded::start_with(&yaml("", "", NO_PUSH), 7, |command| {
        command.env("NOTIFY_SOCKET", &path);
    });
    assert!(next().starts_with("READY=1\n"));
    reloaded.write(&yaml(", timeout: 3s", "", NO_PUSH));
    reloaded.agent.signal(Signal::HUP);
    let mut said = next();
    while said.starts_with("STATUS=") {
        said = next();
    }
    let (reloading, since) = said.split_once('\n').unwrap();
    assert_eq!(reloading, "RELOADING=1");
    let since: u64 = since.strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = u64::try_from(now.tv_sec).unwrap() * 1_000_000;
    assert!(since <= now + 1_000_000 && since + 600_000_000 > now, "{since} {now}");
    let mut said = next();
    while said.starts_with("STATUS=") {
        said = next();
    }
    assert!(said.starts_with("READY=1\n"), "{said}");
    let line = reloaded.agent.wait_for("the configuration was reloaded");
    assert!(line.contains("changed sources.conntrack"), "{line}");
}

/// Start time of a sum, by the last message.
fn start_of(received: &[Arc<Received>], name: &str) -> Option<u64> {
    let metrics = &received.last()?.request.resource_metrics.first()?.scope_metrics.first()?.metrics;
    let metric = metrics.iter().find(|metric| metric.name == name)?;
    let Some(Data::Sum(sum)) = &metric.data else { return None };
    let starts: BTreeSet<u64> = sum.data_points.iter().map(|point| point.start_time_unix_nano).collect();
    assert!(starts.len() == 1, "{name}: {starts:?}");
    starts.first().copied()
}

/// Value and start of `conntrack.found`, by the last message.
fn pushed(receiver: &Receiver, from: usize) -> (u64, u64) {
    receiver.wait("conntrack.found", |received| {
        let received = received.get(from..)?;
        let metrics = &received.last()?.request.resource_metrics.first()?.scope_metrics.first()?.metrics;
        let metric = metrics.iter().find(|metric| metric.name == "conntrack.found")?;
        let Some(Data::Sum(sum)) = &metric.data else { return None };
        let Some(Value::AsInt(value)) = sum.data_points.first()?.value else { return None };
        Some((value.try_into().unwrap(), start_of(received, "conntrack.found")?))
    })
}

/// What the agent counts of itself, since the start of the process.
const OWN: [&str; 4] =
    ["process.cpu.time", "connscope.source.errors", "connscope.readings.left_out", "connscope.log.dropped"];

/// What is counted of an exporter, since there is that one.
const EXPORTED: &str = "otel.sdk.exporter.metric_data_point.exported";

#[test]
fn a_push_goes_to_another_receiver_and_what_is_counted_keeps_its_start() {
    let (first, second) = (Receiver::start(Speaks::Grpc), Receiver::start(Speaks::Grpc));
    let export = |receiver: &Receiver| {
        format!("otlp: {{endpoint: '{}', interval: 50ms}}, prometheus: {{lifecycle: true}}", receiver.url())
    };
    let reloaded = Reloaded::start(&yaml("", "", &export(&first)), 7);
    let (value, start) = pushed(&first, 0);
    assert_eq!(value, 7);
    let starts = |receiver: &Receiver, names: &[&str]| -> Vec<Option<u64>> {
        names.iter().map(|name| start_of(&receiver.received(), name)).collect()
    };
    let own = starts(&first, &OWN);
    assert!(own.iter().all(|one| one.is_some() && *one == own[0] && *one < Some(start)), "{own:?} {start}");
    let exporter = starts(&first, &[EXPORTED]);
    reloaded.count(9);
    reloaded.write(&yaml("", "", &export(&second)));
    assert_eq!(reloaded.post(), (200, "changed export.otlp\n".to_owned()));
    assert_eq!(pushed(&second, 0), (9, start), "another provider, the same source");
    assert_eq!(starts(&second, &OWN), own);
    let other = starts(&second, &[EXPORTED]);
    assert!(other > exporter, "another receiver is counted from 0: {other:?} {exporter:?}");
    let silent = first.received().len();
    // More targets are other limits, so that the provider is another one; the source of the counter is the same.
    reloaded.write(&yaml("", &format!("{}, ", target("one")), &export(&second)));
    assert_eq!(reloaded.post().0, 200);
    assert_eq!(pushed(&second, second.received().len()), (9, start));
    assert_eq!(starts(&second, &OWN), own);
    assert_eq!(starts(&second, &[EXPORTED]), other, "the exporter counts on");
    reloaded.write(&yaml(", timeout: 3s", &target("one"), &export(&second)));
    assert_eq!(reloaded.post().0, 200);
    let (_, later) = pushed(&second, second.received().len() + 1);
    assert!(later > start, "a source that was restarted counts from now on");
    assert_eq!(first.received().len(), silent, "nothing goes to the first any more");
}

#[test]
fn what_a_source_reports_that_a_reload_enables_is_pushed() {
    let receiver = Receiver::start(Speaks::Grpc);
    let export =
        format!("otlp: {{endpoint: '{}', interval: 50ms}}, prometheus: {{lifecycle: true}}", receiver.url());
    let reloaded = Reloaded::start(&yaml("", "", &export), 7);
    assert_eq!(pushed(&receiver, 0).0, 7);
    reloaded.write(&yaml("", &format!("{}, ", target("one")), &export));
    assert_eq!(reloaded.post().0, 200);
    receiver.wait("connscope.probes.targets", |received| {
        let resources = &received.last()?.request.resource_metrics;
        let metrics = &resources.first()?.scope_metrics.first()?.metrics;
        metrics.iter().any(|metric| metric.name == "connscope.probes.targets").then_some(())
    });
}

#[test]
fn the_last_push_before_a_larger_limit_has_the_series_of_the_old_one() {
    let receiver = Receiver::start(Speaks::Grpc);
    // Each is a group, and ports are a quarter of the limit at most.
    let listen = |port| TcpListener::bind((Ipv4Addr::new(127, 0, 0, 77), port)).unwrap();
    let listeners: Vec<_> = (3500..3600).map(listen).collect();
    let yaml = |limit: u32| {
        let otlp = format!("otlp: {{endpoint: '{}', interval: 1s, jitter: 0s}}", receiver.url());
        let sockets = format!("limit: {limit}, group_by: [service_port], close_events: false");
        format!(
            "export: {{{otlp}, prometheus: {{lifecycle: true}}}}\nsources: {{conntrack: {{enabled: false}}, sockets: {{{sockets}}}}}\n"
        )
    };
    let series = |received: &Arc<Received>| -> Option<usize> {
        let metrics = &received.request.resource_metrics.first()?.scope_metrics.first()?.metrics;
        let metric = metrics.iter().find(|metric| metric.name == "tcp.listen.queue.limit")?;
        let Some(Data::Sum(sum)) = &metric.data else { panic!("{metric:?}") };
        Some(sum.data_points.len())
    };
    let reloaded = Reloaded::start(&yaml(20), 7);
    receiver.wait("what fits", |received| (series(received.last()?)? <= 21).then_some(()));
    reloaded.write(&yaml(500));
    assert_eq!(reloaded.post(), (200, "changed sources.sockets\n".to_owned()));
    receiver.wait("all of them", |received| (series(received.last()?)? >= listeners.len()).then_some(()));
    for one in receiver.received() {
        assert!(!format!("{:?}", one.request).contains("otel.metric.overflow"), "{:?}", series(&one));
    }
}

#[test]
fn a_push_with_other_settings_begins_within_an_interval_and_one_with_the_same_when_the_next_was_due() {
    const INTERVAL: Duration = Duration::from_secs(5);
    let receiver = Receiver::start(Speaks::Grpc);
    let export = |jitter: &str| {
        let otlp = format!("endpoint: '{}', interval: 5s, jitter: {jitter}", receiver.url());
        format!("otlp: {{{otlp}}}, prometheus: {{lifecycle: true}}")
    };
    let config = |sources: &str, jitter: &str| {
        yaml("", sources, &export(jitter)) + "resource: {cloud: {detect: off}}\n"
    };
    let reloaded = Reloaded::start(&config("", "0s"), 7);
    let arrived = |place: usize| receiver.nth(place).at;
    let first = arrived(0);
    let reload = |sources: &str, jitter: &str| {
        reloaded.write(&config(sources, jitter));
        assert_eq!(reloaded.post().0, 200);
        Instant::now()
    };
    // More targets are other limits, for which the push is another one.
    let at = reload(&format!("{}, ", target("one")), "0s");
    assert!(arrived(1) < at && at < first + INTERVAL, "the last cycle of the old one");
    let (due, second) = (first + INTERVAL, arrived(2));
    let off = second.saturating_duration_since(due) + due.saturating_duration_since(second);
    // One that began at once would be off by almost all of it.
    assert!(off < INTERVAL / 2, "{off:?}");
    let at = reload(&format!("{}, ", target("one")), "24h");
    assert!(arrived(3) < at);
    assert!(arrived(4) < at + INTERVAL * 2);
}

#[test]
fn reloads_that_come_together_share_one_and_all_are_answered() {
    let reloaded = Reloaded::start(&yaml("", "", NO_PUSH), 7);
    reloaded.write(&yaml(", timeout: 3s", "", NO_PUSH));
    let answers: Vec<(u16, String)> = std::thread::scope(|scope| {
        let posts: Vec<_> = (0..100).map(|_| scope.spawn(|| reloaded.post())).collect();
        posts.into_iter().map(|post| post.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    reloaded.agent.log.wait("changed sources.conntrack");
    let lines = reloaded.agent.log.all();
    let reloads = lines.iter().filter(|line| line.contains("the configuration was reloaded")).count();
    assert!((1..=100).contains(&reloads), "{reloads}");
    assert_eq!(lines.iter().filter(|line| line.contains("changed sources.conntrack")).count(), 1);
}
