//! The syscall filter of a systemd unit, as systemd makes it of `SystemCallFilter=`: the sets are asked of systemd-analyze, the numbers
//! of the kernel's header, and a program is started behind the filter.

use super::agent::behind;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// Installs a filter of `seccomp(2)` from a file, and becomes the rest of its arguments.
const INSTALL: &str = r#"
open my $file, "<:raw", shift or die $!; local $/; my $filter = <$file>;
my ($prctl) = splice @ARGV, 0, 1;
my $program = pack "S x![P] P", length($filter) / 8, $filter;
syscall($prctl + 0, 38, 1, 0, 0, 0) == 0 or die "no_new_privs: $!";
syscall($prctl + 0, 22, 2, $program, 0, 0) == 0 or die "seccomp: $!";
exec @ARGV or die $!;
"#;

/// The sets of system calls that systemd knows, each with its names and other sets.
fn sets() -> Option<BTreeMap<String, Vec<String>>> {
    let output = Command::new("systemd-analyze").args(["syscall-filter", "--no-pager"]).output().ok()?;
    let mut sets: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = String::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let name = line.trim().trim_start_matches("\u{1b}[0;1;39m").to_owned();
        if line.starts_with('@') {
            current = name;
        } else if !name.is_empty() && !name.starts_with('#') && !current.is_empty() {
            sets.entry(current.clone()).or_default().push(name);
        }
    }
    Some(sets)
}

fn expand(name: &str, sets: &BTreeMap<String, Vec<String>>, into: &mut BTreeSet<String>) {
    if !name.starts_with('@') {
        into.insert(name.to_owned());
        return;
    }
    for inner in sets.get(name).unwrap_or_else(|| panic!("systemd knows no {name}")) {
        expand(inner, sets, into);
    }
}

/// The system calls that are allowed by lines `SystemCallFilter=`, each adding or, with `~`, taking away; `None` where systemd-analyze
/// is missing. `@default` always is among them (`systemd.exec(5)`).
pub(crate) fn allowed(filters: &[String]) -> Option<BTreeSet<String>> {
    let sets = sets()?;
    let mut allowed = BTreeSet::new();
    expand("@default", &sets, &mut allowed);
    for filter in filters {
        let (takes, names) = filter.strip_prefix('~').map_or((false, filter.as_str()), |names| (true, names));
        let mut named = BTreeSet::new();
        names.split_ascii_whitespace().for_each(|name| expand(name, &sets, &mut named));
        if takes {
            allowed.retain(|name| !named.contains(name));
        } else {
            allowed.extend(named);
        }
    }
    Some(allowed)
}

/// Numbers of system calls by name, on this architecture.
fn numbers() -> BTreeMap<String, u32> {
    let compiled = Command::new("cc")
        .args(["-E", "-dM", "-x", "c", "-include", "asm/unistd.h", "/dev/null"])
        .output()
        .expect("cc, which built this");
    let text = String::from_utf8(compiled.stdout).unwrap();
    let number = |line: &str| {
        let (name, number) = line.strip_prefix("#define __NR_")?.split_once(' ')?;
        Some((name.to_owned(), number.trim().parse().ok()?))
    };
    text.lines().filter_map(number).collect()
}

/// A program of classic BPF that allows these and answers the others with `EPERM`, as `SystemCallErrorNumber=EPERM` has it.
fn filter(allowed: &BTreeSet<String>, numbers: &BTreeMap<String, u32>) -> Vec<u8> {
    const LOAD: u16 = 0x20;
    const EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    const ERRNO: u32 = 0x0005_0000;
    let mut program = Vec::new();
    let mut push = |code: u16, yes: u8, no: u8, value: u32| {
        program.extend(code.to_ne_bytes());
        program.extend([yes, no]);
        program.extend(value.to_ne_bytes());
    };
    // `struct seccomp_data` begins with the number.
    push(LOAD, 0, 0, 0);
    for number in allowed.iter().filter_map(|name| numbers.get(name)) {
        push(EQUAL, 0, 1, *number);
        push(RETURN, 0, 0, ALLOW);
    }
    push(RETURN, 0, 0, ERRNO | rustix::io::Errno::PERM.raw_os_error().unsigned_abs());
    program
}

/// A program behind the filter of these lines, and the file that has to stay while it starts; `None` where a tool is missing.
pub(crate) fn filtered(filters: &[String], program: &Command) -> Option<(Command, tempfile::NamedTempFile)> {
    let numbers = numbers();
    let bytes = filter(&allowed(filters)?, &numbers);
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&bytes).unwrap();
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let prctl = numbers["prctl"].to_string();
    let command = behind(&["perl", "-e", INSTALL, file.path().to_str().unwrap(), &prctl], program);
    Some((command, file))
}
