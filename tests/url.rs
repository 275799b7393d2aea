//! URLs of HTTP peers, against the examples of RFC 3986 and RFC 3492.

use connscope::url::{Scheme, Url, ascii_host};

fn url(text: &str) -> Url {
    Url::parse(text).unwrap_or_else(|why| panic!("{text} {why}"))
}

#[test]
fn references_are_resolved_as_the_rfc_has_them() {
    let base = url("http://a/b/c/d;p?q");
    // RFC 3986, sections 5.4.1 and 5.4.2; fragments are left out.
    let examples = [
        ("g", "http://a/b/c/g"),
        ("./g", "http://a/b/c/g"),
        ("g/", "http://a/b/c/g/"),
        ("/g", "http://a/g"),
        ("//g", "http://g/"),
        ("?y", "http://a/b/c/d;p?y"),
        ("g?y", "http://a/b/c/g?y"),
        ("#s", "http://a/b/c/d;p?q"),
        ("g#s", "http://a/b/c/g"),
        (";x", "http://a/b/c/;x"),
        ("", "http://a/b/c/d;p?q"),
        (".", "http://a/b/c/"),
        ("./", "http://a/b/c/"),
        ("..", "http://a/b/"),
        ("../", "http://a/b/"),
        ("../g", "http://a/b/g"),
        ("../..", "http://a/"),
        ("../../g", "http://a/g"),
        ("../../../g", "http://a/g"),
        ("/./g", "http://a/g"),
        ("/../g", "http://a/g"),
        ("g.", "http://a/b/c/g."),
        ("..g", "http://a/b/c/..g"),
        ("./g/.", "http://a/b/c/g/"),
        ("g/./h", "http://a/b/c/g/h"),
        ("g/../h", "http://a/b/c/h"),
        ("g;x=1/../y", "http://a/b/c/y"),
        ("g?y/../x", "http://a/b/c/g?y/../x"),
        ("HTTPS://B:443/x", "https://b/x"),
        // Not the RFC's: what servers put into Location all the same.
        ("/grüße?é=ü", "http://a/gr%C3%BC%C3%9Fe?%C3%A9=%C3%BC"),
        ("/a b", "http://a/a%20b"),
        ("\\g", "http://a/g"),
        ("/a%2Fb", "http://a/a%2Fb"),
    ];
    for (reference, resolved) in examples {
        let joined = base.join(reference).unwrap_or_else(|why| panic!("{reference}: {why}"));
        assert_eq!(joined.to_string(), resolved, "{reference}");
    }
    for other in ["ftp://a/", "mailto:a@b", "http:g", "g:h"] {
        assert!(base.join(other).is_err(), "{other}");
    }
}

#[test]
fn the_parts_of_a_url_are_what_they_are() {
    let plain = url(" HTTP://Example.COM:80 ");
    assert_eq!((plain.scheme(), plain.host(), plain.port()), (Scheme::Http, "example.com", 80));
    assert_eq!((plain.authority().as_str(), plain.path_and_query().as_str()), ("example.com", "/"));
    let six = url("https://[FE80:0::1%25eth0]:8443/a?b#c");
    assert_eq!((six.host(), six.port()), ("fe80::1%eth0", 8443));
    assert_eq!((six.authority().as_str(), six.path_and_query().as_str()), ("[fe80::1]:8443", "/a?b"));
    assert!(six.same_origin(&url("https://[fe80::1%eth0]:8443/elsewhere")));
    assert!(!six.same_origin(&url("http://[fe80::1%eth0]:8443/")));
    let secret = url("http://user:hunter2@a/");
    assert!(secret.has_user());
    assert!(!secret.to_string().contains("hunter2"));
}

#[test]
fn what_is_no_url_is_refused_and_not_repeated() {
    let wrong = [
        "",
        "a",
        "a:80",
        "/a",
        "http:a",
        "http://",
        "http:///a",
        "http://:80/",
        "http://a:b/",
        "http://a:65536/",
        "http://[::1/",
        "http://[a]/",
        "http://[::1]a/",
        "http://[::1%]/",
        "http://a b/",
        "http://a\u{0}b/",
        "http://a%00b/",
        "http://a<b/",
        "http://%ff/",
        "gopher://a/",
        "http://u\u{308}.example/",
    ];
    for text in wrong {
        let why = Url::parse(text).expect_err(text);
        assert!(text.len() < 8 || !why.contains(text), "{why}");
    }
    let why = Url::parse("http://user:hunter2@a:b/").expect_err("no port");
    assert!(!why.contains("hunter2"), "{why}");
}

#[test]
fn names_in_any_script_are_asked_for_as_the_dns_has_them() {
    // The samples of RFC 3492, section 7.1, that have a lower case, and names that are registered.
    let names = [
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.Example", "xn--bcher-kva.example"),
        ("他们为什么不说中文", "xn--ihqwcrb4cv8a8dqg056pqjye"),
        ("他們爲什麽不說中文", "xn--ihqwctvzc91f659drss3x8bo0yb"),
        ("почемужеонинеговорятпорусски", "xn--b1abfaaepdrnnbgefbadotcwatmq2g4l"),
        ("3年b組金八先生", "xn--3b-ww4c5e180e575a65lsy2b"),
        ("安室奈美恵-with-super-monkeys", "xn---with-super-monkeys-pc58ag80a8qai00g7n9n"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("faß.example", "xn--fa-hia.example"),
        ("xn--bcher-kva.example.", "xn--bcher-kva.example."),
        ("under_score.example", "under_score.example"),
        ("192.0.2.1", "192.0.2.1"),
    ];
    for (name, asked) in names {
        assert_eq!(ascii_host(name).as_deref(), Ok(asked), "{name}");
    }
    for wrong in [
        "",
        "a/b",
        "a:b",
        "[::1]",
        "ü".repeat(64).as_str(),
        "a".repeat(64).as_str(),
        "a.".repeat(128).as_str(),
        // Short forms of 127.0.0.1, and what a name server would be asked for instead.
        "127.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "127.0.0.1.",
        "name.0x1",
        "256.0.0.1",
    ] {
        assert!(ascii_host(wrong).is_err(), "{wrong}");
    }
}
