//! What the unit takes away besides capabilities and whole system calls: a program tries, behind what `confined` makes of the unit.

use super::confined::{confined, root};
use super::service::drop_in;
use crate::support::agent::behind;
use crate::support::seccomp::numbers;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// What a program finds that tries: the error of each, or `ok`.
const TRIES: &str = r#"
my ($folder, %number) = @ARGV;
sub said { my ($what, $ok) = @_; print "$what ", $ok ? 'ok' : $! + 0, "\n" }
sub call { my $name = shift; return syscall($number{$name}, map { $_ + 0 } @_) >= 0 }
said("family $_", socket(my $socket, $_, 2, 0)) for 1, 2, 10, 17, 40;
said('unshare user', call('unshare', 0x10000000));
said('unshare net', call('unshare', 0x40000000));
said('map writable', call('mmap', 0, 4096, 3, 0x22, -1, 0));
said('map executable', call('mmap', 0, 4096, 5, 0x22, -1, 0));
said('map both', call('mmap', 0, 4096, 7, 0x22, -1, 0));
said('write', open(my $written, '>', "$folder/file"));
said('write sysctl', open(my $sysctl, '>', '/proc/sys/kernel/hostname'));
said('null', open(my $null, '>', '/dev/null'));
opendir(my $devices, '/dev');
print join(' ', 'devices', sort grep { !/^[.]/ } readdir $devices), "\n";
"#;

#[test]
fn families_namespaces_code_files_and_devices_that_the_unit_takes_away_are_not_there() {
    if !root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let numbers = numbers();
    let mut tries = Command::new("perl");
    tries.args(["-e", TRIES]).arg(folder.path());
    for name in ["unshare", "mmap"] {
        tries.args([name, &numbers[name].to_string()]);
    }
    let found = |mut program: Command| -> BTreeMap<String, String> {
        let output = program.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        let lines = said.lines().map(|line| line.rsplit_once(' ').unwrap());
        let devices = said.lines().find_map(|line| line.strip_prefix("devices "));
        let devices = ("devices".to_owned(), devices.unwrap().to_owned());
        lines.map(|(what, how)| (what.to_owned(), how.to_owned())).chain([devices]).collect()
    };
    let error = |error: Errno| error.raw_os_error().to_string();
    let (refused, family, read_only) = (error(Errno::PERM), error(Errno::AFNOSUPPORT), error(Errno::ROFS));
    let (program, _file) = confined(&tries, None);
    let own = found(program);
    for (what, expected) in [
        ("family 1", "ok"),
        ("family 2", "ok"),
        ("family 10", "ok"),
        ("family 17", &family),
        ("family 40", &family),
        ("unshare user", &refused),
        ("unshare net", &refused),
        ("map writable", "ok"),
        ("map executable", "ok"),
        ("map both", &refused),
        ("write", &read_only),
        ("write sysctl", &read_only),
        ("null", "ok"),
        ("devices", "full null random urandom zero"),
    ] {
        assert_eq!(own[what], expected, "{what}: {own:#?}");
    }
    let netns = drop_in("netns");
    let (program, _file) = confined(&tries, Some(&netns));
    let with_netns = found(program);
    let differ: Vec<_> = own.keys().filter(|what| own[*what] != with_netns[*what]).collect();
    assert!(differ == ["unshare net"] && with_netns["unshare net"] == "ok", "{differ:?} {with_netns:#?}");
    // All of it is there without the unit, but for what takes a capability.
    let free = found(behind(&["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"], &tries));
    assert!(free["write"] == "ok" && free["map both"] == "ok" && free["family 40"] != family, "{free:#?}");
}
