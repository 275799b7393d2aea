//! The systemd units and the drop-ins: systemd understands them, they expose little, and the limits are enough for what the agent
//! does by default. `confined` has what a drop-in promises.

use crate::support::{Agent, skipped};
use connscope::catalog::SOURCES;
use connscope::source::probes::config::Probes;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

const UNIT: &str = "deploy/systemd/connscope.service";

pub(super) fn unit() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(UNIT)).unwrap()
}

/// A file of `connscope.service.d`.
#[derive(Debug)]
pub(super) struct DropIn {
    pub(super) name: String,
    /// The comments: when it is needed, and why its limits are what they are.
    about: String,
    /// `Key=value`.
    pub(super) lines: Vec<String>,
}

pub(super) fn drop_ins() -> Vec<DropIn> {
    super::files("deploy/systemd/connscope.service.d", "conf").iter().map(|path| parsed(path)).collect()
}

fn parsed(path: &Path) -> DropIn {
    let text = super::read(path);
    let (comments, rest): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with('#'));
    let (section, lines) = rest.split_first().unwrap();
    assert_eq!(*section, "[Service]", "{}", path.display());
    let about: Vec<&str> = comments.iter().map(|line| line.trim_start_matches(['#', ' '])).collect();
    DropIn {
        name: super::stem(path),
        about: about.join(" "),
        lines: lines.iter().map(|line| (*line).to_owned()).collect(),
    }
}

pub(super) fn drop_in(name: &str) -> DropIn {
    drop_ins().into_iter().find(|one| one.name == name).unwrap_or_else(|| panic!("there is no {name}.conf"))
}

/// Several, in the order in which systemd reads them; `None` where there are none.
pub(super) fn together(names: &[&str]) -> Option<DropIn> {
    assert!(names.is_sorted(), "systemd reads {names:?} in the order of their names");
    let all = names.iter().map(|name| drop_in(name));
    all.reduce(|mut all, one| {
        all.lines.extend(one.lines);
        all
    })
}

/// The values of a key, as systemd adds them up.
pub(super) fn values<'a>(lines: impl Iterator<Item = &'a str>, key: &str) -> Vec<String> {
    let values = lines.filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.flat_map(|value| value.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// What `systemd-analyze verify` says of the unit with something below it; `None` where there is none.
fn complaints(further: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    // What is started has to be there.
    let here = |text: &str| text.replace("/usr/local/bin/connscope", env!("CARGO_BIN_EXE_connscope"));
    let own = here(&unit());
    let path = folder.path().join("connscope.service");
    std::fs::write(&path, own).unwrap();
    let below = folder.path().join("connscope.service.d");
    std::fs::create_dir(&below).unwrap();
    std::fs::write(below.join("further.conf"), format!("[Service]\n{}\n", here(further))).unwrap();
    let output = match Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            skipped("needs systemd-analyze (make test installs it)");
            return None;
        }
        output => output.unwrap(),
    };
    // Of units that this machine lacks it speaks as well.
    let said = String::from_utf8(output.stderr).unwrap();
    let about_us: Vec<&str> = said.lines().filter(|line| line.contains("connscope.service")).collect();
    Some(about_us.join("\n"))
}

#[test]
fn the_unit_and_its_drop_ins_give_what_the_sources_say_that_they_need() {
    let base = unit();
    let capabilities = |lines: &mut dyn Iterator<Item = &str>| -> BTreeSet<String> {
        let named = values(lines, "AmbientCapabilities");
        named.into_iter().filter(|name| !name.is_empty()).collect()
    };
    let of_the_unit = capabilities(&mut base.lines());
    let families: BTreeSet<String> = values(base.lines(), "RestrictAddressFamilies").into_iter().collect();
    let of_drop_ins: Vec<(String, BTreeSet<String>)> = drop_ins()
        .iter()
        .map(|one| (one.name.clone(), capabilities(&mut one.lines.iter().map(String::as_str))))
        .filter(|(_, named)| !named.is_empty())
        .collect();
    let mut needed = Vec::new();
    for (spec, requirement) in
        SOURCES.iter().flat_map(|spec| spec.requirements.iter().map(move |one| (spec, one)))
    {
        let what = format!("{}: {}", spec.name, requirement.purpose);
        for family in requirement.address_families {
            assert!(
                families.contains(*family),
                "{what} opens sockets of {family}, which {UNIT} does not allow"
            );
        }
        let wanted: BTreeSet<String> = requirement.capabilities.iter().map(|&name| name.to_owned()).collect();
        assert!(
            wanted.is_subset(&of_the_unit)
                || of_drop_ins
                    .iter()
                    .any(|(name, named)| *named == wanted || name == spec.name && named.is_superset(&wanted)),
            "{what} takes {wanted:?}: neither {UNIT} nor one of its drop-ins gives exactly these, nor the one of the source"
        );
        needed.push(wanted);
    }
    for (name, named) in of_drop_ins {
        let of_source = SOURCES.iter().find(|spec| spec.name == name).map(|spec| {
            let all = spec.requirements.iter().flat_map(|one| one.capabilities);
            all.map(|&name| name.to_owned()).collect::<BTreeSet<String>>()
        });
        assert!(
            // What few want and takes much is in a drop-in of its own, and not in that of the source.
            needed.contains(&named) || of_source.as_ref().is_some_and(|all| named.is_subset(all)),
            "{name}.conf gives {named:?}, which no source says that it needs"
        );
    }
}

#[test]
fn systemd_understands_the_unit_and_every_drop_in() {
    let Some(said) = complaints("NoSuchKey=yes") else { return };
    assert!(said.contains("NoSuchKey"), "it would not be said: {said}");
    assert_eq!(complaints("").unwrap(), "");
    for one in drop_ins() {
        assert_eq!(complaints(&one.lines.join("\n")).unwrap(), "", "{one:#?}");
    }
}

/// What `systemd-analyze security` rates the unit with these drop-ins: 0 is safe, and 100 is 10.0. It reads no drop-ins: what they say is
/// put behind what the unit says, as systemd has it. `None` where there is no systemd-analyze.
fn exposure(names: &[&str]) -> Option<u32> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("connscope.service");
    let further = together(names).map_or(Vec::new(), |all| all.lines);
    std::fs::write(&path, format!("{}\n[Service]\n{}\n", unit(), further.join("\n"))).unwrap();
    let mut analyze = Command::new("systemd-analyze");
    let rated = match analyze.args(["security", "--no-pager", "--offline=true"]).arg(&path).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            skipped("needs systemd-analyze (make test installs it)");
            return None;
        }
        rated => String::from_utf8(rated.unwrap().stdout).unwrap(),
    };
    let (_, level) = rated.split_once("Overall exposure level for connscope.service: ").expect(&rated);
    Some(level.split(' ').next().unwrap().replace('.', "").parse().unwrap())
}

/// What any of them are rated is not more than what all are: each adds to what is exposed, but for `ProtectProc=`, about which the test
/// below is.
#[test]
fn the_exposure_that_systemd_sees_stays_small_with_each_drop_in_and_with_all() {
    let Some(own) = exposure(&[]) else { return };
    assert!(own <= 15, "the unit: {own}");
    let every = drop_ins();
    let mut names: Vec<&str> = every.iter().map(|one| &*one.name).collect();
    for name in &names {
        let rated = exposure(&[name]).unwrap();
        assert!(rated <= 23, "{name}: {rated}");
    }
    names.retain(|name| !matches!(*name, "sockets-only" | "credentials"));
    let all = exposure(&names).unwrap();
    assert!(all <= 25, "all: {all}");
    let usual = exposure(&["containers", "latency-icmp"]).unwrap();
    assert!(usual <= 25, "containers and latency-icmp: {usual}");
}

/// What hides processes from one drop-in may not hide them from another, whichever of them are there; and who has the capability does not
/// need that they are shown to all, whichever of them are there.
#[test]
fn a_drop_in_that_sees_every_process_hides_them_after_those_that_show_them() {
    let mut hides = false;
    for one in drop_ins() {
        let of = |key: &str| values(one.lines.iter().map(String::as_str), key);
        let sees = of("AmbientCapabilities").iter().any(|name| name == "CAP_SYS_PTRACE");
        assert_eq!(of("ProtectProc") == ["invisible"], sees, "{one:#?}");
        hides |= sees;
        assert!(!hides || of("ProtectProc") != ["default"], "{} is read too late", one.name);
    }
    assert!(hides);
}

#[test]
fn systemd_understands_the_socket_unit() {
    let folder = tempfile::tempdir().unwrap();
    let own = unit().replace("/usr/local/bin/connscope", env!("CARGO_BIN_EXE_connscope"));
    std::fs::write(folder.path().join("connscope.service"), own).unwrap();
    let socket = super::read(&super::deploy("deploy/systemd/connscope.socket"));
    let path = folder.path().join("connscope.socket");
    for (further, expected) in [("", ""), ("[Socket]\nNoSuchKey=yes\n", "NoSuchKey")] {
        std::fs::write(&path, format!("{socket}{further}")).unwrap();
        let output = match Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return skipped("needs systemd-analyze (make test installs it)");
            }
            output => output.unwrap(),
        };
        let said = String::from_utf8(output.stderr).unwrap();
        let about_us: String = said.lines().filter(|line| line.contains("connscope.")).collect();
        assert!(about_us.contains(expected) && about_us.is_empty() == expected.is_empty(), "{about_us}");
    }
    // What the endpoint has by default is what systemd opens.
    assert!(socket.contains("\nListenStream=127.0.0.1:9371\n"), "{socket}");
}

#[test]
fn every_drop_in_says_when_it_is_needed_and_the_unit_and_the_documentation_name_it() {
    let names: Vec<String> = drop_ins().into_iter().map(|one| one.name).collect();
    assert_eq!(
        names,
        [
            "container-names",
            "containers",
            "credentials",
            "drops",
            "icmp",
            "latency-icmp",
            "logs",
            "many-targets",
            "netns",
            "processes",
            "sockets-only",
            "volumes"
        ]
    );
    let page = super::read(&super::deploy("docs/install.md"));
    for one in drop_ins() {
        let needed =
            one.about.starts_with("Needed for: ") || one.about.starts_with("For a configuration with ");
        assert!(
            needed && one.about.contains("copy it to /etc/systemd/system/connscope.service.d/"),
            "{one:#?}"
        );
        let file = format!("{}.conf", one.name);
        assert!(unit().contains(&file), "the unit does not name {file}");
        assert!(page.contains(&file), "docs/install.md does not name {file}");
    }
}

#[test]
fn a_configuration_with_mode_0600_is_handed_over_as_a_credential() {
    let credentials = drop_in("credentials").lines;
    let start = credentials.iter().filter_map(|line| line.strip_prefix("ExecStart=")).next_back().unwrap();
    let (own, path) = unit()
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart=")?.rsplit_once(' '))
        .map(|(own, path)| (own.to_owned(), path.to_owned()))
        .unwrap();
    // What systemd puts into the folder of credentials under that name is the file that the unit reads.
    let name = start.strip_prefix(&format!("{own} ${{CREDENTIALS_DIRECTORY}}/")).unwrap();
    assert!(credentials.contains(&format!("LoadCredential={name}:{path}")), "{credentials:?}");
    let page = super::read(&super::deploy("docs/configuration.md"));
    for line in credentials {
        assert!(page.lines().any(|found| found == line), "docs/configuration.md does not show {line}");
    }
}

/// What 512 network namespaces and three scrapes at a time took: a smaller limit has the agent killed and restarted for ever.
const MOST_NAMESPACES_MIB: u64 = 77;

#[test]
fn the_drop_in_for_network_namespaces_has_room_for_as_many_as_are_read() {
    let limits = values(drop_in("netns").lines.iter().map(String::as_str), "MemoryMax");
    let limit: u64 = limits.first().unwrap().strip_suffix('M').unwrap().parse().unwrap();
    assert!(limit > MOST_NAMESPACES_MIB * 3 / 2, "{limit} MiB");
}

/// systemd takes the last of several: who combines drop-ins has to know what each adds, and to come after them.
#[test]
fn a_drop_in_with_more_memory_says_how_much_it_adds() {
    let memory = |lines: &[String]| -> Option<u64> {
        let limits = values(lines.iter().map(String::as_str), "MemoryMax");
        limits.first().map(|limit| limit.strip_suffix('M').unwrap().parse().unwrap())
    };
    let own = memory(&unit().lines().map(str::to_owned).collect::<Vec<_>>()).unwrap();
    let page = super::read(&super::deploy("docs/install.md"));
    for one in drop_ins() {
        let Some(limit) = memory(&one.lines) else { continue };
        let more = format!("{} MiB", limit - own);
        assert!(one.about.contains(&format!("MemoryMax= is {more} more than the unit's")), "{one:#?}");
        let row = format!("| `{}.conf` |", one.name);
        let row = page.lines().find(|line| line.starts_with(&row)).unwrap();
        assert!(row.ends_with(&format!("; {more} |")), "{row}");
        assert!(*one.name < *"override", "`systemctl edit` would not come after {}", one.name);
    }
}

#[test]
fn the_unit_allows_as_many_descriptors_as_probes_and_namespaces_take() {
    /// Besides the probes, as in their source.
    const REST: usize = 256;
    let allowed = |lines: &[String]| -> usize {
        let [limit] = values(lines.iter().map(String::as_str), "LimitNOFILE").try_into().unwrap();
        limit.parse().unwrap()
    };
    let own: Vec<String> = unit().lines().map(str::to_owned).collect();
    let namespaces = 5 * 512;
    assert!(allowed(&own) >= 2 * Probes::default().concurrency + REST + namespaces);
    let many = drop_in("many-targets");
    let (_, concurrency) = many.about.split_once("`concurrency: ").unwrap();
    let concurrency: usize = concurrency.split('`').next().unwrap().parse().unwrap();
    assert!(allowed(&many.lines) >= 2 * concurrency + REST + namespaces, "{many:#?}");
}

#[test]
fn the_unit_reloads_the_agent_and_keeps_it_from_a_bad_file() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("connscope.yaml");
    let write = |timeout: &str| {
        let text = format!(
            "export: {{otlp: {{protocol: none}}, prometheus: {{listen: '127.0.0.1:0'}}}}\n\
             sources: {{conntrack: {{enabled: false}}, sockets: {{timeout: {timeout}}}}}\n"
        );
        std::fs::write(&config, text).unwrap();
    };
    // As systemd splits and fills in a line that has neither quotes nor specifiers.
    let commands = |key: &str, process: u32| -> Vec<Vec<String>> {
        let all = unit();
        let lines = all.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let words = |line: &str| {
            let word = |word: &str| match word {
                "/usr/local/bin/connscope" => env!("CARGO_BIN_EXE_connscope").to_owned(),
                "/etc/connscope/connscope.yaml" => config.display().to_string(),
                "$MAINPID" => process.to_string(),
                word => word.to_owned(),
            };
            line.split(' ').map(word).collect()
        };
        lines.map(words).collect()
    };
    write("5s");
    let [start] = commands("ExecStart", 0).try_into().unwrap();
    let (program, arguments) = start.split_first().unwrap();
    let mut agent = Command::new(program);
    agent.args(arguments).env_clear();
    let mut agent = Agent::start(agent);
    agent.address();
    // One after the other, until one fails.
    let reload = || {
        for words in commands("ExecReload", agent.pid()) {
            let output = Command::new(&words[0]).args(&words[1..]).env_clear().output().unwrap();
            if !output.status.success() {
                return (output.status.code(), String::from_utf8(output.stderr).unwrap());
            }
        }
        (Some(0), String::new())
    };
    write("5 apples");
    let (code, said) = reload();
    assert!(
        code == Some(2) && said.contains("sources.sockets.timeout") && said.lines().count() == 1,
        "{said}"
    );
    write("6s");
    assert_eq!(reload(), (Some(0), String::new()));
    let line = agent.log.wait("the configuration was reloaded");
    assert!(line.contains("changed sources.sockets"), "{line}");
    assert!(!agent.log.all().iter().any(|line| line.contains("is refused")), "the bad file did not reach it");
}
