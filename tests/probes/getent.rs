//! Names in made-up zones: what is found is what the C library finds.

use super::name_server;
use crate::support::Namespace;
use connscope::source::probes::config::Family;
use connscope::source::probes::origin::Origin;
use connscope::source::probes::resolve::Resolver;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use simple_dns::rdata::{A, AAAA, RData};
use simple_dns::{CLASS, QTYPE, RCODE, ResourceRecord, TYPE};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a zone says of one name.
#[derive(Debug, Clone, PartialEq)]
enum Says {
    NoSuchName,
    ServFail,
    Addresses { four: Option<u8>, six: Option<u8> },
}

/// One machine's files, the zones, and a name.
#[derive(Debug, Clone)]
struct Case {
    name: String,
    search: Option<Vec<&'static str>>,
    options: String,
    hosts: BTreeMap<String, (Option<u8>, Option<u8>)>,
    zones: BTreeMap<String, Says>,
}

impl Case {
    fn resolv_conf(&self) -> String {
        let search = self.search.as_ref().map(|domains| format!("search {}\n", domains.join(" ")));
        format!("{}nameserver 127.0.0.1\noptions {}\n", search.unwrap_or_default(), self.options)
    }

    fn hosts_file(&self) -> String {
        let line = |(name, (four, six)): (&String, &(Option<u8>, Option<u8>))| {
            let four = four.map(|last| format!("192.0.2.{last} {name}\n"));
            let six = six.map(|last| format!("2001:db8::{last} {}\n", name.to_uppercase()));
            four.unwrap_or_default() + &six.unwrap_or_default()
        };
        self.hosts.iter().map(line).collect()
    }
}

const DOMAINS: [&str; 9] =
    ["x.test", "y.test.", "test", "b.test", "c", ".", "long.way.down.test", "z.test", "w.test"];

fn cases() -> impl Strategy<Value = Case> {
    let label = || prop::sample::select(vec!["a", "b", "c", "host", "docker"]);
    let name = (prop::collection::vec(label(), 1..4), prop::bool::weighted(0.1))
        .prop_map(|(labels, full)| labels.join(".") + if full { "." } else { "" });
    let domains = prop::collection::vec(prop::sample::select(DOMAINS.to_vec()), 1..9);
    let options =
        (0..4usize, prop::sample::select(vec!["", "no-tld-query", "edns0"]), prop::bool::weighted(0.1))
            .prop_map(|(dots, word, no_six)| {
                format!("ndots:{dots} timeout:30 {word}{}", if no_six { " no-aaaa" } else { "" })
            });
    let address = || prop::option::of(1..250u8);
    let says = prop_oneof![
        3 => Just(Says::NoSuchName),
        1 => Just(Says::ServFail),
        1 => Just(Says::Addresses { four: None, six: None }),
        2 => (address(), address()).prop_map(|(four, six)| Says::Addresses { four, six }),
    ];
    let hosts = prop::option::weighted(0.15, (address(), address()));
    (name, prop::option::weighted(0.9, domains), options, hosts, prop::collection::vec(says, 11)).prop_map(
        |(name, search, options, hosts, says)| {
            // glibc looks for a name with a dot at its end in the file as it is written.
            let hosts = hosts.filter(|_| !name.ends_with('.')).map(|known| (name.clone(), known));
            let full = name.trim_end_matches('.').to_owned();
            let behind = |domain: &&str| format!("{full}.{}", domain.trim_matches('.'));
            let names = DOMAINS.iter().map(behind).chain([format!("{full}.machine.test"), full.clone()]);
            let zones = names.map(|name| name.trim_matches('.').to_owned()).zip(says).collect();
            Case { name, search, options, hosts: hosts.into_iter().collect(), zones }
        },
    )
}

type Zones = Arc<Mutex<BTreeMap<String, Says>>>;

fn reply(question: &[u8], zones: &Zones) -> Option<Vec<u8>> {
    name_server::respond(question, |asked, reply| {
        let name = asked.qname.to_string();
        let said = zones.lock().unwrap().get(&name.to_lowercase()).cloned().unwrap_or(Says::NoSuchName);
        let mut add =
            |data| reply.answers.push(ResourceRecord::new(asked.qname.clone(), CLASS::IN, 60, data));
        match (said, asked.qtype) {
            (Says::Addresses { four: Some(last), .. }, QTYPE::TYPE(TYPE::A)) => {
                add(RData::A(A { address: u32::from_be_bytes([198, 51, 100, last]) }));
            }
            (Says::Addresses { six: Some(last), .. }, QTYPE::TYPE(TYPE::AAAA)) => {
                let address = (0x2001_0db8_u128 << 96) | (1 << 64) | u128::from(last);
                add(RData::AAAA(AAAA { address }));
            }
            (Says::Addresses { .. }, _) => {}
            (Says::NoSuchName, _) => *reply.rcode_mut() = RCODE::NameError,
            (Says::ServFail, _) => *reply.rcode_mut() = RCODE::ServerFailure,
        }
        Some(())
    })
}

#[expect(unsafe_code, reason = "the test has files of its own instead of the machine's")]
fn unshare_mounts() {
    // SAFETY: unshare takes no pointers; with CLONE_NEWNS it changes the calling thread and nothing else.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0, "{}", std::io::Error::last_os_error());
}

fn mount(arguments: &[&str]) {
    let done = Command::new("mount").args(arguments).output().unwrap();
    assert!(done.status.success(), "mount {arguments:?}: {done:?}");
}

/// What `getent ahosts` finds.
fn getent(database: &str, name: &str) -> BTreeSet<IpAddr> {
    let done = Command::new("getent").args([database, name]).env_remove("LOCALDOMAIN").output().unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    text.lines().map(|line| line.split_whitespace().next().unwrap().parse().unwrap()).collect()
}

#[test]
fn every_name_is_found_where_the_c_library_finds_it() {
    let Some(namespace) = Namespace::new() else { return };
    // With an address of either family besides those of loopback: `AI_ADDRCONFIG`.
    namespace.run("ip", &["address", "add", "192.0.2.254/24", "dev", "lo"]);
    namespace.run("ip", &["address", "add", "2001:db8::fffe/64", "dev", "lo", "nodad"]);
    let zones = Zones::default();
    let socket = namespace.inside(|| UdpSocket::bind("127.0.0.1:53")).unwrap();
    let said = Arc::clone(&zones);
    std::thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            if let Some(reply) = reply(&buffer[..length], &said) {
                socket.send_to(&reply, peer).unwrap();
            }
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let own = |name: &str| dir.path().join(name);
    for (name, text) in [("resolv.conf", ""), ("hosts", ""), ("nsswitch.conf", "hosts: files dns\n")] {
        std::fs::write(own(name), text).unwrap();
    }
    namespace.inside(|| {
        unshare_mounts();
        mount(&["--make-rprivate", "/"]);
        for name in ["resolv.conf", "hosts", "nsswitch.conf"] {
            let place = format!("/etc/{name}");
            if Path::new(&place).exists() {
                mount(&["--bind", own(name).to_str().unwrap(), &place]);
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
        let found = std::cell::Cell::new(0);
        let check = |case: Case| {
            std::fs::write(own("resolv.conf"), case.resolv_conf()).unwrap();
            std::fs::write(own("hosts"), case.hosts_file()).unwrap();
            zones.lock().unwrap().clone_from(&case.zones);
            // A new one each time: that the file has changed is seen by its time, which may be the same.
            let resolver = Resolver::new(Vec::new());
            let both = [Family::Ipv4, Family::Ipv6];
            let origin = Origin::default();
            let within = Duration::from_mins(1);
            let all = runtime.block_on(resolver.by_family(&case.name, &both, &origin, within)).unwrap();
            let all: BTreeSet<IpAddr> =
                all.into_iter().filter_map(|(_, found)| found.ok()).flatten().collect();
            let expected = getent("ahosts", &case.name);
            prop_assert_eq!(&all, &expected, "{}", case.resolv_conf());
            found.set(found.get() + usize::from(!expected.is_empty()));
            // Of one family first: those of the very same full name.
            for prefer in both {
                let one =
                    runtime.block_on(resolver.addresses(&case.name, &[prefer, prefer.other()], &origin));
                let one: BTreeSet<IpAddr> = one.unwrap_or_default().into_iter().collect();
                let preferred = expected.iter().filter(|address| Family::of(**address) == prefer);
                let mut preferred: BTreeSet<IpAddr> = preferred.copied().collect();
                if preferred.is_empty() {
                    preferred.clone_from(&expected);
                }
                prop_assert_eq!(one, preferred, "{:?} first", prefer);
            }
            let four = runtime.block_on(resolver.addresses(&case.name, &[Family::Ipv4], &origin));
            let four: BTreeSet<IpAddr> = four.unwrap_or_default().into_iter().collect();
            prop_assert_eq!(four, getent("ahostsv4", &case.name), "IPv4 alone");
            Ok::<(), TestCaseError>(())
        };
        TestRunner::new(config).run(&cases(), check).unwrap_or_else(|error| panic!("{error}"));
        assert!(found.get() > 50, "most names have to be found for this to say anything: {}", found.get());
    });
}
