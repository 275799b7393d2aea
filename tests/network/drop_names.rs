//! The names of the network namespaces in which something was counted: when they are searched for.

use crate::support::Namespace;
use connscope::host::netns::{self, FoundNamespaces};
use connscope::source::network::drops::names::{AGAIN, Names};
use connscope::sys::namespace::file_identity;
use std::path::Path;
use std::time::{Duration, Instant};

fn known(label: &str, path: &Path, is_named: bool) -> netns::Namespace {
    let file = file_identity(path).unwrap();
    netns::Namespace { label: label.into(), path: path.to_owned(), file, is_named }
}

fn inode(namespace: &Namespace) -> u32 {
    namespace.inode().try_into().unwrap()
}

/// Names, and how often they were searched for.
struct Searched {
    names: Names,
    now: Instant,
    searches: u32,
}

impl Searched {
    fn new() -> Self {
        Self { names: Names::default(), now: Instant::now(), searches: 0 }
    }

    /// A cycle in which something was counted in `counted`, and a search would find `there`.
    fn cycle(&mut self, read: Option<&[netns::Namespace]>, counted: &[u32], there: &[netns::Namespace]) {
        let searches = &mut self.searches;
        self.names.begin(read, counted.iter().copied(), self.now, || {
            *searches += 1;
            FoundNamespaces { namespaces: there.to_vec(), ..FoundNamespaces::default() }
        });
    }

    fn name(&self, inode: u32) -> Option<String> {
        self.names.of(inode).map(|name| name.to_string())
    }
}

#[test]
fn a_name_that_is_known_is_not_searched_for_until_its_path_leads_elsewhere() {
    let Some(first) = Namespace::new() else { return };
    let second = Namespace::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ns");
    std::os::unix::fs::symlink(first.path(), &path).unwrap();
    let (one, other) = (inode(&first), inode(&second));
    let mut searched = Searched::new();
    searched.cycle(None, &[], &[]);
    assert_eq!(searched.searches, 0, "nothing was counted");
    for _ in 0..3 {
        searched.cycle(None, &[one, 0], &[known("shop", &path, true)]);
        assert_eq!((searched.searches, searched.name(one).as_deref()), (1, Some("shop")));
    }
    // The path is another's now, as that of a process whose number is used again.
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(second.path(), &path).unwrap();
    searched.cycle(None, &[one], &[known("cart", &path, true)]);
    assert_eq!((searched.searches, searched.name(one)), (2, Some(format!("net:[{one}]"))));
    assert_eq!(searched.name(other).as_deref(), Some("cart"));
    searched.cycle(None, &[other], &[]);
    assert_eq!(searched.searches, 2, "the search before found it too");
}

#[test]
fn what_is_not_found_or_has_no_name_yet_is_searched_for_again_after_a_time() {
    let Some(namespace) = Namespace::new() else { return };
    let inode = inode(&namespace);
    let path = namespace.path();
    let unnamed = known("cni-0123456789abcdef", Path::new(&path), false);
    let mut searched = Searched::new();
    for there in [&[][..], std::slice::from_ref(&unnamed)] {
        let before = searched.searches;
        for _ in 0..3 {
            searched.cycle(None, &[inode], there);
        }
        assert_eq!(searched.searches, before + 1);
        searched.now += AGAIN.checked_sub(Duration::from_millis(1)).unwrap();
        searched.cycle(None, &[inode], there);
        assert_eq!(searched.searches, before + 1);
        searched.now += Duration::from_millis(1);
    }
    assert_eq!(searched.name(inode).as_deref(), Some("cni-0123456789abcdef"));
    let named = [known("shop/cart", Path::new(&path), true)];
    for _ in 0..3 {
        searched.cycle(None, &[inode], &named);
        searched.now += AGAIN;
    }
    assert_eq!((searched.searches, searched.name(inode).as_deref()), (3, Some("shop/cart")));
}

#[test]
fn what_the_same_cycle_found_is_used_and_the_agents_own_needs_no_name_by_default() {
    let Some(namespace) = Namespace::new() else { return };
    let foreign = inode(&namespace);
    let own: u32 = file_identity(Path::new("/proc/self/ns/net")).unwrap().1.try_into().unwrap();
    let mut searched = Searched::new();
    let read = [known("configured", Path::new(&namespace.path()), true)];
    searched.cycle(Some(&read), &[foreign], &[]);
    assert_eq!((searched.searches, searched.name(foreign).as_deref()), (0, Some("configured")));
    searched.cycle(None, &[own], &[]);
    assert_eq!((searched.searches, searched.name(own)), (0, None));
    assert_eq!(searched.name(0).as_deref(), Some("~other"));
}

#[test]
fn the_agents_own_has_the_same_name_whether_or_not_something_was_counted_elsewhere() {
    let Some(namespace) = Namespace::new() else { return };
    let foreign = inode(&namespace);
    let path = Path::new("/proc/self/ns/net");
    let own: u32 = file_identity(path).unwrap().1.try_into().unwrap();
    let there = [known("shop/agent", path, true), known("shop/cart", Path::new(&namespace.path()), true)];
    // Nor does it matter whether a namespace that is configured is there.
    for read in [&[][..], &[known("configured", Path::new(&namespace.path()), true)]] {
        let mut searched = Searched::new();
        for counted in [&[own][..], &[own, foreign], &[foreign], &[own]] {
            searched.cycle(Some(read), counted, &there);
            assert_eq!(searched.name(own).as_deref(), Some("shop/agent"));
        }
        assert_eq!(searched.searches, 1);
    }
}
