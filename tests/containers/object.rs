//! The objects with the programs in the kernel are what `make bpf` makes of their sources.

use crate::support::skipped;
use std::path::Path;
use std::process::Command;

#[test]
fn the_objects_are_made_of_the_sources_beside_them() {
    if Command::new("clang-14").arg("--version").output().is_err() {
        skipped("needs clang-14 and llvm-strip-14 (make test installs them)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = Command::new(root.join(".ci/bpf")).arg(folder.path()).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let objects = |folder: &Path| {
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        let objects = files.filter(|file| file.extension().is_some_and(|extension| extension == "o"));
        let named = objects.map(|file| (file.file_name().unwrap().to_owned(), std::fs::read(&file).unwrap()));
        named.collect::<std::collections::BTreeMap<_, _>>()
    };
    let (made, committed) = (objects(folder.path()), objects(&root.join("bpf")));
    assert!(!made.is_empty() && made.keys().eq(committed.keys()), "{:?}", committed.keys());
    for (name, bytes) in &made {
        assert!(
            committed[name] == *bytes,
            "bpf/{name:?} is not what its sources make: run make bpf, and commit it"
        );
    }
}
