//! The language of the filters: what is read as what, and what is said of the rest.

use super::{error, filter, matches, names};
use connscope::filter::{DEPTH, Filter, FilterError, KernelCan, Services, TEXT};

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
        "column 9: `ssh` has a port `ssh` that is not a port from 0 to 65535, and no service of that name is known"
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
        ("src inet:[::1]", 5, "not an IPv4 address"),
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
        let begins = format!("column {column}: ");
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
    assert_eq!(filter(&hosts(3276)).compile(&names(), KernelCan::MINIMUM).bytecode.len(), 65_516);
    assert_eq!(hosts(3277).parse::<Filter>(), Err(FilterError::TooLarge { size: 65_536 }));
    assert!(hosts(3277).parse::<Filter>().unwrap_err().to_string().contains("more than the 65528"));
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
