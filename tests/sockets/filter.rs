//! The filter language of `ss`: what is understood, what is refused and how, and that whatever runs a filter runs it to
//! the same end: the agent, the bytecode by the kernel's rules, the kernel, `ss`.

mod bytecode;
mod kernel;
mod language;

use bytecode::{Entry, audit, run};
use connscope::filter::{Compiled, Filter, FilteredSocket, KernelCan, Names};
use proptest::prelude::*;
use std::net::IpAddr;

/// What the conditions of the tests are about: addresses and ports the sockets of the tests have, and their neighbours.
const HOSTS: &[&str] = &[
    "*",
    ":80",
    "*:443",
    "any",
    "inet:*",
    "inet6:*",
    "inet:*:80",
    "inet6:*:443",
    "0.0.0.0",
    "0.0.0.0/0",
    "0.0.0.0/1:8080",
    "127.0.0.1",
    "127.0.0.1:8080",
    "127.0.0.2/31",
    "127/8",
    "127.0.0.0/255.0.0.0:80",
    "10.1.2.3",
    "10.1.2.3:443",
    "10.1.2.3/30",
    "10.0.0.0/9",
    "10/8:443",
    "192.168.7.1/24",
    "inet:192.168/16",
    "[::]",
    "::/0",
    "[::/0]:80",
    "::/80",
    "::/97",
    "[::1]",
    "[::1]:8081",
    "[fd00::1]:443",
    "fd00::/8",
    "fd00::/7:443",
    "inet6:[fd00::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:127.0.0.0]/104:80",
    "[::ffff:0:0/95]",
    "[::ffff:0:0]/96",
];
const PORTS: &[u16] = &[0, 1, 22, 53, 80, 81, 443, 7000, 8080, 8081, 9000, 9005, 40000, 65535];
const COMPARE: &[&str] =
    &["=", "==", "eq", "!=", "ne", "neq", "<", "lt", "<=", "le", "leq", ">", "gt", ">=", "ge", "geq"];

const OTHERS: &[&str] = &[
    "dev lo",
    "dev != v0",
    "dev = 1",
    "dev 0",
    "dev nothing",
    "fwmark 5",
    "fwmark = 0x5/0xf",
    "fwmark != 0/1",
    "cgroup /here",
    "cgroup != /there",
    "cgroup /nowhere",
    "autobound",
    "sport = inet:80",
    "dport > inet6::80",
];

fn leaf() -> impl Strategy<Value = String> {
    let host = (prop::sample::select(&["src", "dst"][..]), prop::sample::select(HOSTS));
    let port = (
        prop::sample::select(&["sport", "dport"][..]),
        prop::sample::select(COMPARE),
        prop::sample::select(PORTS),
    );
    prop_oneof![
        4 => host.prop_map(|(side, host)| format!("{side} {host}")),
        3 => port.prop_map(|(side, compare, port)| format!("{side} {compare} {port}")),
        2 => prop::sample::select(OTHERS).prop_map(str::to_owned),
    ]
}

fn combined(leaf: impl Strategy<Value = String> + 'static) -> impl Strategy<Value = String> {
    leaf.prop_recursive(5, 40, 4, |inner| {
        let link = prop::sample::select(&[" and ", " or ", " or ", " ", " && ", " | "][..]);
        let rest = prop::collection::vec((link, inner.clone()), 1..5);
        let list = (inner.clone(), rest)
            .prop_map(|(first, rest)| rest.into_iter().fold(first, |text, (link, next)| text + link + &next));
        prop_oneof![
            inner.clone().prop_map(|inner| format!("not ( {inner} )")),
            inner.clone().prop_map(|inner| format!("( {inner} )")),
            inner.clone().prop_map(|inner| format!("! {inner}")),
            list,
        ]
    })
}

/// Texts that are filters.
fn text() -> impl Strategy<Value = String> {
    combined(leaf())
}

fn names() -> Names {
    let mut names = Names::default();
    names.interfaces.extend([("lo".to_owned(), 1), ("v0".to_owned(), 3)]);
    names.cgroups.extend([("/here".to_owned(), 7), ("/there".to_owned(), 8)]);
    names
}

fn address() -> impl Strategy<Value = IpAddr> {
    let known = [
        "0.0.0.0",
        "127.0.0.1",
        "127.0.0.3",
        "10.1.2.3",
        "10.200.0.1",
        "192.168.7.1",
        "::",
        "::1",
        "fd00::1",
        "::2:0:0",
    ];
    let known = known.map(|address| address.parse().unwrap());
    prop_oneof![9 => prop::sample::select(known.to_vec()).boxed(), 1 => any::<u32>().prop_map(|bits| IpAddr::V4(bits.into())).boxed()]
}

fn subject() -> impl Strategy<Value = FilteredSocket> {
    let addresses = (address(), address());
    let ports = (prop::sample::select(PORTS), prop::sample::select(PORTS));
    let rest = (1_u8..=13, 0_u32..4, prop::option::of(0_u32..32), prop::option::of(6_u64..9), any::<bool>());
    (addresses, ports, rest).prop_map(
        |((local, peer), (local_port, peer_port), (state, interface, mark, cgroup, autobound))| {
            FilteredSocket {
                local,
                peer,
                local_port,
                peer_port,
                state,
                interface,
                mark,
                cgroup,
                autobound: Some(autobound),
            }
        },
    )
}

fn filter(text: &str) -> Filter {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> String {
    let error = text.parse::<Filter>().expect_err(text).to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

/// A connection from 10.1.2.3:40000 to 192.168.7.1:443, established.
fn connection() -> FilteredSocket {
    FilteredSocket {
        local: "10.1.2.3".parse().unwrap(),
        peer: "192.168.7.1".parse().unwrap(),
        local_port: 40000,
        peer_port: 443,
        state: 1,
        interface: 0,
        mark: None,
        cgroup: None,
        autobound: None,
    }
}

fn matches(text: &str) -> bool {
    filter(text).matches(&connection(), &names())
}

#[test]
fn an_empty_filter_takes_everything() {
    for text in ["", "  \n\t "] {
        let filter = filter(text);
        assert_eq!(filter, Filter::default());
        assert_eq!(filter.states(), 0x3ffe);
        assert_eq!(filter.to_string(), "");
        assert!(filter.matches(&connection(), &Names::default()));
        let all = Compiled { bytecode: Vec::new(), complete: true };
        assert_eq!(filter.compile(&Names::default(), KernelCan::MINIMUM), all);
    }
}

#[test]
fn a_long_filter_needs_no_deep_stack() {
    let text = format!("sport 1{}", " or dport 2 and sport 3".repeat(2000));
    let filter = filter(&text);
    assert!(!filter.matches(&connection(), &names()));
    let Compiled { bytecode, complete } = filter.compile(&names(), KernelCan::MINIMUM);
    assert!(complete && audit(&bytecode));
    assert!(!run(
        &bytecode,
        &Entry::of(&FilteredSocket { autobound: Some(true), ..connection() }, false).unwrap()
    ));
    assert_eq!(filter.to_string().parse(), Ok(filter));
}

#[test]
fn what_the_kernel_cannot_decide_is_left_to_the_agent() {
    let compile = |text: &str, kernel| filter(text).compile(&names(), kernel);
    let known = compile("src 10/8", KernelCan::MINIMUM).bytecode;
    let with_mark = compile("src 10/8 and fwmark 5", KernelCan::MINIMUM);
    assert_eq!(with_mark, Compiled { bytecode: known.clone(), complete: false });
    assert!(compile("src 10/8 and fwmark 5", KernelCan { mark: true, ..KernelCan::MINIMUM }).complete);
    let with_any = compile("src 10/8 and ( dev lo or not cgroup /here )", KernelCan::MINIMUM);
    assert_eq!(with_any, Compiled { bytecode: known.clone(), complete: false });
    let below_or = compile("dport 1 or fwmark 5", KernelCan::MINIMUM);
    assert_eq!(below_or, Compiled { bytecode: Vec::new(), complete: false });
    // A group that is not there has no sockets, whatever the kernel can.
    let gone = compile("src 10/8 or cgroup /nowhere", KernelCan::MINIMUM);
    assert_eq!(gone, Compiled { bytecode: known, complete: true });
    // Nothing passes a jump behind the end.
    assert_eq!(
        compile("dev nothing", KernelCan::ALL).bytecode,
        [[1, 4].as_slice(), &8_u16.to_ne_bytes()].concat()
    );
}

/// The end of a connection that was refused, or reset from here.
#[test]
fn what_the_end_of_a_socket_does_not_tell_leaves_the_filter_undecided() {
    let ended = connection();
    let cleared = FilteredSocket { local: "0.0.0.0".parse().unwrap(), peer_port: 0, ..ended };
    let matched = |text: &str, subject: &FilteredSocket| filter(text).matched(subject, &names());
    for (text, of_ended, of_cleared) in [
        ("", Some(true), Some(true)),
        ("not src 127.0.0.0/8", Some(true), None),
        ("src 0.0.0.0/0", Some(true), Some(true)),
        ("src ::/0", Some(false), Some(false)),
        ("src 10/8:40000", Some(true), None),
        ("src :40001", Some(false), Some(false)),
        ("src 10/8:40001", Some(false), Some(false)),
        ("not dst 127.0.0.0/8", Some(true), Some(true)),
        ("dport = :443", Some(true), None),
        ("not dport = :443", Some(false), None),
        ("dport != :443", Some(false), None),
        ("dport > inet6:1", Some(false), Some(false)),
        ("sport = :40000", Some(true), Some(true)),
        ("cgroup /here", None, None),
        ("not cgroup /here", None, None),
        ("not cgroup /nowhere", Some(true), Some(true)),
        ("not fwmark 5", None, None),
        ("autobound", None, None),
        ("dst 192.168/16 or cgroup /here", Some(true), Some(true)),
        ("cgroup /here and dst 10/8", Some(false), Some(false)),
        ("dev lo", Some(false), Some(false)),
        ("state listening", Some(false), Some(false)),
    ] {
        assert_eq!([matched(text, &ended), matched(text, &cleared)], [of_ended, of_cleared], "{text}");
    }
    // In a dump the same addresses are what the socket has.
    assert!(
        filter("not src 127.0.0.0/8 and not dport = :443 and not cgroup /here").matches(&cleared, &names())
    );
}

#[test]
fn a_socket_of_which_the_kernel_does_not_tell_how_it_was_bound_is_taken() {
    let unknown = connection();
    for text in ["autobound", "not autobound", "autobound and src 10/8", "src 11/8 or not autobound"] {
        assert!(filter(text).matches(&unknown, &names()), "{text}");
    }
    for text in ["autobound and src 11/8", "not ( autobound or src 10/8 )", "src 11/8 and autobound"] {
        assert!(!filter(text).matches(&unknown, &names()), "{text}");
    }
    let chosen = FilteredSocket { autobound: Some(false), ..unknown };
    assert!(!filter("autobound").matches(&chosen, &names()));
}

proptest! {
    #[test]
    fn what_is_printed_is_read_to_the_same(states in prop::sample::select(&["", "state established ", "exclude bucket ", "state big exclude syn-sent "][..]), text in text()) {
        let filter = filter(&format!("{states}{text}"));
        let printed = filter.to_string();
        prop_assert_eq!(printed.parse::<Filter>(), Ok(filter), "{} printed as {}", text, printed);
    }

    #[test]
    fn any_text_is_read_or_refused_on_one_line(text in "([a-z0-9 ()=!<>:./\\\\\\[\\]*&|]|src |dst |sport |not |and |or |10.0.0.1|\\PC){0,40}") {
        match text.parse::<Filter>() {
            Ok(filter) => prop_assert_eq!(filter.to_string().parse::<Filter>(), Ok(filter)),
            Err(error) => prop_assert!(!error.to_string().contains('\n')),
        }
    }

    #[test]
    fn by_the_kernels_rules_the_bytecode_passes_what_the_agent_takes(
        text in text(),
        subjects in prop::collection::vec(subject(), 20),
    ) {
        let filter = filter(&text);
        let Compiled { bytecode, complete } = filter.compile(&names(), KernelCan::ALL);
        prop_assert!(complete);
        prop_assert!(audit(&bytecode), "the kernel would refuse {}", filter);
        for subject in subjects {
            for mapped in [false, true] {
                // An IPv6 socket has IPv4 addresses as v4-mapped ones; an IPv4 socket has no others.
                if let Some(entry) = Entry::of(&subject, mapped) {
                    prop_assert_eq!(run(&bytecode, &entry), filter.matches(&subject, &names()), "{} on {:?}", filter, subject);
                }
            }
        }
    }

    #[test]
    fn bytecode_for_a_lesser_kernel_rejects_nothing_the_agent_takes(
        text in text(),
        can in any::<[bool; 3]>(),
        subjects in prop::collection::vec(subject(), 20),
    ) {
        let filter = filter(&text);
        let [device, mark, cgroup] = can;
        let Compiled { bytecode, complete } = filter.compile(&names(), KernelCan { device, mark, cgroup });
        prop_assert!(audit(&bytecode));
        let codes = bytecode::codes(&bytecode);
        prop_assert!(device || !codes.contains(&9));
        prop_assert!(mark || !codes.contains(&10));
        prop_assert!(cgroup || !codes.contains(&13));
        for subject in subjects {
            if let Some(entry) = Entry::of(&subject, true) {
                let (passes, taken) = (run(&bytecode, &entry), filter.matches(&subject, &names()));
                prop_assert!(passes || !taken, "{} on {:?}", filter, subject);
                prop_assert!(!complete || passes == taken, "{} on {:?}", filter, subject);
            }
        }
    }
}
