//! Peers that curl, Go and browsers accept, and that the probes accept as they do.

use super::{fails, first, is_up, listen, value};
use crate::support::Namespace;
use connscope::source::probes::kind::http::cookies::Cookies;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

/// Reads the head of a request.
pub(crate) fn head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|length| length > 0) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// A server whose response is made of the head of the request.
fn serves(namespace: &Namespace, answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> u16 {
    let serve = move |mut stream: TcpStream| {
        let request = head(&mut stream);
        let _gone = stream.write_all(&answer(&request));
    };
    listen(namespace, "127.0.0.1:0", serve).port()
}

#[test]
fn heads_that_others_take_are_taken() {
    let Some(namespace) = Namespace::new() else { return };
    let many = (0..2000).map(|index| format!("X-{index}: y\r\n")).collect::<Vec<_>>().concat();
    let heads = [
        ("folded", "HTTP/1.1 200 OK\r\nX-A: one\r\n two\r\n\tthree\r\n".to_owned()),
        ("many", format!("HTTP/1.1 200 OK\r\n{many}")),
        ("blank", "HTTP/1.1 200 OK\r\nServer : x\r\n".to_owned()),
        ("no-name", "HTTP/1.1 200 OK\r\nno colon here\r\nX Y: z\r\n".to_owned()),
        ("latin", "HTTP/1.1 200 OK\r\nX-Name: caf\u{e9}\r\n".to_owned()),
        ("no-reason", "HTTP/1.1 200\r\n".to_owned()),
        ("old", "HTTP/1.0 200 OK\r\n".to_owned()),
    ];
    let targets: Vec<String> = heads
        .into_iter()
        .map(|(name, head)| {
            let answer = format!("{head}Content-Length: 2\r\n\r\nok").into_bytes();
            let port = serves(&namespace, move |_| answer.clone());
            format!(
                "- {{name: {name}, kind: http, url: 'http://127.0.0.1:{port}/', http: {{expect_body: ok}}}}\n"
            )
        })
        .collect();
    let readings = first(&namespace, &format!("timeout: 4s\ntargets:\n{}", targets.concat()));
    for name in ["folded", "many", "blank", "no-name", "latin", "no-reason", "old"] {
        is_up(&readings, name);
    }
}

/// As curl 7.88 does, where hyper alone refuses.
#[test]
fn responses_that_curl_takes_are_taken() {
    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let Some(namespace) = Namespace::new() else { return };
    let plain = |head: &str| format!("{head}\r\nContent-Length: 2\r\n\r\nok");
    let taken = [
        ("chunks-lf", format!("{CHUNKED}2\nok\n0\n\n")),
        ("chunks-lf-after-lengths", format!("{CHUNKED}2\nok\r\n0\n\r\n")),
        ("chunks-lf-after-data", format!("{CHUNKED}2\r\nok\n0\r\n\r\n")),
        ("chunks-lf-extension", format!("{CHUNKED}2;a=b\nok\n0\n\n")),
        ("chunks-lf-trailer", format!("{CHUNKED}2\r\nok\r\n0\r\nX: y\n\n")),
        ("blanks", plain("HTTP/1.1  200 OK")),
        ("blanks-before-reason", plain("HTTP/1.1 200   OK")),
        ("cr-in-value", plain("HTTP/1.1 200 OK\r\nX: a\rb")),
        ("cr-after-value", plain("HTTP/1.1 200 OK\r\nX: a\r")),
        ("cr-in-reason", plain("HTTP/1.1 200 O\rK")),
        ("control-in-value", plain("HTTP/1.1 200 OK\r\nX: a\u{1}b")),
        ("plus", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nokay".to_owned()),
        ("lower-case", plain("http/1.1 200 OK")),
        ("lines-lf", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok".to_owned()),
        ("interim", plain("http/1.1  100 Continue\n\nHTTP/1.1  200 OK")),
    ];
    let refused = [
        ("nul", plain("HTTP/1.1 200 OK\r\nX: a\0b")),
        ("word", "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok".to_owned()),
        ("negative", "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok".to_owned()),
        ("lengths-differ", plain("HTTP/1.1 200 OK\r\nContent-Length: 3")),
        ("version", plain("HTTP/1.2 200 OK")),
        ("digits", plain("HTTP/1.1 2000 OK")),
        ("chunks-run-together", format!("{CHUNKED}2\r\nok0\r\n\r\n")),
        ("chunks-cut-off", format!("{CHUNKED}2\nok\n")),
    ];
    let target = |(name, answer): &(&str, String)| {
        let answer = answer.clone().into_bytes();
        let port = serves(&namespace, move |_| answer.clone());
        format!(
            "- {{name: {name}, kind: http, url: 'http://127.0.0.1:{port}/', http: {{expect_body: '^ok$'}}}}\n"
        )
    };
    let targets: String = taken.iter().chain(&refused).map(target).collect();
    let readings = first(&namespace, &format!("timeout: 4s\ntargets:\n{targets}"));
    for (name, _) in &taken {
        is_up(&readings, name);
    }
    for (name, _) in &refused {
        fails(&readings, name, "unexpected_response");
    }
}

#[test]
fn redirects_keep_cookies_and_the_method_and_take_any_location() {
    let Some(namespace) = Namespace::new() else { return };
    let to = |status: u16, location: &[u8], more: &str| {
        let head = format!("HTTP/1.1 {status} Found\r\n{more}Content-Length: 0\r\nLocation: ");
        [head.as_bytes(), location, b"\r\n\r\n"].concat()
    };
    let fine = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec();
    let refused = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec();
    let (yes, no) = (fine.clone(), refused.clone());
    let cookies = serves(&namespace, move |request| match request.lines().next().unwrap_or_default() {
        "GET /welcome HTTP/1.1" if request.contains("cookie: lang=en; seen=2; id=7\r\n") => yes.clone(),
        "GET /welcome HTTP/1.1" if request.contains("seen=1") => {
            to(302, b"/welcome", "Set-Cookie: seen=2; Path=/\r\nSet-Cookie: id=7; HttpOnly; SameSite=Lax\r\n")
        }
        "GET / HTTP/1.1" => to(302, b"/welcome", "Set-Cookie: seen=1; Path=/\r\n"),
        _ => no.clone(),
    });
    let (yes, no) = (fine.clone(), refused.clone());
    let method = serves(&namespace, move |request| {
        let (line, _) = request.split_once('\r').unwrap_or_default();
        match line {
            "HEAD / HTTP/1.1" | "POST / HTTP/1.1" => to(303, b"/other", ""),
            "PUT / HTTP/1.1" => to(308, b"/other", ""),
            "HEAD /other HTTP/1.1" | "GET /other HTTP/1.1" | "PUT /other HTTP/1.1" => yes.clone(),
            _ => no.clone(),
        }
    });
    let requests = Arc::new(Mutex::new(Vec::new()));
    let (yes, no, seen) = (fine, refused, Arc::clone(&requests));
    let place = serves(&namespace, move |request| {
        let line = request.lines().next().unwrap_or_default().to_owned();
        seen.lock().unwrap().push(line.clone());
        match line.as_str() {
            "GET /utf-8 HTTP/1.1" => to(301, "/caf\u{e9} \u{2713}?q=\u{fc}".as_bytes(), ""),
            "GET /latin-1 HTTP/1.1" => to(301, b"/caf\xe9", ""),
            "GET /caf%C3%A9%20%E2%9C%93?q=%C3%BC HTTP/1.1" | "GET /caf%E9 HTTP/1.1" => yes.clone(),
            _ => no.clone(),
        }
    });
    let readings = first(
        &namespace,
        &format!(
            "timeout: 4s
targets:
- {{name: cookies, kind: http, url: 'http://127.0.0.1:{cookies}/', http: {{headers: {{Cookie: 'lang=en; seen=0'}}}}}}
- {{name: head, kind: http, url: 'http://127.0.0.1:{method}/', http: {{method: HEAD}}}}
- {{name: post, kind: http, url: 'http://127.0.0.1:{method}/', http: {{method: POST, body: x}}}}
- {{name: put, kind: http, url: 'http://127.0.0.1:{method}/', http: {{method: PUT, body: x}}}}
- {{name: utf-8, kind: http, url: 'http://127.0.0.1:{place}/utf-8'}}
- {{name: latin-1, kind: http, url: 'http://127.0.0.1:{place}/latin-1'}}
"
        ),
    );
    for name in ["cookies", "head", "post", "put", "utf-8", "latin-1"] {
        assert_eq!(value(&readings, "probe.http.status", name, &[]), Some(200.0), "{name}: {requests:?}");
        is_up(&readings, name);
    }
}

#[test]
fn an_address_with_a_zone_is_probed_over_its_interface() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run("ip", &["link", "add", "lan0", "type", "veth", "peer", "name", "lan1"]);
    namespace.run("ip", &["link", "set", "lan1", "up"]);
    namespace.run("ip", &["link", "set", "lan0", "up"]);
    namespace.run("ip", &["addr", "add", "fe80::7/64", "dev", "lan0", "nodad"]);
    let request = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&request);
    let serve = move |mut stream: TcpStream| {
        *seen.lock().unwrap() = head(&mut stream);
        let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    };
    let page = listen(&namespace, "[::]:0", serve).port();
    let port = listen(&namespace, "[::]:0", drop).port();
    let readings = first(
        &namespace,
        &format!(
            "timeout: 4s
targets:
- {{name: tcp, host: 'fe80::7%lan0', port: {port}}}
- {{name: brackets, host: '[fe80::7%lan0]', port: {port}}}
- {{name: echo, kind: icmp, host: 'fe80::7%lan0'}}
- {{name: page, kind: http, url: 'http://[fe80::7%25lan0]:{page}/'}}
- {{name: interface, host: 'fe80::7', port: {port}, interface: lan0}}
- {{name: no-zone, host: 'fe80::7', port: {port}}}
- {{name: no-interface, host: 'fe80::7%lan9', port: {port}}}
"
        ),
    );
    for name in ["tcp", "brackets", "echo", "page", "interface"] {
        is_up(&readings, name);
    }
    fails(&readings, "no-zone", "_OTHER");
    fails(&readings, "no-interface", "_OTHER");
    let request = request.lock().unwrap();
    assert!(request.contains(&format!("host: [fe80::7]:{page}\r\n")), "{request}");
}

#[test]
fn the_source_address_decides_the_family() {
    let Some(namespace) = Namespace::new() else { return };
    // Both families have the name; the peer is at one of them only.
    let port = listen(&namespace, "[::1]:0", drop).port();
    let server = super::names::server(&namespace);
    let readings = first(
        &namespace,
        &format!(
            "timeout: 4s
nameservers: ['{server}']
targets:
- {{name: six, host: both.test, port: {port}, source: '::1'}}
- {{name: four, host: both.test, port: {port}, source: 127.0.0.1}}
"
        ),
    );
    is_up(&readings, "six");
    fails(&readings, "four", "connection_refused");
    assert_eq!(value(&readings, "probe.up", "six", &[("network.type", "ipv6")]), Some(1.0));
}

#[test]
fn nothing_is_kept_of_cookies_from_one_probe_to_the_next() {
    let url = connscope::url::Url::parse("http://a.test/").unwrap();
    assert_eq!(Cookies::default().header(&url, None), None);
}

/// A host behind a router whose second link takes packets of 1280 bytes only; none of them has heard of it yet.
fn narrow_path() -> Option<[Namespace; 3]> {
    let [near, router, far] = [Namespace::new()?, Namespace::new()?, Namespace::new()?];
    let link = |from: &Namespace, to: &Namespace, name: &str| {
        from.run(
            "ip",
            &["link", "add", "name", name, "type", "veth", "peer", "name", "far0", "netns", &to.path()],
        );
    };
    link(&near, &router, "near0");
    near.run("ip", &["addr", "add", "10.1.0.1/24", "dev", "near0"]);
    near.run("ip", &["link", "set", "near0", "up"]);
    near.run("ip", &["route", "add", "default", "via", "10.1.0.2"]);
    router.run("ip", &["addr", "add", "10.1.0.2/24", "dev", "far0"]);
    router.run("ip", &["link", "set", "far0", "up"]);
    link(&router, &far, "near1");
    router.run("ip", &["addr", "add", "10.2.0.1/24", "dev", "near1"]);
    router.run("ip", &["link", "set", "near1", "mtu", "1280", "up"]);
    router.run("sysctl", &["-qw", "net.ipv4.ip_forward=1"]);
    far.run("ip", &["addr", "add", "10.2.0.2/24", "dev", "far0"]);
    far.run("ip", &["link", "set", "far0", "mtu", "1280", "up"]);
    far.run("ip", &["route", "add", "default", "via", "10.2.0.1"]);
    Some([near, router, far])
}

#[test]
fn the_first_packet_over_the_path_mtu_is_sent_again() {
    let Some([near, _router, far]) = narrow_path() else { return };
    let port =
        super::answer(&far, "10.2.0.2:0", |question| Some(vec![u8::try_from(question.len() % 251).unwrap()]))
            .port();
    let readings = first(
        &near,
        "timeout: 4s\ntargets: [{name: echoes, kind: icmp, host: 10.2.0.2, icmp: {size: 1400, count: 3}}]\n",
    );
    is_up(&readings, "echoes");
    assert_eq!(value(&readings, "probe.icmp.loss", "echoes", &[]), Some(0.0));
    near.run("ip", &["route", "flush", "cache"]);
    let long = "x".repeat(1400);
    let readings = first(
        &near,
        &format!(
            "timeout: 4s\ntargets: [{{name: datagram, kind: udp, host: 10.2.0.2, port: {port}, send: {long}}}]\n"
        ),
    );
    is_up(&readings, "datagram");
}
