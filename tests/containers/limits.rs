//! What the maps of the programs have no room for: it is said, and the rest goes on.

use super::kernel::{LONG, server};
use super::lab::{Lab, Series, sum, tcp};
use crate::support::maps;

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
