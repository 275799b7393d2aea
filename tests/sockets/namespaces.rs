//! Several network namespaces at once: by name, by path, all of them, those that come and those that go.

use super::{Numbers, OUTGOING, Probe, close, connection, listener, send, settings};
use crate::support::{Namespace, eventually, skipped};
use connscope::metric::label::Reason;
use connscope::reading::{Readings, chain};
use connscope::source::Source;
use connscope::source::sockets::Sockets;
use connscope::stop::Stop;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use std::process::Command;
use std::time::{Duration, Instant};

/// A connection in a namespace, and the label of what is counted there.
fn netns(namespace: &Namespace) -> String {
    format!("netns={}", namespace.path())
}

fn up(numbers: &Numbers, netns: &str) -> Option<f64> {
    let labels = [netns, "source=sockets"];
    numbers.series("connscope.netns.up", &labels).map(|(_, value)| value).next()
}

#[test]
fn namespaces_are_read_at_once_each_with_its_name() {
    let Some(first) = Namespace::new() else { return };
    let second = Namespace::new().unwrap();
    let names = [netns(&first), netns(&second)];
    let mut probe = Probe::new(&format!("netns: ['{}', '{}', /nowhere/ns]", first.path(), second.path()));
    let pairs = [&first, &second].map(|namespace| {
        namespace.inside(|| {
            let listener = listener("127.0.0.1:4000");
            (connection(&listener, "127.0.0.1:4000"), listener)
        })
    });
    let numbers = probe.read();
    let reasons: Vec<_> =
        probe.failed.iter().map(|failure| (failure.part.as_str(), failure.error.reason())).collect();
    assert_eq!(reasons, [("/nowhere/ns", Reason::Absent)]);
    for name in &names {
        assert_eq!(up(&numbers, name), Some(1.0));
        assert_eq!(numbers.state("established", &[name]), 2.0);
        assert_eq!(numbers.state("listen", &[name]), 1.0);
        assert_eq!(numbers.sum("tcp.open_connections", &[name]), 2.0);
        let states = numbers.series("system.network.connection.count", &[name]).count();
        assert_eq!(states, 25, "every state of each");
    }
    assert_eq!(up(&numbers, "netns=/nowhere/ns"), Some(0.0));
    // The events too are of the namespace they come from.
    first.inside(|| {
        for _ in 0..3 {
            let mut pair = connection(&pairs[0].1, "127.0.0.1:4000");
            send(&mut pair.0, &mut pair.1, 10);
            close(pair);
        }
    });
    let numbers = probe.until("three are over", |numbers| numbers.became("closed", &[OUTGOING]) == 3.0);
    assert_eq!(numbers.events(&[&names[0]]), [6.0, 6.0, 0.0, 0.0]);
    assert_eq!(numbers.events(&[&names[1]]), [0.0; 4]);
    assert_eq!(numbers.io(&[&names[0], OUTGOING]), [30.0, 3.0]);
    assert_eq!(numbers.sum("connscope.sockets.tracked", &[]), 6.0);
}

#[test]
fn one_that_goes_ends_with_its_series_and_one_that_comes_is_found() {
    let Some(stays) = Namespace::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("later");
    let later = link.display().to_string();
    let goes = Namespace::new().unwrap();
    // A veth pair ends with the namespace of either end, so the peer tells whether the other namespace is gone.
    goes.run("ip", &["link", "add", "left", "type", "veth", "peer", "name", "right"]);
    let target = stays.path();
    goes.run("ip", &["link", "set", "right", "netns", &target]);
    // The number of its descriptor is somebody else's as soon as it is gone.
    let path = folder.path().join("goes");
    std::os::unix::fs::symlink(goes.path(), &path).unwrap();
    let gone = path.display().to_string();
    let mut probe = Probe::new(&format!("netns: ['{gone}', '{}', '{later}']", stays.path()));
    let pair = goes.inside(|| connection(&listener("127.0.0.1:4000"), "127.0.0.1:4000"));
    let names = [format!("netns={gone}"), netns(&stays), format!("netns={later}")];
    let numbers = probe.read();
    assert_eq!(numbers.sum("tcp.open_connections", &[&names[0]]), 2.0);
    assert_eq!(up(&numbers, &names[2]), Some(0.0));
    drop(pair); // sockets hold a namespace, too
    drop(goes);
    std::fs::remove_file(&path).unwrap();
    // The next cycle does not find it any more, and lets it go: then nobody has it.
    let numbers = probe.read();
    for metric in ["tcp.connections", "tcp.open_connections", "system.network.connection.count"] {
        assert_eq!(numbers.series(metric, &[&names[0]]).count(), 0, "{metric}");
    }
    assert_eq!(up(&numbers, &names[0]), Some(0.0), "it is asked for by name");
    assert_eq!(up(&numbers, &names[1]), Some(1.0));
    eventually("the namespace is gone while the source lives on", || {
        !stays.run("ip", &["-o", "link"]).contains("right")
    });
    let comes = Namespace::new().unwrap();
    std::os::unix::fs::symlink(comes.path(), &link).unwrap();
    let pair = comes.inside(|| connection(&listener("127.0.0.1:4000"), "127.0.0.1:4000"));
    let numbers = probe.read();
    assert_eq!(up(&numbers, &names[2]), Some(1.0));
    assert_eq!(numbers.sum("tcp.open_connections", &[&names[2]]), 2.0);
    assert_eq!(numbers.became("opened", &[&names[2]]), 0.0, "they were there before us");
    drop(pair);
}

#[test]
fn all_are_found_by_their_processes_and_by_their_names() {
    let Some(namespace) = Namespace::new() else { return };
    let mut sleeper = namespace.inside(|| Command::new("sleep").arg("100").spawn().unwrap());
    let pair = namespace.inside(|| connection(&listener("127.0.0.1:4000"), "127.0.0.1:4000"));
    let by_inode = format!("netns=net:[{}]", namespace.inode());
    let mut probe = Probe::new("{netns: [all], limit: 10000}");
    let numbers = probe.read();
    let (before, established) = (up(&numbers, &by_inode), numbers.state("established", &[&by_inode]));
    // One that has a name goes by it.
    let name = format!("connscope-test-{}", std::process::id());
    let attached = Command::new("ip").args(["netns", "attach", &name, &sleeper.id().to_string()]).output();
    let named = attached.is_ok_and(|output| output.status.success()).then(|| {
        let by_name = format!("netns={name}");
        let numbers = Probe::new("{netns: [all], limit: 10000}").read();
        Command::new("ip").args(["netns", "delete", &name]).output().unwrap();
        (up(&numbers, &by_name), up(&numbers, &by_inode), numbers.state("established", &[&by_name]))
    });
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    assert_eq!((before, established), (Some(1.0), 2.0));
    match named {
        Some(named) => assert_eq!(named, (Some(1.0), None, 2.0)),
        None => skipped("network namespaces cannot be given names here"),
    }
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(up(&numbers, &format!("netns={}", own.display())), Some(1.0), "the agent's own is among them");
    let numbers = probe.read();
    assert_eq!(up(&numbers, &by_inode), None, "what is gone has no series");
    assert_eq!(numbers.series("tcp.connections", &[&by_inode]).count(), 0);
    drop(pair);
}

/// A namespace that is deleted lasts as long as the agent's sockets in it, and the next cycle may be far away.
#[test]
fn one_that_is_deleted_is_let_go_while_nobody_collects() {
    let Some(stays) = Namespace::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    for close_events in [true, false] {
        let goes = Namespace::new().unwrap();
        // A veth pair ends with the namespace of either end.
        goes.run("ip", &["link", "add", "left", "type", "veth", "peer", "name", "right"]);
        goes.run("ip", &["link", "set", "right", "netns", &stays.path()]);
        let path = folder.path().join(format!("goes-{close_events}"));
        std::os::unix::fs::symlink(goes.path(), &path).unwrap();
        let path = path.display().to_string();
        let mut probe = Probe::new(&format!("{{netns: ['{path}'], close_events: {close_events}}}"));
        let numbers = probe.read();
        assert_eq!(up(&numbers, &format!("netns={path}")), Some(1.0));
        assert_eq!(numbers.sum("connscope.netns.open", &["source=sockets"]), 1.0);
        // What happens in it meanwhile does not delay the check.
        std::thread::sleep(Duration::from_secs(3));
        goes.inside(|| close(connection(&listener("127.0.0.1:4000"), "127.0.0.1:4000")));
        drop(goes);
        std::fs::remove_file(&path).unwrap();
        let deleted = Instant::now();
        eventually("the namespace is gone though the source was not asked again", || {
            !stays.run("ip", &["-o", "link"]).contains("right")
        });
        let held = deleted.elapsed();
        assert!(held < Duration::from_millis(4500), "{held:?}: three seconds of the five were over");
    }
}

#[test]
fn without_the_privilege_to_enter_any_the_reason_is_denied() {
    let Some(namespace) = Namespace::new() else { return };
    let yaml = format!("netns: ['{}']", namespace.path());
    let denied = std::thread::spawn(move || {
        let none = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
            .unwrap();
        let mut source = Sockets::new(&settings(&yaml), &Stop::new().unwrap()).unwrap();
        source.read(&mut Readings::default()).unwrap_err()
    });
    let error = denied.join().unwrap();
    assert_eq!(
        (error.reason(), error.capability()),
        (Reason::Denied, Some("CAP_SYS_ADMIN")),
        "{}",
        chain(&error)
    );
    let mut source = Sockets::new(&settings("netns: ['/nowhere/*']"), &Stop::new().unwrap()).unwrap();
    let error = source.read(&mut Readings::default()).unwrap_err();
    assert_eq!(error.reason(), Reason::Absent);
    assert!(chain(&error).ends_with("none matches /nowhere/*"), "{}", chain(&error));
}
