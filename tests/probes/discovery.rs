//! Targets that come from names: SRV records and addresses, as their answers change.

use super::names::reply;
use super::{answer, listen, read, settings, value};
use crate::support::{Namespace, eventually};
use connscope::reading::Readings;
use connscope::source::Source;
use connscope::source::probes::Probes;
use connscope::stop::Stop;
use simple_dns::{Packet, RCODE};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn targets_come_from_services_of_the_dns_and_go_with_them() {
    let Some(namespace) = Namespace::new() else { return };
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let server = answer(&namespace, "127.0.0.1:0", move |question| {
        let text = String::from_utf8_lossy(question).into_owned();
        // The service is gone the third time.
        if text.contains("_x") && count.fetch_add(1, Ordering::Relaxed) >= 2 {
            let packet = Packet::parse(question).ok()?;
            let mut gone = packet.into_reply();
            *gone.rcode_mut() = RCODE::NameError;
            return gone.build_bytes_vec().ok();
        }
        reply(question)
    });
    let settings = settings(&format!(
        "interval: 100ms
refresh: 1s
nameservers: ['{server}']
dns: [{{names: [_x._tcp.test], record: srv, target: {{kind: tcp, labels: {{from: dns}}}}}}]
"
    ));
    let stop = Stop::new().unwrap();
    let mut source = namespace.inside(|| Probes::start(&settings, &stop)).unwrap();
    let mut known = |port: &str| {
        let labels = [("server.port", port), ("server.address", "four.test"), ("from", "dns")];
        value(&read(&mut source), "probe.up", "_x._tcp.test", &labels)
    };
    eventually("both are probed", || known("1001") == Some(0.0) && known("1002") == Some(0.0));
    eventually("both are gone", || known("1001").is_none() && known("1002").is_none());
}

#[test]
fn targets_of_a_name_are_made_when_its_answers_change_and_hold_nobody_up() {
    let Some(namespace) = Namespace::new() else { return };
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, super::tls::authority().pem()).unwrap();
    // How often it was asked, and what it says: two services in another order each time, nothing, or one service.
    let (asked, says) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (count, now) = (Arc::clone(&asked), Arc::clone(&says));
    let server = answer(&namespace, "127.0.0.1:0", move |question| {
        let bytes = reply(question)?;
        let mut packet = Packet::parse(&bytes).ok()?;
        if String::from_utf8_lossy(question).contains("_x") {
            let times = count.fetch_add(1, Ordering::Relaxed);
            match now.load(Ordering::Relaxed) {
                0 if times % 2 == 0 => packet.answers.reverse(),
                0 => {}
                1 => *packet.rcode_mut() = RCODE::ServerFailure,
                _ => packet.answers.truncate(1),
            }
        }
        packet.build_bytes_vec().ok()
    });
    let port = listen(&namespace, "127.0.0.1:0", drop).port();
    let settings = settings(&format!(
        "interval: 100ms
refresh: 1s
nameservers: ['{server}']
targets: [{{name: other, host: 127.0.0.1, port: {port}}}]
dns: [{{names: [_x._tcp.test], record: srv, target: {{kind: tls, tls: {{ca_file: {}}}}}}}]
",
        ca.display()
    ));
    let stop = Stop::new().unwrap();
    let mut source = namespace.inside(|| Probes::start(&settings, &stop)).unwrap();
    let mut look = || {
        let mut readings = Readings::default();
        source.read(&mut readings).unwrap();
        let (readings, failures) = readings.into_parts();
        let known =
            |port: &str| value(&readings, "probe.up", "_x._tcp.test", &[("server.port", port)]).is_some();
        let runs = value(&readings, "probe.runs", "other", &[("outcome", "success")]);
        (known("1001"), known("1002"), failures.len(), runs)
    };
    let is = |(one, other, failed, _): &(bool, bool, usize, Option<f64>), failures| {
        *one && *other && *failed == failures
    };
    eventually("both are probed", || is(&look(), 0));
    // Without its file no target can be made: so none is, while the answers are the same.
    std::fs::remove_file(&ca).unwrap();
    let before = asked.load(Ordering::Relaxed);
    eventually("it is asked again", || asked.load(Ordering::Relaxed) > before + 2);
    assert!(is(&look(), 0), "the same answers stand for the same targets");
    says.store(1, Ordering::Relaxed);
    eventually("that nobody answers is told", || is(&look(), 1));
    says.store(0, Ordering::Relaxed);
    eventually("the same answers are well again", || is(&look(), 0));
    // A FIFO is not opened, as nobody may ever write to it: that is told, and holds nobody up.
    assert!(std::process::Command::new("mkfifo").arg(&ca).status().unwrap().success());
    says.store(2, Ordering::Relaxed);
    let before = asked.load(Ordering::Relaxed);
    eventually("it is asked again", || asked.load(Ordering::Relaxed) > before);
    let before = look().3;
    eventually("the other target is probed on", || look().3 > before.map(|runs| runs + 20.0));
    eventually("that it is not a file is told", || is(&look(), 1));
    std::fs::remove_file(&ca).unwrap();
    std::fs::write(&ca, super::tls::authority().pem()).unwrap();
    eventually("one of the two is gone", || {
        let (one, other, failed, _) = look();
        one != other && failed == 0
    });
}
