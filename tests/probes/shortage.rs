//! What the agent itself lacks, a descriptor or a port, says nothing about the peer: the target stays as it was.

use super::pages::agent;
use super::{answer, fails, is_up, listen, settings, value, verdict};
use crate::support::{Kept, Namespace, eventually, sample};
use connscope::reading::{Reading, Readings};
use connscope::source::Source;
use connscope::source::probes::Probes;
use connscope::source::probes::fault::Fault;
use connscope::stop::Stop;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::io::Read;
use std::net::{SocketAddr, TcpStream};

/// The series of a metric, whatever its labels, of one target.
fn series(text: &str, metric: &str, target: &str) -> Vec<String> {
    let target = format!("probe_name=\"{target}\"");
    let of = |line: &&str| line.starts_with(&format!("{metric}{{")) && line.contains(&target);
    text.lines().filter(of).map(str::to_owned).collect()
}

#[test]
fn an_agent_without_descriptors_says_so_and_nothing_about_its_peers() {
    let (Some(namespace), Some(there)) = (Namespace::new(), Namespace::new()) else { return };
    let port = listen(&namespace, "127.0.0.1:0", drop).port();
    let far = listen(&there, "127.0.0.1:0", drop).port();
    let echo = answer(&namespace, "127.0.0.1:0", |bytes| Some(bytes.to_vec())).port();
    let targets = [
        format!("- {{name: near, host: 127.0.0.1, port: {port}}}\n"),
        format!("- {{name: far, host: 127.0.0.1, port: {far}, netns: {}}}\n", there.path()),
        format!("- {{name: echo, kind: udp, host: localhost, port: {echo}, all: true}}\n"),
    ];
    let names = ["near", "far", "echo"];
    let probes = format!(
        "interval: 100ms\non_request: {{enabled: true, networks: [127.0.0.0/8]}}\ntargets:\n{}",
        targets.concat()
    );
    let (agent, address, _dir) = agent(&namespace, &probes);
    let mut kept = Kept::new(namespace.inside(|| TcpStream::connect(address)).unwrap());
    let up = |text: &str| {
        names.iter().all(|name| {
            let series = series(text, "probe_up", name);
            !series.is_empty() && series.iter().any(|line| line.ends_with(" 1"))
        })
    };
    eventually("all are up", || up(&kept.get("/metrics")));
    let pid = Pid::from_raw(agent.pid().try_into().unwrap());
    // What it has open it keeps, and nothing comes in addition.
    let most = rustix::process::getrlimit(Resource::Nofile).maximum;
    let before = prlimit(pid, Resource::Nofile, Rlimit { current: Some(1), maximum: most }).unwrap();
    let lacking = |kept: &mut Kept, name: &str| {
        let history = kept.get(&format!("/probes?target={name}"));
        history.lines().nth(1).is_some_and(|line| {
            line.contains("not probed, the agent lacks a permission or resource")
                && line.contains("Too many open files")
        })
    };
    for name in names {
        eventually(&format!("{name} is not probed any more"), || lacking(&mut kept, name));
    }
    let metrics = ["probe_up", "probe_runs_total", "probe_duration_seconds_count", "probe_last_success_time"];
    let known = |text: &str| {
        let of = |name: &&str| metrics.map(|metric| series(text, metric, name)).concat();
        names.iter().flat_map(of).collect::<Vec<_>>()
    };
    let first = kept.get("/metrics");
    assert!(up(&first), "{first}");
    std::thread::sleep(std::time::Duration::from_secs(1));
    let second = kept.get("/metrics");
    assert_eq!(known(&first), known(&second), "turns that showed nothing count for nothing");
    assert!(!second.contains("error_type=\"_OTHER\""), "{second}");
    let source = |text: &str, series: &str| sample(text, &format!("{series}source=\"probes\"}}"));
    assert!(source(&second, "connscope_source_errors_total{reason=\"io\",") > Some(0.0), "{second}");
    let page = kept.get(&format!("/probe?target=127.0.0.1:{port}"));
    assert!(page.contains("the agent lacks a permission") && !page.contains("probe_success"), "{page}");
    prlimit(pid, Resource::Nofile, before).unwrap();
    for name in names {
        eventually(&format!("{name} is probed again"), || !lacking(&mut kept, name));
    }
    let errors = |text: &str| source(text, "connscope_source_errors_total{reason=\"io\",");
    eventually("the source has no failure any more", || {
        let (one, other) = (kept.get("/metrics"), kept.get("/metrics"));
        up(&other) && errors(&one) == errors(&other) && known(&one) != known(&first)
    });
}

/// One reading of every target's first turn, and what failed.
fn turn(namespace: &Namespace, targets: &str) -> (Vec<Reading>, String) {
    let settings = settings(&format!("timeout: 2s\ntargets:\n{targets}"));
    let stop = Stop::new().unwrap();
    let mut source = namespace.inside(|| Probes::once(&settings, &stop)).unwrap();
    let mut readings = Readings::default();
    source.read(&mut readings).unwrap();
    let (readings, failures) = readings.into_parts();
    let why = failures.iter().map(|failure| connscope::reading::chain(failure.error.as_ref()));
    (readings, why.collect())
}

#[test]
fn a_machine_without_ports_says_nothing_about_its_peers() {
    let Some(namespace) = Namespace::new() else { return };
    // The listeners come first: their ports are no part of the range, which is one port.
    let open = listen(&namespace, "127.0.0.1:0", |mut stream| {
        let _until_it_ends = stream.read(&mut [0]);
    });
    let open6 = listen(&namespace, "[::1]:0", |mut stream| {
        let _until_it_ends = stream.read(&mut [0]);
    });
    let echo = answer(&namespace, "127.0.0.1:0", |bytes| Some(bytes.to_vec())).port();
    namespace.run("sysctl", &["-q", "-w", "net.ipv4.ip_local_port_range=40000 40000"]);
    let connect = |to: SocketAddr| namespace.inside(move || TcpStream::connect(to)).unwrap();
    let _taken = [connect(open), connect(open6)];
    let _bound = namespace.inside(|| std::net::UdpSocket::bind("[::]:40000")).unwrap();
    let (port, port6) = (open.port(), open6.port());
    let (readings, why) = turn(
        &namespace,
        &format!(
            "- {{name: four, host: 127.0.0.1, port: {port}}}
- {{name: six, host: '::1', port: {port6}}}
- {{name: bound, host: 127.0.0.1, port: {port}, source: 127.0.0.1}}
- {{name: datagram, kind: udp, host: 127.0.0.1, port: {echo}}}
- {{name: other address, host: 127.0.0.1, port: {port}, source: 203.0.113.9}}
"
        ),
    );
    for name in ["four", "six", "bound", "datagram"] {
        assert_eq!(verdict(&readings, name), (None, None), "{name}: {why}");
        assert!(value(&readings, "probe.runs", name, &[]).is_none(), "{name}");
    }
    assert!(why.contains("the state of 4 targets is unchanged"), "{why}");
    fails(&readings, "other address", "_OTHER");
}

#[test]
fn a_machine_without_an_address_of_the_family_cannot_reach_its_peer() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run("sysctl", &["-q", "-w", "net.ipv6.conf.all.disable_ipv6=1"]);
    let port = listen(&namespace, "127.0.0.1:0", drop).port();
    let targets = format!(
        "- {{name: six, host: '::1', port: {port}}}\n- {{name: datagram, kind: udp, host: '::1', port: 1}}\n\
         - {{name: four, host: 127.0.0.1, port: {port}}}\n"
    );
    let (readings, why) = turn(&namespace, &targets);
    assert_eq!(why, "");
    fails(&readings, "six", "_OTHER");
    fails(&readings, "datagram", "_OTHER");
    is_up(&readings, "four");
}

#[test]
fn what_the_agent_lacks_is_told_from_what_the_peer_does() {
    let error = std::io::Error::from_raw_os_error;
    for number in [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS, libc::ENOSPC] {
        assert!(Fault::io("", &error(number)).local, "{}", error(number));
    }
    assert!(Fault::connecting("", &error(libc::EAGAIN)).local);
    for number in [libc::ECONNREFUSED, libc::EADDRNOTAVAIL, libc::EAGAIN, libc::ETIMEDOUT, libc::EPERM] {
        assert!(!Fault::io("", &error(number)).local, "{}", error(number));
    }
}
