//! What the image is built from, as far as that can be looked at without an engine: `make image` builds it.

use super::{deploy, read};
use std::path::{Component, Path, PathBuf};
use syn::visit::{self, Visit};

/// Whether `.dockerignore` lets a file through: the last of its patterns that names it, or a folder that it is in, decides.
fn passes(file: &Path) -> bool {
    let ignored = read(&deploy(".dockerignore"));
    let mut passes = true;
    for line in ignored.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (pattern, exception) = line.strip_prefix('!').map_or((line, false), |pattern| (pattern, true));
        assert!(pattern == "*" || !pattern.contains(['*', '?', '[']), "this test does not know `{line}`");
        if pattern == "*" || file.starts_with(pattern) {
            passes = exception;
        }
    }
    passes
}

/// The files that macros read into the program, as they are named.
#[derive(Default)]
struct Included {
    names: Vec<String>,
    /// Those that only a test reads, whose number is all that is asked.
    by_tests: usize,
    in_test: bool,
}

impl<'a> Visit<'a> for Included {
    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        let before = self.in_test;
        let is_test = |attribute: &syn::Attribute| {
            attribute.path().is_ident("cfg")
                && attribute.parse_args::<syn::Ident>().is_ok_and(|word| word == "test")
        };
        self.in_test |= item.attrs.iter().any(is_test);
        visit::visit_item_mod(self, item);
        self.in_test = before;
    }

    fn visit_macro(&mut self, found: &'a syn::Macro) {
        let name = found.path.segments.last().unwrap().ident.to_string();
        if name.starts_with("include") {
            let file: syn::LitStr = found.parse_body().unwrap();
            if self.in_test {
                self.by_tests += 1;
            } else {
                self.names.push(file.value());
            }
        }
    }
}

/// A path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => assert!(plain.pop(), "{}", path.display()),
            part => plain.push(part),
        }
    }
    plain
}

#[test]
fn the_image_is_built_with_every_file_that_the_compiler_reads() {
    let mut open = vec![PathBuf::from("src")];
    let mut included = 0;
    while let Some(path) = open.pop() {
        if deploy(path.to_str().unwrap()).is_dir() {
            let entries = std::fs::read_dir(deploy(path.to_str().unwrap())).unwrap();
            open.extend(entries.map(|entry| path.join(entry.unwrap().file_name())));
            continue;
        }
        assert!(passes(&path), "{}", path.display());
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = read(&deploy(path.to_str().unwrap()));
        let mut found = Included::default();
        found.visit_file(&syn::parse_file(&text).unwrap());
        let written = ["include_bytes!(", "include_str!(", "include_bytes_aligned!("]
            .map(|name| text.matches(name).count());
        let seen = found.names.len() + found.by_tests;
        assert_eq!(seen, written.iter().sum::<usize>(), "{}: a macro within a macro", path.display());
        for name in found.names {
            let file = plain(&path.parent().unwrap().join(&name));
            assert!(deploy(file.to_str().unwrap()).is_file(), "{}: {name}", path.display());
            assert!(
                passes(&file),
                ".dockerignore keeps {} out, which {} includes: `docker build .` does not compile",
                file.display(),
                path.display()
            );
            included += 1;
        }
    }
    assert!(included > 10, "{included} files are included");
    // What Cargo and the Dockerfile ask for by name.
    for file in
        ["Cargo.toml", "Cargo.lock", ".ci/static", "benches/cycle.rs", "tests/main.rs", "tests/e2e/main.rs"]
    {
        assert!(passes(Path::new(file)) && deploy(file).is_file(), "{file}");
    }
    for file in
        ["README.md", "docs/install.md", "tests/fixtures/logs/severity.tsv", ".git/HEAD", "target/debug"]
    {
        assert!(!passes(Path::new(file)), "{file}");
    }
}
