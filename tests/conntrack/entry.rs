//! Messages with entries, recorded and made up.

use super::fixtures::{bytes, every};
use connscope::netlink::Progress;
use connscope::source::conntrack::entries::message::{Counters, Entry, Family, Filter, Mark, parse, status};
use connscope::source::conntrack::entries::protocol;

const RECORDED: [&str; 2] = ["entries/linux-6.18.1.bin", "entries/linux-6.18.2.bin"];

fn entries(datagram: &[u8]) -> (Vec<Entry>, Progress) {
    let mut entries = Vec::new();
    let progress = parse(datagram, 1, |entry| entries.push(*entry)).unwrap();
    (entries, progress)
}

/// One direction as `conntrack -L` prints it.
fn direction(entry: &Entry, reply: bool) -> String {
    let tuple = if reply { entry.reply } else { entry.original };
    let address = |address: Option<std::net::IpAddr>| address.unwrap().to_string();
    let (source, destination) = (address(tuple.source), address(tuple.destination));
    format!("{source} {} {destination} {}", tuple.source_port, tuple.destination_port)
}

fn line(entry: &Entry) -> String {
    let protocol = entry.original.protocol;
    let state = entry.state.and_then(|state| protocol::state(protocol, state)).unwrap_or("-".into());
    format!(
        "{} {state} {} | {} | zone {} mark {}",
        protocol::name(protocol),
        direction(entry, false),
        direction(entry, true),
        entry.zone,
        entry.mark
    )
}

#[test]
fn recorded_entries_are_read_as_conntrack_printed_them() {
    let (found, progress) = entries(&bytes(RECORDED[0]));
    assert_eq!(progress, Progress::More);
    assert_eq!(entries(&bytes(RECORDED[1])), (Vec::new(), Progress::Done));
    let mut lines: Vec<String> = found.iter().map(line).collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "253 - 127.0.0.1 0 127.0.0.66 0 | 127.0.0.66 0 127.0.0.1 0 | zone 0 mark 0",
            "icmpv6 - ::1 1 ::1 0 | ::1 1 ::1 0 | zone 0 mark 0",
            "sctp closed 127.0.0.1 4096 127.0.0.66 8192 | 127.0.0.66 8192 127.0.0.1 4096 | zone 0 mark 0",
            "tcp established 127.0.0.1 51884 127.0.0.1 2121 | 127.0.0.1 2121 127.0.0.1 51884 | zone 0 mark 0",
            "tcp established ::1 57358 ::1 9400 | ::1 9400 ::1 57358 | zone 0 mark 0",
            "udp - 127.0.0.1 35998 127.0.0.66 9100 | 127.0.0.66 9101 127.0.0.1 35998 | zone 0 mark 0",
            "udp - 127.0.0.1 49696 127.0.0.66 7007 | 127.0.0.66 7007 127.0.0.1 49696 | zone 7 mark 0",
            "udp - 127.0.0.1 59438 127.0.0.66 9000 | 127.0.0.66 9000 127.0.0.9 40040 | zone 0 mark 33",
        ]
    );
    let tcp6 = found.iter().find(|entry| entry.family == Family::Ipv6 && entry.state.is_some()).unwrap();
    let counters = [Counters { packets: 3, bytes: 229 }, Counters { packets: 2, bytes: 152 }];
    assert_eq!(tcp6.counters, Some(counters));
    assert_eq!(tcp6.status & status::ASSURED, status::ASSURED);
    // Recorded on 2026-11-26, in nanoseconds; the time-out of five days had just begun.
    let day = tcp6.started.unwrap() / 86_400_000_000_000;
    assert_eq!(day, 20_783);
    assert!((431_990..=432_000).contains(&tcp6.timeout.unwrap()));
    let translated = |bit| found.iter().filter(|entry| entry.status & bit != 0).count();
    assert_eq!((translated(status::SRC_NAT), translated(status::DST_NAT)), (1, 1));
}

#[test]
fn every_beginning_of_a_recording_is_read_or_refused() {
    for file in every("entries", ".bin") {
        let datagram = bytes(&file);
        for length in 0..datagram.len() {
            let _whichever = parse(&datagram[..length], 1, |_| ());
        }
    }
}

#[test]
fn the_kernel_is_asked_for_the_entries_of_the_filter_only() {
    if cfg!(target_endian = "big") {
        return;
    }
    // As the conntrack tool sends it for `-L`.
    let all = [20, 0, 0, 0, 1, 1, 1, 3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(Filter::default().request(1), all);
    let mark = Some(Mark { value: 0x121, mask: 0xff });
    let filter = Filter { family: Some(Family::Ipv6), zone: Some(7), mark };
    let attributes =
        [8, 0, 8, 0, 0, 0, 0, 0x21, 8, 0, 21, 0, 0, 0, 0, 0xff, 6, 0, 18, 0, 0, 7, 0, 0].as_slice();
    let mut expected = [44, 0, 0, 0, 1, 1, 1, 3, 1, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0].to_vec();
    expected.extend(attributes);
    assert_eq!(filter.request(1), expected);
}

#[test]
fn an_old_kernel_that_ignores_the_filter_changes_nothing() {
    let (found, _) = entries(&bytes(RECORDED[0]));
    let count = |filter: Filter| found.iter().filter(|entry| filter.matches(entry)).count();
    let all = Filter::default();
    assert_eq!(count(all), 8);
    assert_eq!(count(Filter { family: Some(Family::Ipv6), ..all }), 2);
    assert_eq!(count(Filter { zone: Some(7), ..all }), 1);
    assert_eq!(count(Filter { zone: Some(0), ..all }), 7);
    assert_eq!(count(Filter { mark: Some(Mark { value: 0x21, mask: 0xff }), ..all }), 1);
    assert_eq!(count(Filter { mark: Some(Mark { value: 1, mask: 1 }), ..all }), 1);
}

#[test]
fn protocols_and_states_without_a_name_are_numbers() {
    assert_eq!(&*protocol::name(89), "89");
    assert_eq!(&*protocol::name(136), "udplite");
    assert_eq!(protocol::state(6, 99).as_deref(), Some("99"));
    assert_eq!(protocol::state(17, 1), None);
}

#[test]
fn marks_are_read_as_the_conntrack_tool_takes_them() {
    let mark = |text: &str| serde_json::from_value::<Mark>(text.into()).map_err(|error| error.to_string());
    assert_eq!(mark("0x10"), Ok(Mark { value: 16, mask: u32::MAX }));
    assert_eq!(mark("16/0xff"), Ok(Mark { value: 16, mask: 255 }));
    assert_eq!(serde_json::from_str::<Mark>("16").unwrap(), Mark { value: 16, mask: u32::MAX });
    for wrong in ["", "0x", "0x+1", "1/", "/1", "4294967296", "-1", "1/2/3"] {
        assert!(mark(wrong).is_err(), "{wrong}");
    }
}
