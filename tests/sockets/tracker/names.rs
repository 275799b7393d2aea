//! Names that somebody else chose, as labels.

use super::{Attribution, Connection, GroupBy, HERE, Label, Tracked};
use connscope::text::LONGEST_NAME;

const BY: [GroupBy; 3] = [GroupBy::Process, GroupBy::Cgroup, GroupBy::Container];

/// The labels of the groups of sockets of these processes and control groups, in any order.
fn labels(owners: &[(&str, &str)]) -> Vec<[Option<String>; 3]> {
    let mut tracked = Tracked::started(&BY, 100);
    tracked.begin();
    let now = tracked.now;
    for (cookie, (process, cgroup)) in (1..).zip(owners) {
        let owner = Attribution {
            process: Some((*process).into()),
            cgroup: Some((*cgroup).into()),
            cgroup_pending: false,
        };
        Connection::new(cookie, 50_000, 80).with(|record| tracked.tracker.update(HERE, record, &owner, now));
    }
    tracked.end();
    let of = |label| {
        move |labels: &[(Label, std::sync::Arc<str>)]| {
            labels.iter().find(|(key, _)| *key == label).map(|(_, text)| text.to_string())
        }
    };
    let three = [Label::ProcessName, Label::Cgroup, Label::ContainerId].map(of);
    tracked.tracker.groups.iter().map(|group| three.map(|of| of(&group.labels))).collect()
}

#[test]
fn a_name_commands_no_terminal_and_turns_no_text_round() {
    let found = labels(&[("\u{1b}[2J\u{202e}ab", "/rev\u{1b}[2J\u{202e}")]);
    let [[Some(process), Some(cgroup), None]] = &*found else { panic!("{found:?}") };
    assert!(process.starts_with("\u{fffd}[2J\u{fffd}ab…"), "{process:?}");
    assert!(cgroup.starts_with("/rev\u{fffd}[2J\u{fffd}…"), "{cgroup:?}");
    // Two that look alike are not one.
    assert_eq!(labels(&[("a\u{1b}", "/a"), ("a\u{202e}", "/a"), ("a\u{1b}", "/a")]).len(), 2);
    // Nobody can pass for what is left out or unknown.
    let found = labels(&[("~other", "~unknown")]);
    let [[Some(process), Some(cgroup), None]] = &*found else { panic!("{found:?}") };
    assert!(process.starts_with("~other…") && cgroup.starts_with("~unknown…"), "{process} {cgroup}");
    // What nobody made up is as it is.
    let own = [Some("sshd".to_owned()), Some("/system.slice/sshd.service".to_owned()), None];
    assert_eq!(labels(&[("sshd", "/system.slice/sshd.service")]), [own]);
}

#[test]
fn a_long_path_is_cut_and_its_end_still_tells_the_container() {
    let id = "0123456789abcdef".repeat(4);
    let long = format!("/{}", ["k".repeat(255), "\u{202e}".repeat(85)].join("/").repeat(8));
    assert!(long.len() > 4000);
    let path = format!("{long}/docker-{id}.scope");
    let found = labels(&[("one", &path), ("one", &format!("{path}/below"))]);
    let [[_, Some(one), of_one], [_, Some(other), of_other]] = &*found else { panic!("{found:?}") };
    assert_eq!((of_one.as_deref(), of_other.as_deref()), (Some(&*id), Some(&*id)));
    assert_ne!(one, other, "they differ at the end only");
    for cut in [one, other] {
        assert!(cut.len() <= LONGEST_NAME && cut.starts_with("/kkk") && cut.contains('…'), "{cut}");
        assert!(!cut.contains('\u{202e}'), "{cut:?}");
    }
    let machine = format!("/machine.slice/machine-{}\u{1b}.scope", "m".repeat(235));
    let found = labels(&[("one", &machine)]);
    let [[_, _, Some(name)]] = &*found else { panic!("{found:?}") };
    assert!(name.starts_with("mmm") && name.len() <= LONGEST_NAME && !name.contains('\u{1b}'), "{name:?}");
}
