//! What happens at the same time, and what nobody takes: the kernel's half alone, read as the source reads it.

use super::kernel::{CONNECTIONS, LONG, OPEN, closing, server};
use super::lab::{Lab, alone, sum, tcp};
use crate::support::skipped;
use connscope::source::containers::config::tcp::Tcp;
use connscope::source::containers::kernel::records::ConnectionId;
use connscope::source::containers::kernel::{Answers, Kernel, Limits, Ring, Wanted};
use std::net::TcpListener;

/// The programs for TCP; translations are asked for, and nobody answers.
fn load(translate: bool) -> Option<(Kernel, Answers, Ring)> {
    if !rustix::process::geteuid().is_root() {
        skipped("needs root to load programs");
        return None;
    }
    let limits = Limits { destinations: 8000, connections: 65_536, loopback: true, translate, netns: 0 };
    let _alone = alone();
    let wanted = Wanted { tcp: Some(limits), immediate_failures: false, delay: false, oom: false };
    Some(Kernel::load(&wanted).unwrap())
}

#[test]
#[ignore = "counts to the last connection, so .ci/test runs it when no other test makes any"]
fn a_connection_that_ends_on_one_cpu_while_it_is_looked_at_on_another_is_counted_once() {
    let Some(lab) = Lab::new(tcp(), LONG, 500) else { return };
    let Some((mut kernel, _answers, _ring)) = load(false) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // One after the other, as they come.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ended = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    let mut container = lab.container("races", None);
    let talk = std::thread::spawn(move || container.tell(&format!("talk 127.0.0.1 {port} 5000 7")));
    while !talk.is_finished() {
        kernel.look_at_open().unwrap();
    }
    assert_eq!(talk.join().unwrap(), "ok");
    kernel.look_at_open().unwrap();
    let (mut opened, mut ended, mut open, mut sent) = (0, 0, 0_u32, 0);
    kernel
        .destinations(|key, totals| {
            if key.requested.port() == port {
                opened += totals.opened;
                ended += totals.closed + totals.reset;
                open = open.wrapping_add(totals.open);
                sent += totals.sent;
            }
        })
        .unwrap();
    assert_eq!((opened, ended, open, sent), (5000, 5000, 0, 35_000));
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
#[ignore = "counts to the last connection, so .ci/test runs it when no other test makes any"]
fn a_hundred_thousand_connections_are_counted_to_the_last_one_in_the_memory_of_the_maps() {
    let Some(mut lab) = Lab::new(tcp(), LONG, 500) else { return };
    let port = closing("127.0.0.1:0");
    let mut container = lab.container("flood", None);
    container.ok(&format!("many 127.0.0.1 {port} 100000"));
    // Which end is the first to close is chance.
    let series = lab.until("all are counted", |series| {
        let of = |event| sum(series, &[CONNECTIONS, "name=flood", event]).unwrap_or_default();
        (of("event=opened"), of("event=closed") + of("event=reset")) == (100_000.0, 100_000.0)
    });
    assert_eq!(sum(&series, &[OPEN, "name=flood"]), Some(0.0));
    let memory = sum(&series, &["kernel.memory.usage"]).unwrap();
    assert!(memory < 24.0 * 1024.0 * 1024.0, "{memory} bytes of maps");
}
