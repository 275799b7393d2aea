//! What a program has allocated and not freed, counted by a library that is loaded before it.

use std::path::PathBuf;
use std::process::Command;

/// The counts of one program.
pub(crate) struct Allocations {
    folder: tempfile::TempDir,
}

impl Allocations {
    /// Builds the library.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/allocations.c");
        let library = folder.path().join("allocations.so");
        let built = Command::new("cc").args(["-O1", "-shared", "-fPIC", source, "-o"]).arg(&library).status();
        assert!(built.expect("cc, which built this").success());
        Self { folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("counts")
    }

    /// Has the program counted.
    pub(crate) fn count(&self, program: &mut Command) {
        program.env("LD_PRELOAD", self.folder.path().join("allocations.so")).env("ALLOCATIONS", self.file());
    }

    /// Bytes and number of what is allocated now.
    pub(crate) fn now(&self) -> (i64, i64) {
        let counts = std::fs::read(self.file()).unwrap();
        let number = |at: usize| i64::from_ne_bytes(counts[at..at + 8].try_into().unwrap());
        (number(0), number(8))
    }
}
