//! Files: targets that come, change and go with them; hosts and resolv.conf; and what a configuration may not say.

use super::{read, settings, value};
use crate::support::{Namespace, eventually};
use connscope::metric::Value;
use connscope::reading::{Reading, Readings};
use connscope::source::Source;
use connscope::source::probes::Probes;
use connscope::source::probes::discovery::file_sd;
use connscope::source::probes::registry::Registry;
use connscope::source::probes::target::Target;
use connscope::stop::Stop;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[test]
fn targets_come_and_go_with_their_file_and_keep_what_is_known_of_them() {
    let Some(namespace) = Namespace::new() else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.yaml");
    let write = |text: &str| {
        // As an editor does, and Kubernetes: another file takes the place of the old one.
        std::fs::write(dir.path().join("new"), text).unwrap();
        std::fs::rename(dir.path().join("new"), &file).unwrap();
    };
    write("- targets: ['127.0.0.1:1', '[::1]:2']\n  labels: {site: north, __scrape_interval__: 100ms}\n");
    let settings = settings(&format!("refresh: 1s\nfiles: ['{}/*.yaml']\n", dir.path().display()));
    let stop = Stop::new().unwrap();
    let mut source = namespace.inside(|| Probes::start(&settings, &stop)).unwrap();
    let runs = |readings: &[_], name: &str, site: &str| {
        value(readings, "probe.runs", name, &[("site", site), ("outcome", "failure")])
    };
    eventually("both are probed", || {
        let readings = read(&mut source);
        runs(&readings, "127.0.0.1:1", "north") > Some(2.0) && runs(&readings, "[::1]:2", "north") > Some(2.0)
    });
    // One goes, one stays as it is, one comes.
    let before = runs(&read(&mut source), "127.0.0.1:1", "north");
    write(
        "- targets: ['127.0.0.1:1']\n  labels: {site: north, __scrape_interval__: 100ms}\n\
         - targets: ['127.0.0.1:3']\n  labels: {site: south}\n",
    );
    eventually("the third is probed", || runs(&read(&mut source), "127.0.0.1:3", "south").is_some());
    let readings = read(&mut source);
    assert!(runs(&readings, "127.0.0.1:1", "north") > before, "it goes on from where it was");
    assert!(runs(&readings, "[::1]:2", "north").is_none());
    // A file that is wrong changes nothing and is told, with its place.
    write("- targets: ['127.0.0.1:1']\n  lables: {}\n");
    let mut failed = || {
        let mut readings = Readings::default();
        source.read(&mut readings).unwrap();
        let (readings, failures) = readings.into_parts();
        assert!(runs(&readings, "127.0.0.1:3", "south").is_some());
        failures.iter().map(|failure| connscope::reading::chain(failure.error.as_ref())).collect::<Vec<_>>()
    };
    eventually("it is told", || {
        failed().iter().any(|why| why.contains("a.yaml:2:3: ") && why.contains("lables"))
    });
    std::fs::remove_file(&file).unwrap();
    eventually("all are gone", || {
        let mut readings = Readings::default();
        source.read(&mut readings).unwrap();
        let (readings, failures) = readings.into_parts();
        failures.is_empty() && readings.iter().all(|reading| reading.metric.name != "probe.up")
    });
}

#[test]
fn a_label_says_what_was_written() {
    let settings = settings(
        "targets: [{name: x, host: a, port: 1, labels: {country: no, version: 1.10, zone: 007, on: true, q: ''}}]",
    );
    let labels: Vec<_> =
        settings.targets[0].labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(labels, ["country=no", "on=true", "version=1.10", "zone=007"]);
    let text = "- targets: ['a:1']\n  labels: {country: no, version: 1.10, zone: 007, q: ''}\n";
    let labels = &file_sd::read(text, false, usize::MAX).map(|listed| listed.targets).unwrap()[0].labels;
    assert_eq!(format!("{labels:?}"), r#"{"country": "no", "version": "1.10", "zone": "007"}"#);
}

#[test]
fn what_is_over_the_limit_is_counted_and_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.json");
    std::fs::write(&file, r#"[{"targets": ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]}]"#).unwrap();
    let settings = settings(&format!("limit: 2\nfiles: ['{}']\n", file.display()));
    let mut source = Probes::start(&settings, &Stop::new().unwrap()).unwrap();
    let mut of = |metric: &str| {
        let readings = read(&mut source);
        readings.iter().find(|reading| reading.metric.name == metric).unwrap().value.clone()
    };
    eventually("two are taken", || of("connscope.probes.targets") == Value::I64(2));
    assert_eq!(of("connscope.probes.left_out"), Value::U64(1));
}

#[test]
fn targets_of_many_files_do_not_all_begin_at_once() {
    let Some(namespace) = Namespace::new() else { return };
    let (sender, begins) = std::sync::mpsc::channel();
    let port = super::listen(&namespace, "127.0.0.1:0", move |_| {
        let _ended = sender.send(Instant::now());
    })
    .port();
    let dir = tempfile::tempdir().unwrap();
    for number in 0..200 {
        let text = format!("- {{name: x{number}, host: 127.0.0.1, port: {port}}}\n");
        std::fs::write(dir.path().join(format!("{number}.yaml")), text).unwrap();
    }
    let settings =
        settings(&format!("interval: 1h\njitter: 0\nfiles: ['{}/*.yaml']\n", dir.path().display()));
    let stop = Stop::new().unwrap();
    let _source = namespace.inside(|| Probes::start(&settings, &stop)).unwrap();
    let next = || begins.recv_timeout(crate::support::PATIENCE).unwrap();
    let mut begins: Vec<Instant> = (0..200).map(|_| next()).collect();
    begins.sort_unstable();
    // Two seconds are theirs together; each on its own would have 10 ms.
    let early = begins.iter().filter(|begin| begin.duration_since(begins[0]) < Duration::from_millis(500));
    assert!(early.count() < 120);
}

#[test]
fn a_file_takes_no_longer_because_there_are_others() {
    let settings = settings("limit: 100000\nfiles: ['/x/*.yaml']\n");
    let registry = Registry::new(settings.max_targets());
    let began = Instant::now();
    for number in 0..50_000 {
        let name = format!("x{number}");
        let host = "h".to_owned();
        let target =
            connscope::source::probes::config::Target { name, host, port: Some(1), ..Default::default() };
        let target = Target::new(&Arc::new(target), &settings).unwrap();
        assert_eq!(registry.set(&format!("{number}"), vec![target]).added.len(), 1);
    }
    // Where all are gone through for each it takes a minute, and else two seconds.
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    let gone = (0..49_999).map(|number| registry.forget(&format!("{number}")).removed.len()).sum::<usize>();
    assert_eq!((gone, registry.entries().len()), (49_999, 1));
}

#[test]
fn a_fifo_is_no_list_of_targets_and_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let (fifo, file) = (dir.path().join("a.yaml"), dir.path().join("b.yaml"));
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    std::fs::write(&file, "- targets: ['127.0.0.1:1']\n").unwrap();
    let settings = settings(&format!("files: ['{}/*.yaml']\n", dir.path().display()));
    let mut source = Probes::start(&settings, &Stop::new().unwrap()).unwrap();
    eventually("it is told, and the file beside it is read", || {
        let (readings, why) = told(&mut source);
        why.len() == 1
            && why[0].contains("a.yaml: cannot be read: it is not a regular file")
            && value(&readings, "probe.up", "127.0.0.1:1", &[]).is_some()
    });
}

#[test]
fn a_target_that_moves_to_another_file_is_probed_on() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    let group = |place: &str| format!("- targets: ['127.0.0.1:{place}']\n  labels: {{name: x{place}}}\n");
    write("a.yaml", "[]");
    write("b.yaml", &format!("{}{}", group("1"), group("2")));
    let settings = settings(&format!("refresh: 1s\nlimit: 3\nfiles: ['{}/*.yaml']\n", dir.path().display()));
    let mut source = Probes::start(&settings, &Stop::new().unwrap()).unwrap();
    let mut there = |name: &str| value(&read(&mut source), "probe.up", name, &[]).is_some();
    eventually("it is probed", || there("x1") && there("x2"));
    // Into a file that is read before the one it was in, in two steps and at once; then what was there twice is there once.
    write("a.yaml", &group("1"));
    std::thread::sleep(Duration::from_secs(2));
    write("b.yaml", &group("2"));
    std::thread::sleep(Duration::from_secs(2));
    eventually("it is probed out of the other file", || there("x1") && there("x2"));
    write("c.yaml", &format!("{}{}{}", group("2"), group("3"), group("4")));
    eventually("a third comes, and no fourth", || there("x3") && !there("x4"));
    std::fs::remove_file(dir.path().join("a.yaml")).unwrap();
    eventually("there is room for the fourth", || there("x4") && there("x2") && !there("x1"));
    std::fs::remove_file(dir.path().join("b.yaml")).unwrap();
    eventually("what was there twice is there still", || there("x2") && there("x3") && there("x4"));
}

#[test]
fn an_empty_file_and_a_directory_that_cannot_be_looked_at_leave_the_targets_as_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let (link, file) = (dir.path().join("link"), dir.path().join("there/a.yaml"));
    std::fs::create_dir(dir.path().join("there")).unwrap();
    let point = |to: &str| {
        let _first = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(to, &link).unwrap();
    };
    point("there");
    let targets = "- targets: ['127.0.0.1:1']\n  labels: {name: x}\n";
    std::fs::write(&file, targets).unwrap();
    let settings = settings(&format!("refresh: 1s\nfiles: ['{}/*.yaml']\n", link.display()));
    let mut source = Probes::start(&settings, &Stop::new().unwrap()).unwrap();
    let mut now = || {
        let (readings, why) = told(&mut source);
        (value(&readings, "probe.up", "x", &[]).is_some(), why.concat())
    };
    eventually("it is probed", || now().0);
    std::fs::write(&file, "").unwrap();
    eventually("that it is empty is told", || now().1.contains("is empty"));
    assert!(now().0, "its target stays");
    std::fs::write(&file, targets).unwrap();
    eventually("it is well", || now() == (true, String::new()));
    point("link"); // a link to itself leads nowhere, for root as well
    eventually("that is told", || now().1.contains("cannot be searched"));
    assert!(now().0, "its target stays");
    point("there");
    eventually("it is well again", || now() == (true, String::new()));
    std::fs::remove_file(&link).unwrap(); // as a volume that is unmounted
    eventually("that is told, too", || now().1.contains("cannot be searched: No such file"));
    assert!(now().0, "its target stays");
    point("there");
    eventually("and is over", || now() == (true, String::new()));
    std::fs::write(&file, "[]").unwrap();
    eventually("an empty list is no target", || now() == (false, String::new()));
    std::fs::write(&file, targets).unwrap();
    eventually("it is probed again", || now() == (true, String::new()));
    std::fs::remove_file(&file).unwrap();
    eventually("a file that is gone takes its target along", || now() == (false, String::new()));
}

#[test]
fn a_file_is_read_again_until_the_other_file_that_its_targets_need_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    let target =
        format!("- {{name: x, kind: tls, host: 127.0.0.1, port: 1, tls: {{ca_file: {}}}}}\n", ca.display());
    std::fs::write(dir.path().join("a.yaml"), target).unwrap();
    let settings = settings(&format!("refresh: 1s\nfiles: ['{}/*.yaml']\n", dir.path().display()));
    let mut source = Probes::start(&settings, &Stop::new().unwrap()).unwrap();
    eventually("that it is not there is told", || told(&mut source).1.concat().contains("ca.pem"));
    std::fs::write(&ca, super::tls::authority().pem()).unwrap();
    eventually("it is probed", || {
        let (readings, why) = told(&mut source);
        why.is_empty() && value(&readings, "probe.up", "x", &[]).is_some()
    });
}

#[test]
fn a_file_that_is_too_long_is_refused_and_not_cut() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = b"- targets: ['127.0.0.1:1']\n# ".to_vec();
    text.resize((64 << 20) + 1, b'x');
    std::fs::write(dir.path().join("a.yaml"), &text).unwrap();
    let settings = settings(&format!("files: ['{}/*.yaml']\n", dir.path().display()));
    let mut source = Probes::start(&settings, &Stop::new().unwrap()).unwrap();
    eventually("it is told", || told(&mut source).1.concat().contains("it has more than 16 MiB"));
}

#[test]
fn a_directory_that_was_never_there_is_no_failure_and_one_that_was_is() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(&format!("refresh: 1s\nfiles: ['{}/not/*.yaml']\n", dir.path().display()));
    let mut source = Probes::start(&settings, &Stop::new().unwrap()).unwrap();
    let (not, file) = (dir.path().join("not"), dir.path().join("not/x.yaml"));
    eventually("they were looked for", || {
        told(&mut source).0.iter().any(|reading| reading.metric.name == "connscope.probes.targets")
    });
    assert!(told(&mut source).1.is_empty(), "nobody has put anything there yet");
    std::fs::create_dir(&not).unwrap();
    std::fs::write(&file, "- targets: ['127.0.0.1:1']\n").unwrap();
    eventually("it is there", || value(&told(&mut source).0, "probe.up", "127.0.0.1:1", &[]).is_some());
    std::fs::rename(&not, dir.path().join("away")).unwrap();
    eventually("it is told", || told(&mut source).1.concat().contains("not/*.yaml: cannot be searched"));
    let (readings, _) = told(&mut source);
    assert!(value(&readings, "probe.up", "127.0.0.1:1", &[]).is_some(), "its targets stay");
}

#[test]
fn a_file_that_is_refused_takes_nothing_from_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.yaml");
    let labels: Vec<String> = (0..70).map(|number| format!("only_here_{number}: x")).collect();
    std::fs::write(&file, format!("- targets: ['127.0.0.1:1']\n  labels: {{{}}}\n", labels.join(", ")))
        .unwrap();
    let settings = settings(&format!("refresh: 1s\nlimit: 2\nfiles: ['{}']\n", file.display()));
    let mut source = Probes::start(&settings, &Stop::new().unwrap()).unwrap();
    eventually("it is told", || told(&mut source).1.concat().contains("exceeds the limit of 64"));
    // What Prometheus sets itself is skipped, and what there is no room for is counted.
    let places: Vec<String> = (1..=5).map(|port| format!("'127.0.0.1:{port}'")).collect();
    let text = format!("- targets: [{}]\n  labels: {{only_here_69: x, job: y}}\n", places.join(", "));
    std::fs::write(&file, text).unwrap();
    eventually("it is taken", || {
        let (readings, why) = told(&mut source);
        let left_out = readings.iter().find(|reading| reading.metric.name == "connscope.probes.left_out");
        let known = value(&readings, "probe.up", "127.0.0.1:1", &[("only_here_69", "x")]);
        why.is_empty() && known.is_some() && left_out.is_some_and(|left_out| left_out.value == Value::U64(3))
    });
}

/// One reading, and what failed.
pub(super) fn told(source: &mut Probes) -> (Vec<Reading>, Vec<String>) {
    let mut readings = Readings::default();
    source.read(&mut readings).unwrap();
    let (readings, failures) = readings.into_parts();
    let why = failures.iter().map(|failure| connscope::reading::chain(failure.error.as_ref())).collect();
    (readings, why)
}
