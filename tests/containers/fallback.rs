//! Programs that cannot be loaded at first, and processes that only make a container ready.

use super::kernel::{LONG, server};
use super::lab::{Lab, sum, tcp};
use super::privileges::LISTEN;
use super::{file, value};
use crate::support::agent::Public;
use crate::support::{Agent, Kept, Namespace, eventually, get, scraped, skipped};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::net::TcpStream;
use std::process::Command;

fn descriptors(agent: &Agent, most: u64) {
    let pid = Pid::from_raw(agent.pid().cast_signed());
    let limit = Rlimit { current: Some(most), maximum: Some(4096) };
    prlimit(pid, Resource::Nofile, limit).unwrap();
}

#[test]
fn programs_that_found_no_room_at_first_are_loaded_later_and_take_over() {
    if !rustix::process::geteuid().is_root() {
        skipped("needs root to load programs");
        return;
    }
    let Some(namespace) = Namespace::new() else { return };
    // The names of the container are in the files of a lab.
    let Some(lab) = Lab::new(tcp(), LONG, 500) else { return };
    let port = server(Some(&namespace), "127.0.0.1:0");
    let mut container = lab.container("late", Some(&namespace));
    container.ok(&format!("connect one 127.0.0.1 {port}"));
    let file = file(&format!(
        "inventory: {{units: false, names: {{docker: [{}], kubelet: , containerd: [], crio: []}}}}\n\
         sources:\n  conntrack: {{enabled: false}}\n  sockets: {{enabled: false}}\n  network: {{enabled: false}}\n  \
         containers: {{enabled: true, tcp: {{loopback: true, fold_ports: none}}}}\n",
        lab.names().display()
    ));
    let mut agent = Agent::start(scraped(file.path()));
    let mut kept = Kept::new(TcpStream::connect(agent.address()).unwrap());
    // The agent has accepted it.
    kept.get("/-/healthy");
    let open = std::fs::read_dir(format!("/proc/{}/fd", agent.pid())).unwrap().count();
    // Enough for files that are read one after the other, too few for a score of maps.
    descriptors(&agent, open as u64 + 10);
    let mut scrape = || kept.get("/metrics");
    let via = |text: &str, part: &str, via: &str| {
        let labels = [format!("part=\"{part}\""), format!("via=\"{via}\"")];
        value(text, "connscope_containers_source", &[&labels[0], &labels[1]]) == Some(1.0)
    };
    let opened = |text: &str| {
        let labels = ["container_name=\"late\"", &format!("server_port=\"{port}\"")];
        value(text, "container_tcp_open_connections", &labels)
    };
    let mut text = String::new();
    // Where there are many network namespaces, those of other tests included, a cycle reads some of them.
    eventually("the connection is found", || {
        text = scrape();
        opened(&text) == Some(1.0)
    });
    assert!(via(&text, "tcp", "procfs") && !via(&text, "tcp", "bpf"), "{text}");
    // What nobody counts is absent.
    let of_late = text.lines().filter(|line| line.contains("container_name=\"late\""));
    let of_tcp = of_late
        .filter(|line| line.starts_with("container_tcp_") && !line.starts_with("container_tcp_listen"));
    let names: Vec<_> = of_tcp.filter_map(|line| line.split('{').next()).collect();
    assert_eq!(names, ["container_tcp_open_connections"], "{text}");
    descriptors(&agent, 1024);
    eventually("programs count", || via(&scrape(), "tcp", "bpf"));
    let text = scrape();
    assert!(via(&text, "delay", "bpf") && via(&text, "oom", "bpf") && !via(&text, "tcp", "procfs"), "{text}");
    assert_eq!(opened(&text), Some(1.0), "it is counted once: {text}");
    container.ok(&format!("connect two 127.0.0.1 {port}"));
    eventually("the second is open", || opened(&scrape()) == Some(2.0));
}

/// A cycle reads for half a second, which is enough for some 20 of them.
#[test]
fn network_namespaces_that_a_cycle_has_no_time_for_are_read_in_the_next_ones() {
    if !rustix::process::geteuid().is_root() {
        skipped("needs root to make control groups");
        return;
    }
    let namespaces: Vec<Namespace> = (0..60).map_while(|_| Namespace::new()).collect();
    let mut containers: Vec<_> = namespaces
        .iter()
        .map(|namespace| {
            let port = server(Some(namespace), "127.0.0.1:0");
            let mut container = Lab::unnamed(Some(namespace));
            container.ok(&format!("connect one 127.0.0.1 {port}"));
            container
        })
        .collect();
    let public = Public::new(
        "inventory: {units: false, names: {docker: [], kubelet: , containerd: [], crio: []}}\n\
         sources:\n  conntrack: {enabled: false}\n  sockets: {enabled: false}\n  network: {enabled: false}\n  \
         containers: {enabled: true, resources: false, volumes: false, tcp: {loopback: true, fold_ports: none}}\n",
    );
    let mut agent = Agent::start(public.nobody(&[], &LISTEN));
    let address = agent.address();
    let of_each: Vec<String> = containers
        .iter()
        .map(|container| {
            let id = container.directory.file_name().unwrap().to_str().unwrap();
            format!("container_id=\"{id}\"")
        })
        .collect();
    let open = || {
        let text = get(address, "/metrics").1;
        let of = |id: &String| value(&text, "container_tcp_open_connections", &[id]).unwrap_or_default();
        of_each.iter().map(of).filter(|open| *open > 0.0).count()
    };
    eventually("every namespace was read", || open() == 60);
    for container in &mut containers {
        container.ok("close one");
    }
    eventually("and again", || open() == 0);
}

#[test]
fn processes_of_runc_that_make_a_container_ready_are_no_first_process_that_is_restarted() {
    let Some(mut lab) = Lab::new(tcp(), LONG, 500) else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("init"), "sleep 600").unwrap();
    // Two containers whose first process goes when the second is there: of one it is called as runc is.
    let mut restarts = |program: &str, name: &str| {
        use std::os::unix::process::CommandExt;
        let mut container = lab.container(name, None);
        let group = container.directory.join("cgroup.procs");
        let into = |process: &std::process::Child| {
            std::fs::write(&group, process.id().to_string()).unwrap();
        };
        let mut command = Command::new("perl");
        let mut first = command.arg0(program).arg("init").current_dir(folder.path()).spawn().unwrap();
        eventually("it runs", || {
            let command = std::fs::read(format!("/proc/{}/cmdline", first.id())).unwrap();
            command == format!("{program}\0init\0").into_bytes()
        });
        into(&first);
        container.leave();
        lab.until("it is known", |series| sum(series, &["container.restarts", name]).is_some());
        // Times of start are told apart by hundredths of a second, and a walk serves for 100 ms.
        let a_while = std::time::Duration::from_millis(200);
        std::thread::sleep(a_while);
        let mut second = Command::new("sleep").arg("600").spawn().unwrap();
        into(&second);
        first.kill().unwrap();
        first.wait().unwrap();
        std::thread::sleep(a_while);
        let known = format!("container.uptime{{container.name={name}}}");
        lab.until("the second is known", |series| series.iter().any(|one| one.text == known));
        let restarts = sum(&lab.cycle(), &["container.restarts", name]);
        second.kill().unwrap();
        second.wait().unwrap();
        restarts
    };
    assert_eq!(restarts("runc", "made"), Some(0.0));
    assert_eq!(restarts("nginx", "other"), Some(1.0));
}
