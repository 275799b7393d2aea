//! What happens at the same time, and what nobody takes: the kernel's half alone, read as the source reads it.

use super::kernel::{CONNECTIONS, LONG, OPEN, closing, server};
use super::lab::{Lab, alone, sum, tcp};
use crate::support::{maps, skipped};
use connscope::source::containers::config::tcp::Tcp;
use connscope::source::containers::kernel::records::{ConnectionId, Destination, Totals};
use connscope::source::containers::kernel::{AnswerMaps, Kernel, Limits, ProgramSelection, Ring};
use std::net::TcpListener;

/// What the kernel has counted of connections to a port.
pub(super) fn totals_at(kernel: &Kernel, port: u16) -> Totals {
    let mut sum = Totals::default();
    let add = |key: Destination, totals: Totals| {
        if key.requested.port() == port {
            sum = sum.plus(&totals);
        }
    };
    kernel.destinations(add).unwrap();
    sum
}

/// The programs for TCP; translations are asked for, and nobody answers.
fn load(translate: bool) -> Option<(Kernel, AnswerMaps, Ring)> {
    if !rustix::process::geteuid().is_root() {
        skipped("needs root to load programs");
        return None;
    }
    let limits = Limits { destinations: 8000, connections: 65_536, loopback: true, translate, netns: 0 };
    let _alone = alone();
    let wanted = ProgramSelection { tcp: Some(limits), immediate_failures: false, delay: false, oom: false };
    Some(Kernel::load(&wanted).unwrap())
}

#[test]
fn a_connection_that_ends_on_one_cpu_while_it_is_looked_at_on_another_is_counted_once() {
    let Some(lab) = Lab::new(tcp(), LONG, 500) else { return };
    let Some((mut kernel, _answers, _ring)) = load(false) else { return };
    // As with several agents on the machine: what theirs take is between our program and the change that it is told of.
    let _others: Vec<_> = (0..6).map(|_| load(false)).collect();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // One after the other, as they come.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ended = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    let mut container = lab.container("races", None);
    let talk = std::thread::spawn(move || container.tell(&format!("talk 127.0.0.1 {port} 20000 7")));
    while !talk.is_finished() {
        kernel.look_at_open().unwrap();
    }
    assert_eq!(talk.join().unwrap(), "ok");
    kernel.look_at_open().unwrap();
    let totals = totals_at(&kernel, port);
    let ended = totals.closed + totals.reset;
    let seen = (totals.opened, ended, totals.open, totals.sent);
    // A program that an interrupt runs within itself is skipped by the kernel, which counts that as lost.
    assert_eq!(seen, (20_000, 20_000, 0, 140_000), "{:?}", kernel.numbers());
}

#[test]
fn a_connection_whose_establishment_was_missed_is_counted_by_its_end_or_by_the_next_cycle() {
    let Some(mut lab) = Lab::new(tcp(), LONG, 500) else { return };
    let port = server(None, "127.0.0.1:0");
    let mut container = lab.container("unseen", None);
    for name in ["one", "two"] {
        container.ok(&format!("connect {name} 127.0.0.1 {port}"));
    }
    let of = |event| [CONNECTIONS, "name=unseen", event];
    lab.sees(&[(&of("event=opened"), 2.0), (&[OPEN, "name=unseen"], 2.0)]);
    // As if the program had not been run for either: they are connecting, and counted nowhere.
    let connections = maps::named(&lab.maps, "connections");
    for key in connections.keys() {
        let mut value = connections.read(&key).unwrap_or_default();
        if value.get(40..42) == Some(&port.to_be_bytes()) {
            value[48..56].fill(0);
            connections.write(&key, &value);
        }
    }
    container.ok("close one");
    let series = lab.sees(&[(&of("event=opened"), 4.0), (&of("event=closed"), 1.0)]);
    assert_eq!(sum(&series, &of("event=failed")), None, "{series:#?}");
}

#[test]
fn answers_that_no_connection_takes_leave_the_map_at_the_second_sweep() {
    let Some(mut lab) = Lab::new(tcp(), LONG, 500) else { return };
    let Some((_kernel, mut answers, mut ring)) = load(true) else { return };
    let port = server(None, "127.0.0.1:0");
    let mut container = lab.container("asks", None);
    container.ok(&format!("connect one 127.0.0.1 {port}"));
    lab.sees(&[(&[OPEN, "name=asks"], 1.0)]);
    let connection = std::iter::from_fn(|| ring.take()).find_map(|event| {
        use connscope::source::containers::kernel::records::Event;
        match event {
            Event::Established(told) if told.requested.port() == port => Some(told.connection),
            _ => None,
        }
    });
    let (connection, nobody) = (connection.unwrap(), ConnectionId { socket: 8, started: 9 });
    let got = "10.0.0.1:80".parse().unwrap();
    assert!(answers.answer(connection, got) && answers.answer(nobody, got));
    // The end of a connection may be on its way, so the first sweep leaves them.
    answers.sweep().unwrap();
    assert_eq!(answers.withdraw(nobody), Some(got));
    assert!(answers.answer(nobody, got));
    answers.sweep().unwrap();
    assert_eq!(answers.withdraw(nobody), None);
    assert_eq!(answers.withdraw(connection), Some(got), "its connection is open and may take it");
}

#[test]
fn connections_of_a_container_without_room_in_the_inventory_are_left_out_and_counted_as_that() {
    let settings = Tcp { translate: true, ..tcp() };
    let Some(mut lab) = Lab::new(settings, LONG, 1) else { return };
    let port = server(None, "127.0.0.1:0");
    // The room is taken by one of these, or by one of another test.
    let (mut a, mut b) = (lab.container("a", None), lab.container("b", None));
    a.ok(&format!("many 127.0.0.1 {port} 40"));
    b.ok(&format!("many 127.0.0.1 {port} 40"));
    let at = format!("server.port={port}");
    lab.until("all are counted, there or as left out", |series| {
        let opened = sum(series, &[CONNECTIONS, &at, "event=opened"]).unwrap_or_default();
        let left_out = sum(series, &["left_out{key=connection}"]).unwrap_or_default();
        opened <= 40.0 && left_out >= 80.0 - opened
    });
}

#[test]
fn a_hundred_thousand_connections_are_counted_to_the_last_one_in_the_memory_of_the_maps() {
    let Some(mut lab) = Lab::new(tcp(), LONG, 500) else { return };
    let port = closing("127.0.0.1:0");
    let containers: Vec<_> = (0..4).map(|place| lab.container(&format!("flood-{place}"), None)).collect();
    std::thread::scope(|scope| {
        for mut container in containers {
            scope.spawn(move || container.ok(&format!("many 127.0.0.1 {port} 25000")));
        }
    });
    // Which end is the first to close is chance.
    let series = lab.until("all are counted", |series| {
        let of = |event| sum(series, &[CONNECTIONS, "name=flood-", event]).unwrap_or_default();
        (of("event=opened"), of("event=closed") + of("event=reset")) == (100_000.0, 100_000.0)
    });
    assert_eq!(sum(&series, &[OPEN, "name=flood-"]), Some(0.0));
    let memory = sum(&series, &["kernel.memory.usage"]).unwrap();
    assert!(memory < 24.0 * 1024.0 * 1024.0, "{memory} bytes of maps");
}
