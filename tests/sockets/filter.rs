//! The filter language of `ss`: what is understood, what is refused and how, and that whatever runs a filter runs it to
//! the same end: the agent, the bytecode by the kernel's rules, the kernel, `ss`.

mod bytecode;
mod kernel;

use bytecode::{Entry, audit, run};
use connscope::filter::{Compiled, DEPTH, Filter, FilterError, KernelCan, Names, Services, Subject, TEXT};
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

fn subject() -> impl Strategy<Value = Subject> {
    let addresses = (address(), address());
    let ports = (prop::sample::select(PORTS), prop::sample::select(PORTS));
    let rest = (1_u8..=13, 0_u32..4, prop::option::of(0_u32..32), prop::option::of(6_u64..9), any::<bool>());
    (addresses, ports, rest).prop_map(
        |((local, peer), (local_port, peer_port), (state, interface, mark, cgroup, autobound))| Subject {
            local,
            peer,
            local_port,
            peer_port,
            state,
            interface,
            mark,
            cgroup,
            autobound: Some(autobound),
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
fn connection() -> Subject {
    Subject {
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
        assert_eq!(filter.compile(&Names::default(), KernelCan::LEAST), all);
    }
}

#[test]
fn neither_and_nor_or_binds_closer_as_in_the_grammar_of_ss() {
    // `src 10/8` and `dport 443` hold, `sport 1` does not.
    assert!(!matches("src 10/8 or dport 443 and sport 1"));
    assert!(matches("src 10/8 or ( dport 443 and sport 1 )"));
    assert!(matches("sport 1 and dport 443 or src 10/8"));
    assert!(!matches("src 10/8 or dport 443 sport 1"));
    assert!(matches("not sport 1 and src 10/8"));
    assert!(!matches("not ( sport 1 or src 10/8 )"));
}

#[test]
fn every_form_of_a_host_is_understood() {
    for text in [
        "src 10.1.2.3",
        "src = 10.1.2.3",
        "src == 10.1.2.3",
        "src eq 10.1.2.3",
        "src 10.1.2.3:40000",
        "src 10.1.2.3:",
        "src 10.1.2.3:*",
        "src 10.1.2.99/24",
        "src 10/8:40000",
        "src 10.1/255.255.0.0",
        "src inet:10.1.2.3",
        "src *",
        "src *:40000",
        "src :40000",
        "src any:40000",
        "src inet:*",
        "src inet::40000",
        "src [::ffff:10.1.2.3]",
        "src [::ffff:10.0.0.0/104]:40000",
        "src [::ffff:10.0.0.0]/104:40000",
        "src ::ffff:10.0.0.0/104:40000",
        "src ::ffff:10.1.2.3:40000",
        "src 0/0",
        "src default",
        "dst != 10.1.2.3",
        "src != 192.168.7.1",
        "src ne [::]",
        "not src ::/0",
        "sport = :40000",
        "sport 40000",
        "sport :0x9c40",
        "sport = 0116100",
        "sport = inet:40000",
        "sport = *",
        "(sport = :40000)",
        "sport gt 39999 sport lt 40001",
        "sport >= 40000 and sport <= 40000",
        "not (src fd00::/8 or dport 80)",
        "!(sport 1)",
        "dst 192.168.7.1:443 && dport != 80 & dport ne 81",
        "dport 1 || dport 2 | dport 443",
        "dev 0",
        "dev = 0x0",
        "fwmark 0",
        "fwmark = 0x0/0xff",
        "fwmark != 1",
        "cgroup != /here",
        "not cgroup /here",
        "autobound",
        "not autobound",
        "state established",
        "exclude listening",
        "state connected exclude time-wait src 10/8",
        "state SYN-SENT state Established",
        "excl syn-recv",
    ] {
        assert!(matches(text), "{text}");
    }
    for text in [
        "src 10.1.2.4",
        "src 10.1.2.3:40001",
        "src inet6:*",
        "src ::/0",
        "sport = inet6:40000",
        "dport gt 443",
        "dport lt 443",
        "dev lo",
        "dev nothing",
        "fwmark 5",
        "cgroup /here",
        "cgroup /nowhere",
        "state listening",
        "exclude established",
        "state bucket",
        "exclude connected",
        "not src *",
        "src [::ffff:10.1.2.4]",
    ] {
        assert!(!matches(text), "{text}");
    }
}

#[test]
fn states_are_sets_of_the_kernels_numbers() {
    let states = |text: &str| filter(text).states();
    assert_eq!(states("state established"), 1 << 1);
    assert_eq!(states("state listening state closed"), 1 << 10 | 1 << 7);
    assert_eq!(states("state syn-recv"), 1 << 3 | 1 << 12);
    assert_eq!(states("state all"), 0x3ffe);
    assert_eq!(states("exclude time-wait"), 0x3ffe & !(1 << 6));
    assert_eq!(
        states("state connected exclude established"),
        0x3ffe & !(1 << 1 | 1 << 7 | 1 << 10 | 1 << 13)
    );
    assert_eq!(states("state big") | states("state bucket"), 0x3ffe);
    assert_eq!(states("state big") & states("state bucket"), 0);
    assert_eq!(filter("exclude all state last-ack"), filter("state last-ack"));
}

#[test]
fn ports_may_be_called_by_the_names_of_services() {
    let services = Services::read(
        "# comment\nssh 22/tcp # SSH\nhttp\t80/tcp www web\nrsh 514/tcp\nsyslog 514/udp rsh2\n\
         odd 1/tcp\nodd 2/udp\nnothing\nbad 70000/tcp\nsctp 9/sctp\n",
    );
    let read = |text: &str| Filter::parse(text, &services);
    assert_eq!(read("dport = :ssh or src 10/8:www"), "dport = 22 or src 10.0.0.0/8:80".parse());
    assert_eq!(read("sport syslog").unwrap().to_string(), "sport = 514");
    assert!(read("sport odd").unwrap_err().to_string().contains("one port with TCP and another with UDP"));
    for name in ["bad", "sctp", "nothing", "70000"] {
        assert!(read(&format!("sport {name}")).is_err(), "{name}");
    }
    assert_eq!(
        error("sport = ssh"),
        "filter: column 9: `ssh` has a port `ssh` that is not a port from 0 to 65535, and no service of that name is known"
    );
}

#[test]
fn an_error_names_the_column_and_what_was_expected() {
    for (text, column, what) in [
        ("sport = 22 and", 15, "expected a condition"),
        ("and sport = 22", 1, "found `and`"),
        ("sport = 22 or or dport 1", 15, "found `or`"),
        ("( sport = 22", 13, "expected `)`"),
        ("sport = 22 )", 12, "found `)`"),
        ("( )", 3, "expected a condition"),
        ("sport=22", 1, "with blanks between words"),
        ("src", 4, "expected an address"),
        ("src (", 5, "found `(`"),
        ("src > 10.0.0.1", 5, "only sport and dport have an order"),
        ("dport > *", 9, "any port"),
        ("dport 65536", 7, "from 0 to 65535"),
        ("dport +1", 7, "from 0 to 65535"),
        ("dport 10.0.0.1:80", 7, "from 0 to 65535"),
        ("src 10.0.0.256", 5, "is not an address"),
        ("src 10.0.0.1.2", 5, "is not an address"),
        ("src 010.0.0.1", 5, "is not an address"),
        ("src 10.1", 5, "all four parts"),
        ("src 10.0.0.0/33", 5, "0 to 32"),
        ("src 10.0.0.0/255.0.255.0", 5, "0 to 32"),
        ("src fd00::/129", 5, "0 to 128"),
        ("src example.org", 5, "not looked up"),
        ("src ::1", 5, "in brackets"),
        ("src 2001:db8::z", 5, "in brackets"),
        ("src [::1", 5, "no `]`"),
        ("src [::1]80", 5, "neither"),
        ("src [::/0]/0", 5, "neither"),
        ("src inet6:10.0.0.1", 5, "IPv4 address"),
        ("src inet:[::1]", 5, "no IPv4 address"),
        ("src unix:/tmp/x", 5, "only `inet:`"),
        ("dev", 4, "interface"),
        ("fwmark x", 8, "VALUE/MASK"),
        ("fwmark 1/", 8, "VALUE/MASK"),
        ("state", 6, "expected a state"),
        ("state dead", 7, "expected a state"),
        ("exclude all", 9, "no state is left"),
        ("sport 22 state established", 10, "before all conditions"),
        ("größe", 1, "`größe`"),
        ("sport 22 größe und", 10, "`größe`"),
        ("sport 22 a\u{7}b", 10, "`a\\u{7}b`"),
        ("sport = 22 \\and dport 2", 12, "`and`"),
    ] {
        let error = error(text);
        let begins = format!("filter: column {column}: ");
        assert!(error.starts_with(&begins) && error.contains(what), "{text}: {error}");
    }
    let long = error(&"x".repeat(5000));
    assert!(long.len() < 300, "{long}");
}

#[test]
fn what_is_too_much_is_refused() {
    let (deep, deeper) = (DEPTH, DEPTH + 1);
    for (open, close) in [("( ", " )"), ("not ", ""), ("!(", ")")] {
        let text = |depth: usize| format!("{}sport 1{}", open.repeat(depth), close.repeat(depth));
        let each = if open == "!(" { 2 } else { 1 };
        filter(&text(deep / each));
        assert!(error(&text(deeper)).contains("64 parentheses and `not`s"), "{open}");
        assert!(error(&text(20_000)).contains("64 parentheses and `not`s"), "{open}");
    }
    assert_eq!(" ".repeat(TEXT + 1).parse::<Filter>(), Err(FilterError::TooLong { length: TEXT + 1 }));

    // 16 bytes each and 4 between two.
    let hosts = |count: usize| vec!["dst 1.2.3.4"; count].join(" or ");
    assert_eq!(filter(&hosts(3276)).compile(&names(), KernelCan::LEAST).bytecode.len(), 65_516);
    assert_eq!(hosts(3277).parse::<Filter>(), Err(FilterError::TooLarge { size: 65_536 }));
    assert!(hosts(3277).parse::<Filter>().unwrap_err().to_string().contains("at most 65528"));
}

#[test]
fn a_long_filter_needs_no_deep_stack() {
    let text = format!("sport 1{}", " or dport 2 and sport 3".repeat(2000));
    let filter = filter(&text);
    assert!(!filter.matches(&connection(), &names()));
    let Compiled { bytecode, complete } = filter.compile(&names(), KernelCan::LEAST);
    assert!(complete && audit(&bytecode));
    assert!(!run(&bytecode, &Entry::of(&Subject { autobound: Some(true), ..connection() }, false).unwrap()));
    assert_eq!(filter.to_string().parse(), Ok(filter));
}

#[test]
fn names_are_told_to_who_resolves_them() {
    let filter =
        filter("dev eth0 or not ( cgroup /a\\ b\\(1\\)\\\\x or dev != dev ) and cgroup = = and fwmark 1");
    assert_eq!(filter.interfaces().collect::<Vec<_>>(), ["eth0", "dev"]);
    assert_eq!(filter.cgroups().collect::<Vec<_>>(), ["/a b(1)\\x", "="]);
    assert!(filter.asks_for_marks());
    assert!(!Filter::default().asks_for_marks());
}

#[test]
fn what_the_kernel_cannot_decide_is_left_to_the_agent() {
    let compile = |text: &str, kernel| filter(text).compile(&names(), kernel);
    let known = compile("src 10/8", KernelCan::LEAST).bytecode;
    let with_mark = compile("src 10/8 and fwmark 5", KernelCan::LEAST);
    assert_eq!(with_mark, Compiled { bytecode: known.clone(), complete: false });
    assert!(compile("src 10/8 and fwmark 5", KernelCan { mark: true, ..KernelCan::LEAST }).complete);
    let with_any = compile("src 10/8 and ( dev lo or not cgroup /here )", KernelCan::LEAST);
    assert_eq!(with_any, Compiled { bytecode: known.clone(), complete: false });
    let below_or = compile("dport 1 or fwmark 5", KernelCan::LEAST);
    assert_eq!(below_or, Compiled { bytecode: Vec::new(), complete: false });
    // A group that is not there has no sockets, whatever the kernel can.
    let gone = compile("src 10/8 or cgroup /nowhere", KernelCan::LEAST);
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
    let cleared = Subject { local: "0.0.0.0".parse().unwrap(), peer_port: 0, ..ended };
    let matched = |text: &str, subject: &Subject| filter(text).matched(subject, &names());
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
    let chosen = Subject { autobound: Some(false), ..unknown };
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
