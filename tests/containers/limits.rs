//! What the maps of the programs have no room for: it is said, and the rest goes on.

use super::kernel::{CONNECTIONS, LONG, OPEN, server};
use super::lab::{Lab, Series, alone, sum, tcp};
use crate::support::maps::{self, Map};
use std::collections::BTreeSet;

/// Control groups and listening sockets that the programs know at most.
const MOST: u64 = 4096;

fn left_out(series: &[Series], key: &str) -> f64 {
    sum(series, &[&format!("left_out{{key={key}}}")]).unwrap()
}

/// Has a map no room any more; the entries are nobody's.
fn fill(lab: &Lab, name: &str) {
    let map = maps::named(&lab.maps, name);
    let full = (0..=MOST)
        .any(|number| map.try_write(&map.key_of(u64::MAX - number), &vec![0; map.value()]).is_err());
    assert!(full, "{name} has room for more than {MOST}");
}

#[test]
fn a_connection_of_a_control_group_without_room_is_left_out_and_said_so() {
    let Some(mut lab) = Lab::new(tcp(), LONG, 500) else { return };
    let port = server(None, "127.0.0.1:0");
    let before = left_out(&lab.cycle(), "cgroup");
    let mut container = lab.container("crowded", None);
    fill(&lab, "groups");
    container.ok(&format!("connect a 127.0.0.1 {port}"));
    lab.until("it is left out", |series| left_out(series, "cgroup") > before);
}

#[test]
fn a_listening_socket_without_room_is_left_out_and_said_so() {
    let Some(mut lab) = Lab::new(tcp(), LONG, 500) else { return };
    let before = left_out(&lab.cycle(), "listener");
    let mut container = lab.container("listens", None);
    fill(&lab, "listeners");
    container.tell("listen 127.0.0.1 0");
    lab.until("it is left out", |series| left_out(series, "listener") > before);
}

#[test]
fn a_connection_without_room_for_the_rest_of_its_control_group_is_left_out_with_the_group() {
    let Some(mut lab) = Lab::new(tcp(), LONG, 500) else { return };
    let port = server(None, "127.0.0.1:0");
    let mut container = lab.container("crowded", None);
    let before = lab.cycle();
    // Until the next cycle, which says how many destinations there are, and forgets what is nobody's.
    maps::named(&lab.maps, "numbers").write(&[0; 4], &(1_u64 << 32).to_ne_bytes());
    fill(&lab, "rest");
    container.ok(&format!("connect a 127.0.0.1 {port}"));
    let after = lab.cycle();
    assert!(left_out(&after, "cgroup") > left_out(&before, "cgroup"), "{after:#?}");
    assert_eq!(left_out(&after, "destination"), left_out(&before, "destination"));
    // There is room by the time it ends, and the end of one that was not counted as opened is not counted either.
    container.ok(&format!("connect b 127.0.0.1 {port}"));
    let opened = [CONNECTIONS, "name=crowded", "event=opened"];
    lab.sees(&[(&opened, 1.0)]);
    container.ok("close a");
    let connections = maps::named(&lab.maps, "connections").clone();
    lab.until("its entry has gone", |_| {
        let ours =
            |key: &Vec<u8>| connections.read(key).is_some_and(|value| value[40..42] == port.to_be_bytes());
        connections.keys().iter().filter(|key| ours(key)).count() == 1
    });
    container.ok("close b");
    lab.sees(&[
        (&[CONNECTIONS, "name=crowded", "event=closed"], 1.0),
        (&[OPEN, "name=crowded"], 0.0),
        (&opened, 1.0),
    ]);
}

#[test]
fn full_maps_take_at_most_24_mib() {
    use connscope::source::containers::kernel::{Kernel, Limits, ProgramSelection};
    if !rustix::process::geteuid().is_root() {
        crate::support::skipped("needs root to load programs");
        return;
    }
    let limits =
        Limits { destinations: 8000, connections: 65_536, loopback: true, translate: true, netns: 0 };
    let wanted = ProgramSelection { tcp: Some(limits), immediate_failures: false, delay: true, oom: true };
    let (loaded, ours) = {
        let _alone = alone();
        let before: BTreeSet<u32> = maps::all().iter().map(|map| map.memory().1).collect();
        let loaded = Kernel::load(&wanted).unwrap();
        let ours: Vec<Map> =
            maps::all().into_iter().filter(|map| !before.contains(&map.memory().1)).collect();
        (loaded, ours)
    };
    let names =
        ["answers", "connections", "destinations", "direct", "groups", "listeners", "rest", "spent_by_group"];
    for map in ours.iter().filter(|map| names.contains(&map.memory().0.as_str())) {
        let full = (0..100_000)
            .any(|number| map.try_write(&map.key_of(u64::MAX - number), &vec![0; map.value()]).is_err());
        assert!(full, "{map:?}");
    }
    let memory = loaded.0.memory();
    let ids: BTreeSet<u32> = ours.iter().map(|map| map.memory().1).collect();
    let now = maps::all();
    let each: Vec<_> = now.iter().map(Map::memory).filter(|(_, id, _)| ids.contains(id)).collect();
    assert!(memory > 20 << 20 && memory <= 24 << 20, "{memory} bytes: {each:?}");
}

#[test]
fn maps_are_read_one_by_one_where_the_kernel_has_no_batches() {
    const ENOTSUPP: u32 = 524;
    for error in [libc::EINVAL.unsigned_abs(), ENOTSUPP] {
        // What is refused is refused to a thread of its own.
        std::thread::spawn(move || {
            let Some(mut lab) = Lab::new(tcp(), LONG, 500) else { return };
            let mut container = lab.container("single", None);
            maps::refuse_batches(error);
            container.ok("scan 127.9.0.0 50 9");
            let refused = [CONNECTIONS, "name=single", "connection_refused"];
            let series = lab.sees(&[(&refused, 50.0)]);
            let of_each = series.iter().filter(|one| refused.iter().all(|part| one.text.contains(part)));
            assert_eq!(of_each.filter(|one| one.value == 1.0).count(), 50, "{series:#?}");
            assert_eq!(lab.failed, [""; 0]);
        })
        .join()
        .unwrap();
    }
}
