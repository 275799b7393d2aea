//! The entries of the inventory: who is the same, who is another, who goes when.

use connscope::host::inventory::entries::{Entries, HostLookup};
use connscope::host::inventory::entry::{CgroupRef, TopGroup};
use connscope::host::inventory::identity::{CgroupOwner, ContainerMetadata, Name, OwnerKind};
use connscope::metric::Label;
use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

const RETENTION: Duration = Duration::from_mins(5);

/// A world in which names and groups are what a test says.
#[derive(Default)]
struct Said {
    names: HashMap<String, ContainerMetadata>,
    there: BTreeSet<u64>,
    unwanted: &'static str,
    asked: usize,
}

impl HostLookup for Said {
    fn name(&mut self, id: &str, _: &str) -> Option<ContainerMetadata> {
        self.asked += 1;
        self.names.get(id).cloned()
    }

    fn is_there(&self, top: &TopGroup) -> bool {
        self.there.contains(&top.id)
    }

    fn wants(&self, identity: &str) -> bool {
        self.unwanted.is_empty() || !identity.starts_with(self.unwanted)
    }
}

fn id(number: u8) -> String {
    format!("{number:02x}").repeat(32)
}

impl Said {
    fn calls(&mut self, number: u8, name: Name) {
        self.names.insert(id(number), ContainerMetadata { name, runtime: "docker", image: String::new() });
    }

    fn docker(&mut self, number: u8, name: &str) {
        self.calls(number, Name::Engine("docker", name.to_owned()));
    }
}

/// Meets the group of a container.
fn meet(entries: &mut Entries, world: &mut Said, container: u8, group: u64, now: Instant) -> Option<u64> {
    let path = format!("/docker/{}", id(container));
    entries.record_group(CgroupRef { hierarchy: 0, id: group, path: &path }, now, world)
}

fn identity(entries: &Entries, number: u64) -> &str {
    &entries.get(number).unwrap().workload.identity
}

/// Walks that do not find a group any more.
fn ends(entries: &mut Entries, world: &mut Said, now: Instant) {
    entries.sweep(now, world);
    entries.sweep(now, world);
}

#[test]
fn what_the_kernel_reports_of_one_that_has_ended_is_its_own_and_no_restart() {
    let (mut entries, mut world, now) = (Entries::new(10, RETENTION), Said::default(), Instant::now());
    world.docker(1, "web");
    let number = meet(&mut entries, &mut world, 1, 100, now).unwrap();
    // Its file is gone with it.
    world.names.clear();
    ends(&mut entries, &mut world, now);
    assert!(entries.get(number).unwrap().ended.is_some());
    let asked = world.asked;
    assert_eq!(meet(&mut entries, &mut world, 1, 100, now), Some(number));
    let inner = format!("/docker/{}/init", id(1));
    let inner = CgroupRef { hierarchy: 3, id: 900, path: &inner };
    assert_eq!(entries.record_group(inner, now, &mut world), Some(number));
    assert_eq!((entries.iter().count(), entries.get(number).unwrap().restarts, world.asked), (1, 0, asked));
    // Another group is another start.
    world.docker(1, "web");
    assert_eq!(meet(&mut entries, &mut world, 1, 101, now), Some(number));
    assert_eq!(entries.get(number).unwrap().restarts, 1);
    ends(&mut entries, &mut world, now);
    let late = now + RETENTION;
    ends(&mut entries, &mut world, late);
    assert_ne!(
        meet(&mut entries, &mut world, 1, 101, late),
        Some(number),
        "after the retention nobody knows"
    );
}

#[test]
fn one_over_the_limit_that_has_ended_is_left_out_once() {
    let (mut entries, mut world, now) = (Entries::new(1, RETENTION), Said::default(), Instant::now());
    world.there.insert(1);
    meet(&mut entries, &mut world, 1, 1, now).unwrap();
    assert_eq!(meet(&mut entries, &mut world, 2, 2, now), None);
    ends(&mut entries, &mut world, now);
    assert_eq!((meet(&mut entries, &mut world, 2, 2, now), entries.left_out), (None, 1));
    let path = format!("/docker/{}", id(2));
    assert!(entries.is_left_out(CgroupRef { hierarchy: 0, id: 2, path: &path }));
}

#[test]
fn the_path_says_whose_a_group_is_and_where_its_own_one_ends() {
    let a = id(0xa1);
    let of = |path: &str, top: &str, what: OwnerKind<'_>| {
        let place = CgroupOwner::of(path).unwrap_or_else(|| panic!("{path}"));
        assert_eq!((place.top, place.what), (top, what), "{path}");
    };
    let container = OwnerKind::Container(&a);
    of(&format!("/docker/{a}"), &format!("/docker/{a}"), container);
    of(&format!("/docker/{a}/init/x"), &format!("/docker/{a}"), container);
    let scope = format!("/system.slice/docker-{a}.scope");
    of(&format!("{scope}/init"), &scope, container);
    // Of nested ones the innermost; a unit in a container is the container's.
    let outer = id(0xb2);
    let inner = format!("/docker/{outer}/kubepods/pod1/{a}");
    of(&inner, &inner, container);
    of(&format!("/docker/{a}/system.slice/x.service"), &format!("/docker/{a}"), container);
    of("/lxc.payload.mail/system.slice/mail.service", "/lxc.payload.mail", OwnerKind::Named("lxc", "mail"));
    of("/lxc/a/a.b", "/lxc/a", OwnerKind::Named("lxc", "a"));
    of(
        "/system.slice/nginx.service/x",
        "/system.slice/nginx.service",
        OwnerKind::Unit("system.slice", "nginx.service"),
    );
    let getty = "/system.slice/system-getty.slice/getty@tty1.service";
    of(getty, getty, OwnerKind::Unit("system.slice", "getty@tty1.service"));
    for path in [
        "/",
        "/system.slice",
        "/user.slice/user-0.slice/user@0.service",
        "/init.scope",
        "/system.slice/x.scope",
    ] {
        assert_eq!(CgroupOwner::of(path), None, "{path}");
    }
}

#[test]
fn a_container_that_is_made_anew_under_its_name_is_the_same_with_one_restart_more() {
    let (mut entries, mut world, now) = (Entries::new(10, RETENTION), Said::default(), Instant::now());
    world.docker(1, "web");
    world.docker(2, "web");
    world.there.insert(10);
    let number = meet(&mut entries, &mut world, 1, 10, now).unwrap();
    assert_eq!(identity(&entries, number), "/docker/web");
    // The same container, another group.
    assert_eq!(meet(&mut entries, &mut world, 1, 11, now), Some(number));
    assert_eq!(entries.get(number).unwrap().restarts, 1);
    // A group that somebody had seen before is no restart, and neither is the same in another hierarchy.
    meet(&mut entries, &mut world, 1, 10, now);
    let path = format!("/docker/{}", id(1));
    entries.record_group(CgroupRef { hierarchy: 4, id: 3, path: &path }, now, &mut world);
    assert_eq!(entries.get(number).unwrap().restarts, 1);
    // Another container with the name, while no walk has missed the first: its groups are gone, so it is the same.
    world.there = BTreeSet::from([12]);
    assert_eq!(meet(&mut entries, &mut world, 2, 12, now), Some(number));
    assert_eq!(entries.get(number).unwrap().restarts, 2);
    entries.sweep(now, &mut world);
    entries.sweep(now, &mut world);
    assert_eq!(entries.get(number).unwrap().ended, None, "it is there");
}

#[test]
fn two_that_run_under_one_name_are_told_apart_by_the_id() {
    let (mut entries, mut world, now) = (Entries::new(10, RETENTION), Said::default(), Instant::now());
    world.docker(1, "web");
    world.docker(2, "web");
    world.there = BTreeSet::from([10, 11]);
    let first = meet(&mut entries, &mut world, 1, 10, now).unwrap();
    let second = meet(&mut entries, &mut world, 2, 11, now).unwrap();
    assert_eq!(identity(&entries, first), "/docker/web");
    assert_eq!(identity(&entries, second), "/docker/web/020202020202");
    let labels = &entries.get(second).unwrap().workload.labels;
    assert!(
        labels.iter().any(|(label, value)| *label == Label::ContainerId && **value == *id(2)),
        "{labels:?}"
    );
}

#[test]
fn a_name_that_a_renamed_container_had_is_the_next_ones() {
    let (mut entries, mut world, now) = (Entries::new(10, RETENTION), Said::default(), Instant::now());
    world.docker(1, "web");
    world.there = BTreeSet::from([10, 11]);
    let number = meet(&mut entries, &mut world, 1, 10, now).unwrap();
    world.docker(1, "web-old");
    world.docker(2, "web");
    assert_eq!(meet(&mut entries, &mut world, 2, 11, now), Some(number), "the name goes on with the new one");
    assert_eq!((identity(&entries, number), entries.get(number).unwrap().restarts), ("/docker/web", 1));
    entries.sweep(now, &mut world);
    let old = meet(&mut entries, &mut world, 1, 10, now).unwrap();
    assert_eq!((identity(&entries, old), entries.get(old).unwrap().restarts), ("/docker/web-old", 0));
    entries.sweep(now, &mut world);
    assert_eq!([number, old].map(|number| entries.get(number).unwrap().ended), [None; 2]);
}

#[test]
fn a_container_that_is_renamed_is_another_from_then_on() {
    let (mut entries, mut world, now) = (Entries::new(10, RETENTION), Said::default(), Instant::now());
    for container in [1, 2] {
        world.docker(container, "web");
        world.there.insert(u64::from(container));
    }
    let number = meet(&mut entries, &mut world, 1, 1, now).unwrap();
    let twin = meet(&mut entries, &mut world, 2, 2, now).unwrap();
    // What they are called already changes nothing, also where two have one name.
    for container in [1, 2] {
        let said = world.names[&id(container)].clone();
        entries.renamed(&id(container), &said, now, &mut world);
    }
    assert_eq!([number, twin].map(|number| entries.get(number).unwrap().ended), [None; 2]);
    world.docker(1, "shop");
    let said = world.names[&id(1)].clone();
    entries.renamed(&id(1), &said, now, &mut world);
    assert!(entries.get(number).unwrap().ended.is_some(), "its counters stay for the retention");
    let shop = meet(&mut entries, &mut world, 1, 1, now).unwrap();
    assert_eq!(identity(&entries, shop), "/docker/shop");
    let entry = entries.get(shop).unwrap();
    assert!(
        entry.ended.is_none() && entry.restarts == 0 && entry.before,
        "what it did before is the other name's"
    );
    assert_eq!(entries.get(number).unwrap().restarts, 0);
}

#[test]
fn an_unknown_name_is_asked_for_at_once_and_every_10_seconds_for_a_minute_and_takes_its_counts_along() {
    let (mut entries, mut world, now) = (Entries::new(10, RETENTION), Said::default(), Instant::now());
    world.there = BTreeSet::from([10, 11]);
    let number = meet(&mut entries, &mut world, 1, 10, now).unwrap();
    assert_eq!(identity(&entries, number), format!("/container/{}", id(1)));
    assert_eq!(world.asked, 1);
    for second in 1..=200 {
        entries.sweep(now + Duration::from_secs(second), &mut world);
    }
    assert_eq!(world.asked, 7, "at once, and after 10, 20, 30, 40, 50 and 60 seconds");
    let number = meet(&mut entries, &mut world, 2, 11, now).unwrap();
    meet(&mut entries, &mut world, 2, 12, now);
    world.there = BTreeSet::from([12]);
    world.docker(2, "late");
    entries.sweep(now + Duration::from_secs(10), &mut world);
    let entry = entries.get(number).unwrap();
    assert_eq!((&*entry.workload.identity, entry.restarts, entry.named), ("/docker/late", 1, true));
    assert_ne!(entry.workload.number, number, "it is another entry, which the number still leads to");
}

#[test]
fn what_ended_keeps_its_entry_for_the_retention() {
    let (mut entries, mut world, now) = (Entries::new(10, RETENTION), Said::default(), Instant::now());
    world.docker(1, "web");
    let number = meet(&mut entries, &mut world, 1, 10, now).unwrap();
    entries.sweep(now, &mut world);
    assert_eq!(entries.get(number).unwrap().ended, None, "it was met since the last sweep");
    let ended = now + Duration::from_secs(10);
    entries.sweep(ended, &mut world);
    assert_eq!(entries.get(number).unwrap().ended, Some(ended));
    entries.sweep(ended + RETENTION.checked_sub(Duration::from_secs(1)).unwrap(), &mut world);
    assert!(entries.get(number).is_some());
    entries.sweep(ended + RETENTION, &mut world);
    assert!(entries.get(number).is_none());
}

#[test]
fn the_limit_holds_what_ended_makes_room_and_what_is_left_out_is_counted_once() {
    let (mut entries, mut world, now) = (Entries::new(2, RETENTION), Said::default(), Instant::now());
    let numbers: Vec<Option<u64>> =
        (1..=3).map(|container| meet(&mut entries, &mut world, container, container.into(), now)).collect();
    assert!(numbers[0].is_some() && numbers[1].is_some() && numbers[2].is_none(), "{numbers:?}");
    world.there = BTreeSet::from([1, 2, 3]);
    for _ in 0..3 {
        meet(&mut entries, &mut world, 3, 3, now);
        entries.sweep(now, &mut world);
    }
    assert_eq!((entries.left_out, entries.iter().count()), (1, 2));
    world.there = BTreeSet::from([2, 3]);
    entries.sweep(now, &mut world);
    entries.sweep(now, &mut world);
    assert!(meet(&mut entries, &mut world, 3, 3, now).is_some(), "the room of one that ended");
    assert!(entries.get(numbers[0].unwrap()).is_none());
    assert_eq!(entries.iter().count(), 2);
}

#[test]
fn sandboxes_and_what_is_not_wanted_have_no_entry_and_a_late_name_can_change_that() {
    let (mut entries, mut world, now) = (Entries::new(10, RETENTION), Said::default(), Instant::now());
    world.calls(1, Name::Sandbox(None));
    assert_eq!(meet(&mut entries, &mut world, 1, 1, now), None);
    world.unwanted = "/container/";
    assert_eq!(meet(&mut entries, &mut world, 2, 2, now), None);
    world.docker(2, "web");
    world.there = BTreeSet::from([2]);
    entries.sweep(now + Duration::from_secs(10), &mut world);
    let number = meet(&mut entries, &mut world, 2, 2, now).unwrap();
    assert_eq!(identity(&entries, number), "/docker/web");
    assert_eq!(entries.left_out, 0);
}

#[test]
fn a_name_is_cleaned_and_cannot_be_taken_for_a_word_of_ours() {
    let (mut entries, mut world, now) = (Entries::new(10, RETENTION), Said::default(), Instant::now());
    for (container, name) in [(1, "~other"), (2, "a\u{1b}[2Jb"), (3, &*"x".repeat(400))] {
        world.docker(container, name);
        let number = meet(&mut entries, &mut world, container, container.into(), now).unwrap();
        let labels = entries.get(number).unwrap().workload.labels.clone();
        let [(_, shown)] = &labels[..] else { panic!("{labels:?}") };
        assert!(shown.len() <= 255 && !shown.starts_with('~') && !shown.contains('\u{1b}'), "{shown}");
    }
}

#[test]
fn groups_that_nobody_sweeps_take_no_more_memory_than_for_20_000() {
    let (mut entries, mut world, now) = (Entries::new(10, RETENTION), Said::default(), Instant::now());
    for number in 0..20_005_u64 {
        let path = format!("/system.slice/s{number}.service");
        entries.record_group(CgroupRef { hierarchy: 0, id: number, path: &path }, now, &mut world);
    }
    assert_eq!(entries.iter().count(), 10);
    // The last five were not even remembered: each is counted whenever it is met.
    let before = entries.left_out;
    for _ in 0..2 {
        entries.record_group(
            CgroupRef { hierarchy: 0, id: 1, path: "/system.slice/s20004.service" },
            now,
            &mut world,
        );
        entries.record_group(
            CgroupRef { hierarchy: 0, id: 1, path: "/system.slice/s19999.service" },
            now,
            &mut world,
        );
    }
    assert_eq!(entries.left_out, before + 2);
}

#[test]
fn one_that_was_left_out_is_asked_for_its_name_when_there_is_room() {
    let (mut entries, mut world, now) = (Entries::new(1, RETENTION), Said::default(), Instant::now());
    world.docker(1, "first");
    world.there = BTreeSet::from([1, 2]);
    meet(&mut entries, &mut world, 1, 1, now);
    world.docker(2, "second");
    assert_eq!(meet(&mut entries, &mut world, 2, 2, now), None);
    world.there = BTreeSet::from([2]);
    // What was met since the last sweep is there.
    entries.sweep(now, &mut world);
    entries.sweep(now, &mut world);
    let later = now + Duration::from_secs(10);
    entries.sweep(later, &mut world);
    let number = meet(&mut entries, &mut world, 2, 2, later).unwrap();
    assert_eq!(identity(&entries, number), "/docker/second");
}

#[test]
fn a_name_that_is_told_twice_changes_nothing() {
    let (mut entries, mut world, now) = (Entries::new(10, RETENTION), Said::default(), Instant::now());
    world.docker(1, "web");
    world.there = BTreeSet::from([1]);
    let number = meet(&mut entries, &mut world, 1, 1, now).unwrap();
    let found = world.names.get(&id(1)).cloned().unwrap();
    entries.found(&id(1), &found, now, &mut world);
    assert_eq!(meet(&mut entries, &mut world, 1, 1, now), Some(number));
    assert_eq!(entries.get(number).map(|entry| entry.restarts), Some(0));
}
