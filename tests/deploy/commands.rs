//! The scripts behind `make`, as far as they run without network: what they refuse, and what they leave behind.

use super::{deploy, read};
use crate::support::agent::copy_program;
use crate::support::skipped;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// Writes a script. By another process, for the same reason as `copy_program`.
fn script(path: &Path, text: &str) {
    let mut install = Command::new("install")
        .args(["-m", "755", "/dev/stdin"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    install.stdin.take().unwrap().write_all(format!("#!/bin/sh\n{text}\n").as_bytes()).unwrap();
    assert!(install.wait().unwrap().success());
}

#[test]
fn make_help_lists_every_command_and_contributing_explains_those_that_take_more_than_a_compiler() {
    let makefile = read(&deploy("Makefile"));
    let phony: Vec<&str> = makefile.lines().filter_map(|line| line.strip_prefix(".PHONY: ")).collect();
    let help = Command::new("make").arg("help").current_dir(deploy("")).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let explained = read(&deploy("CONTRIBUTING.md"));
    for name in phony.join(" ").split_whitespace().filter(|name| *name != "compiler") {
        assert!(help.contains(&format!("make {name} ")), "`make help` leaves out {name}");
        let short = ["help", "run", "build", "fmt"].contains(&name);
        assert!(
            short || explained.contains(&format!("| `make {name}` |")),
            "CONTRIBUTING.md leaves out {name}"
        );
    }
}

/// A machine whose package manager is a script: programs, and a `/usr/sbin` in which nothing else is.
struct Machine {
    folder: TempDir,
}

impl Machine {
    /// `None` without root, which is needed for a namespace of mounts.
    fn new(apt_get: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skipped("needs root, for a namespace of mounts");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let machine = Self { folder };
        std::fs::create_dir(machine.path("bin")).unwrap();
        std::fs::create_dir(machine.path("sbin")).unwrap();
        script(&machine.path("bin/apt-cache"), "[ \"$2\" != old ]");
        script(&machine.path("bin/apt-get"), apt_get);
        Some(machine)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn tools(&self, wanted: &str) -> Output {
        let inside = "mount --bind \"$MACHINE/sbin\" /usr/sbin && exec .ci/tools \"$0\"";
        Command::new("unshare")
            .args(["--mount", "bash", "-c", inside, wanted])
            .current_dir(deploy(""))
            .env("MACHINE", self.folder.path())
            .env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()))
            .output()
            .unwrap()
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.path("said")).unwrap()
    }
}

#[test]
fn packages_are_installed_without_their_services_and_of_the_names_that_the_release_has() {
    let apt_get = r#"
        /usr/sbin/policy-rc.d; echo "$? $*" >>"$MACHINE/said"
        echo '#!/bin/sh' >"$MACHINE/bin/wanted-program"; chmod +x "$MACHINE/bin/wanted-program""#;
    let Some(machine) = Machine::new(apt_get) else { return };
    let output = machine.tools("wanted-program=old|new");
    assert!(output.status.success(), "{output:?}");
    // 101: the action is not allowed (/usr/share/doc/init-system-helpers/README.policy-rc.d.gz).
    assert_eq!(machine.said(), "101 install --yes --quiet --no-install-recommends new\n");
    assert!(!machine.path("sbin/policy-rc.d").exists());
    // Where it is there, nothing is installed.
    assert!(machine.tools("wanted-program=new").status.success());
    assert_eq!(machine.said().lines().count(), 1);
}

#[test]
fn an_installation_that_fails_leaves_no_policy_and_the_policy_of_the_machine_stays() {
    let Some(machine) = Machine::new("echo \"$1\" >>\"$MACHINE/said\"; exit 100") else { return };
    assert!(!machine.tools("wanted-program=new").status.success());
    assert_eq!(machine.said(), "install\nupdate\n");
    assert!(!machine.path("sbin/policy-rc.d").exists());
    script(&machine.path("sbin/policy-rc.d"), "exit 0");
    assert!(!machine.tools("wanted-program=new").status.success());
    assert!(machine.path("sbin/policy-rc.d").exists());
    // What came has not what was asked for.
    let Some(machine) = Machine::new("exit 0") else { return };
    let output = machine.tools("wanted-program=new");
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, "wanted-program is not in new\n");
}

#[test]
fn only_what_was_made_whole_of_this_commit_is_packed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let shell = |command: &str| {
        let output = Command::new("bash").args(["-ec", command]).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
    };
    std::fs::create_dir(path(".ci")).unwrap();
    copy_program(&deploy(".ci/packages"), &path(".ci/packages"));
    // What comes after the checks is not run.
    script(&path(".ci/venv"), "echo the checks passed >&2; exit 1");
    std::fs::write(path("Cargo.toml"), "version = \"1.2.3\"\n").unwrap();
    std::fs::write(path(".gitignore"), "dist/\n").unwrap();
    shell(
        "git init --quiet; git add .; git -c user.name=test -c user.email=test@localhost commit --quiet --message test",
    );
    let refused = || {
        let output = Command::new(path(".ci/packages")).env_remove("CONNSCOPE_BINARY").output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused().contains("there is no dist/connscope"));
    std::fs::create_dir(path("dist")).unwrap();
    let sums = "cd dist; sha256sum COMMIT connscope >SHA256SUMS";
    script(&path("dist/connscope"), "echo connscope 1.2.3");
    // `make dist` writes the checksums last.
    assert!(refused().contains("dist/ is not whole"));
    shell(&format!("git rev-parse HEAD >dist/COMMIT; {sums}"));
    assert!(refused().contains("the checks passed"), "{}", refused());
    script(&path("dist/connscope"), "echo connscope 1.2.2");
    assert!(refused().contains("dist/ is not whole"));
    shell(sums);
    assert!(refused().contains("dist/connscope is connscope 1.2.2, and the packages are of 1.2.3"));
    script(&path("dist/connscope"), "echo connscope 1.2.3");
    shell(&format!("echo 0123 >dist/COMMIT; {sums}"));
    assert!(refused().contains("dist/ is of the commit 0123"));
    shell(&format!("echo >new; git rev-parse HEAD >dist/COMMIT; {sums}"));
    assert!(refused().contains("the tree is not clean"));
}
