//! Counters of the network path: which a kernel sends, and how they wrap.

use super::{Attribution, Family, GroupBy, HERE, Record, State, Tracked};
use connscope::metric::Value;
use connscope::reading::Readings;
use connscope::source::sockets::diag;
use connscope::source::sockets::tcp_info::TcpInfo;
use std::collections::BTreeMap;
use std::path::Path;

/// The metrics of the path, each with the length of the `tcp_info` of the first release that has its field.
const NEEDS: [(&str, usize); 9] = [
    ("tcp.path_mtu", 104),
    ("tcp.stalled_connections", 104),
    ("tcp.segments.ecn_marked", 200),
    ("tcp.retransmits.spurious", 224),
    ("tcp.segments.reordered", 224),
    ("tcp.segments.out_of_order", 232),
    ("tcp.zero_window_connections", 232),
    ("tcp.retransmission_timeouts", 248),
    ("tcp.retransmission_timeout.time", 248),
];

/// What the groups say of these metrics.
fn observed(tracked: &Tracked) -> BTreeMap<&'static str, f64> {
    let mut found = BTreeMap::new();
    for group in tracked.tracker.groups.iter() {
        let mut readings = Readings::default();
        group.totals.observe(&group.labels, true, &mut readings);
        for reading in readings.iter() {
            let Some((name, _)) = NEEDS.iter().find(|(name, _)| *name == reading.metric.name) else {
                continue;
            };
            #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
            let value = match reading.value {
                Value::U64(value) => value as f64,
                Value::I64(value) => value as f64,
                Value::F64(value) => value,
                Value::Distribution(_) => panic!("{name}"),
            };
            *found.entry(*name).or_default() += value;
        }
    }
    found
}

fn record(tcp: TcpInfo<'_>) -> Record<'_> {
    let [local, peer] = ["10.0.0.1:50000", "10.0.0.2:80"].map(|address| address.parse().unwrap());
    Record { cookie: 1, inode: 1, tcp: Some(tcp), ..Record::new(Family::V4, State::Established, local, peer) }
}

/// One cycle with this connection.
fn dump(tracked: &mut Tracked, record: &Record<'_>) -> BTreeMap<&'static str, f64> {
    tracked.begin();
    tracked.tracker.update(HERE, record, &Attribution::default(), tracked.now);
    tracked.end();
    tracked.tracker.sweep(tracked.now);
    observed(tracked)
}

fn dump_nothing(tracked: &mut Tracked) -> BTreeMap<&'static str, f64> {
    tracked.dump(&[]);
    observed(tracked)
}

fn needing(length: usize) -> Vec<&'static str> {
    let mut names: Vec<_> =
        NEEDS.iter().filter(|(_, needs)| *needs <= length).map(|(name, _)| *name).collect();
    names.sort_unstable();
    names
}

/// Passes a recorded connection to `take`, with its `tcp_info`.
fn recorded(file: &str, take: &mut dyn FnMut(&Record<'_>, &[u8])) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sock_diag").join(file);
    let bytes = std::fs::read(path).unwrap();
    let sequence = u32::from_ne_bytes(*bytes[8..].first_chunk().unwrap());
    diag::parse(&bytes, sequence, |record| take(record, record.tcp.unwrap().bytes())).unwrap();
}

fn names(record: &Record<'_>) -> Vec<&'static str> {
    let mut tracked = Tracked::started(&[GroupBy::Direction], 100);
    dump(&mut tracked, record).into_keys().collect()
}

#[test]
fn a_field_that_a_kernel_does_not_send_is_absent() {
    for (file, length) in [
        ("linux-4.9-tcp-info-168-ipv4.bin", 168),
        ("linux-4.19-tcp-info-224.bin", 224),
        ("linux-5.4-tcp-info-232.bin", 232),
        ("linux-6.18-ipv4-bbr.bin", 280),
    ] {
        let mut sockets = 0;
        recorded(file, &mut |record, info| {
            sockets += 1;
            assert_eq!(info.len(), length, "{file}");
            assert_eq!(names(record), needing(length), "{file}");
            // As long as it was in other releases: 2.6, 4.9, 4.10, 4.18, 4.19, 5.4, 6.2, 6.7.
            for cut in [104, 168, 192, 200, 224, 232, 240, 248] {
                let cut = cut.min(length);
                let older = Record { tcp: Some(TcpInfo::new(&info[..cut])), ..*record };
                assert_eq!(names(&older), needing(cut), "{file}, {cut} bytes");
            }
        });
        assert!(sockets > 0);
    }
}

#[test]
fn an_event_without_fields_takes_none_away() {
    let mut tracked = Tracked::started(&[GroupBy::Direction], 100);
    let info = info(0, 0);
    let connection = record(TcpInfo::new(&info));
    dump(&mut tracked, &connection);
    let ended = Record { state: State::Close, tcp: Some(TcpInfo::new(&[])), ..connection };
    tracked.tracker.closed(HERE, &ended, tracked.now);
    let mut left = needing(info.len());
    left.retain(|name| *name != "tcp.path_mtu");
    let found = dump_nothing(&mut tracked);
    assert_eq!(found.into_keys().collect::<Vec<_>>(), left);
}

/// Counters of the path at these numbers: those of 32 bits, and the one of 16.
fn info(wide: u32, narrow: u16) -> [u8; 280] {
    let mut info = [0; 280];
    info[60..64].copy_from_slice(&1500u32.to_ne_bytes());
    for offset in [196, 216, 220, 224, 244] {
        info[offset..offset + 4].copy_from_slice(&wide.to_ne_bytes());
    }
    info[240..242].copy_from_slice(&narrow.to_ne_bytes());
    info
}

#[test]
fn counters_of_the_path_wrap_and_go_on() {
    let mut tracked = Tracked::started(&[GroupBy::Direction], 100);
    // An increase of more than half of what a counter counts to would be a decrease.
    let steps = [(0x5555_5555, 0x5555), (0xaaaa_aaaa, 0xaaaa), (u32::MAX, u16::MAX), (4, 6)];
    for (wide, narrow) in steps {
        dump(&mut tracked, &record(TcpInfo::new(&info(wide, narrow))));
    }
    let found = observed(&tracked);
    assert_eq!(found["tcp.retransmission_timeouts"], f64::from(u16::MAX) + 7.0);
    let wide = f64::from(u32::MAX) + 5.0;
    assert!((found["tcp.retransmission_timeout.time"] - wide / 1e3).abs() < 1e-6, "{found:?}");
    for name in [
        "tcp.segments.ecn_marked",
        "tcp.retransmits.spurious",
        "tcp.segments.reordered",
        "tcp.segments.out_of_order",
    ] {
        assert_eq!(found[name], wide, "{name}");
    }
    // A socket that is connected again begins at 0: what it has done meanwhile is not known.
    assert_eq!(dump(&mut tracked, &record(TcpInfo::new(&info(3, 5)))), found);
    let after = dump(&mut tracked, &record(TcpInfo::new(&info(4, 7))));
    assert_eq!(after["tcp.retransmission_timeouts"], found["tcp.retransmission_timeouts"] + 2.0);
    assert_eq!(after["tcp.segments.ecn_marked"], wide + 1.0);
}
