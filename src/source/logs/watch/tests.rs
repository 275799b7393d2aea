//! Watching, on real directories.

use super::Watch;
use crate::stop::Stop;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::Read;
use std::time::Duration;

#[test]
fn files_that_are_given_the_name_of_a_log_are_opened_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let (path, watch, stop) = (directory.path(), Watch::new(), Stop::new().unwrap());
    let log = OsStr::new("app.log");
    watch.add(path, Some(log));
    watch.add(&path.join("absent"), None);
    watch.gather();
    assert!(watch.given().is_empty());
    let write = |round: u32| {
        std::fs::write(path.join(log), format!("{round}\n")).unwrap();
        std::fs::write(path.join("other.log"), "line\n").unwrap();
    };
    for round in 0..3 {
        write(round);
        watch.gather();
        std::fs::remove_file(path.join(log)).unwrap();
    }
    // Two are renamed before anybody looks.
    write(3);
    std::fs::rename(path.join(log), path.join("app.log.1")).unwrap();
    write(4);
    // A copy is no file that had the name.
    std::fs::copy(path.join(log), path.join("app.log.2")).unwrap();
    std::fs::rename(path.join("app.log.2"), path.join("app.log.3")).unwrap();
    watch.gather();
    assert!(!watch.wait(&stop, Duration::from_mins(1)));
    let mut given = watch.given().remove(path).unwrap();
    assert_eq!(given.keys().collect::<Vec<_>>(), [log]);
    let given = given.remove(log).unwrap();
    let mut texts: Vec<String> = Vec::new();
    for (mut file, _) in given.files {
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        texts.push(text);
    }
    texts.sort();
    assert_eq!((given.count, texts), (5, (0..5).map(|round| format!("{round}\n")).collect()));
    watch.keep(&HashSet::new(), &[]);
    write(5);
    watch.gather();
    assert!(watch.given().is_empty());
    stop.kill();
    assert!(watch.wait(&stop, Duration::from_mins(1)));
    watch.run(&stop);
}

#[test]
fn the_log_of_a_container_is_watched_from_the_moment_its_directory_is_made() {
    let containers = tempfile::tempdir().unwrap();
    let (path, watch) = (containers.path(), Watch::new());
    let log = |id: &str| path.join(id).join(format!("{id}-json.log"));
    std::fs::create_dir(path.join("before")).unwrap();
    assert_eq!(watch.add_engine(path), [log("before")]);
    std::fs::create_dir(path.join("after")).unwrap();
    watch.gather();
    for id in ["before", "after"] {
        for number in 0..3 {
            std::fs::write(log(id), "line\n").unwrap();
            std::fs::rename(log(id), log(id).with_extension(format!("log.{number}"))).unwrap();
        }
    }
    watch.keep(&HashSet::new(), &[path.to_owned()]);
    watch.gather();
    let given = watch.given();
    for id in ["before", "after"] {
        let directory = path.join(id);
        let of = &given[&directory][log(id).file_name().unwrap()];
        assert_eq!((of.count, of.open(), watch.is_of_engine(&directory)), (3, 3, true), "{id}");
    }
}

#[test]
fn a_file_wakes_at_the_first_write_and_when_it_is_renamed_or_removed() {
    use std::sync::atomic::Ordering::Relaxed;
    let (directory, watch) = (tempfile::tempdir().unwrap(), Watch::new());
    let (path, other) = (directory.path().join("app.log"), directory.path().join("app.log.1"));
    let mut file = std::fs::File::create(&path).unwrap();
    let happenings: [&mut dyn FnMut(); 4] = [
        &mut || std::io::Write::write_all(&mut file, b"line\n").unwrap(),
        &mut || std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap(),
        &mut || std::fs::rename(&path, &other).unwrap(),
        &mut || std::fs::remove_file(&other).unwrap(),
    ];
    let watched = std::fs::File::open(&path).unwrap();
    for happens in happenings {
        let awake = [watch.wake(&watched).unwrap(), watch.wake(&watched).unwrap()];
        watch.gather();
        assert!(awake.iter().all(|awake| !awake.load(Relaxed)));
        happens();
        watch.gather();
        assert!(awake.iter().all(|awake| awake.load(Relaxed)));
    }
    assert!(watch.inner().quiet.is_empty() && watch.given().is_empty());
}
