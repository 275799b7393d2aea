//! The object with the programs in the kernel is what `make bpf` makes of its sources.

use crate::support::skipped;
use std::path::Path;
use std::process::Command;

#[test]
fn the_object_is_made_of_the_sources_beside_it() {
    if Command::new("clang-14").arg("--version").output().is_err() {
        skipped("needs clang-14 and llvm-strip-14 (make test installs them)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let object = folder.path().join("connscope.bpf.o");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = Command::new(root.join(".ci/bpf")).arg(&object).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let (made, committed) =
        (std::fs::read(&object).unwrap(), std::fs::read(root.join("bpf/connscope.bpf.o")).unwrap());
    assert!(
        made == committed,
        "bpf/connscope.bpf.o is not what its sources make: run make bpf, and commit it"
    );
}
