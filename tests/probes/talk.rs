//! Conversations, presets of UDP and HTTP: what is said, and what counts as an answer.

use super::{answer, fails, first, is_up, listen, value};
use crate::support::Namespace;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Says its lines, each after the last was answered.
fn says(lines: &'static [&'static str]) -> impl Fn(TcpStream) + Send + Sync + 'static {
    move |stream: TcpStream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        for line in lines {
            if stream.write_all(line.as_bytes()).is_err() {
                return;
            }
            let mut heard = String::new();
            if reader.read_line(&mut heard).unwrap_or(0) == 0 {
                return;
            }
        }
    }
}

#[test]
fn a_conversation_is_held_step_by_step() {
    let Some(namespace) = Namespace::new() else { return };
    let mail =
        listen(&namespace, "127.0.0.1:0", says(&["220 mail ESMTP\r\n", "250-mail\r\n250 HELP\r\n"])).port();
    let chat =
        listen(&namespace, "127.0.0.1:0", says(&[":irc NOTICE * :hi\nPING 123\n", ":irc 001 me\n"])).port();
    let readings = first(
        &namespace,
        &format!(
            "timeout: 2s
targets:
- {{name: mail, host: 127.0.0.1, port: {mail}, conversation: [{{expect: '^220 ', send: 'EHLO me\\r'}}, {{expect: '^250 '}}]}}
- {{name: chat, host: 127.0.0.1, port: {chat}, conversation: [{{send: NICK me}}, {{expect: 'PING (.*)', send: 'PONG ${{1}}'}}, {{expect: ' 001 '}}]}}
- {{name: other, host: 127.0.0.1, port: {mail}, conversation: [{{expect: '^SSH-2.0-', send: x}}, {{expect: y}}]}}
"
        ),
    );
    is_up(&readings, "mail");
    is_up(&readings, "chat");
    // The peer waits for a line, the probe for another: the time of the probe is up.
    fails(&readings, "other", "timeout");
}

#[test]
fn a_conversation_is_held_over_a_socket_of_this_machine() {
    let Some(namespace) = Namespace::new() else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut line = String::new();
            let heard = BufReader::new(stream.try_clone().unwrap()).read_line(&mut line);
            if heard.is_ok() && line == "PING\n" {
                let _gone = stream.write_all(b"+PONG\r\n");
            }
        }
    });
    let target = |name: &str, expect: &str| {
        let path = path.display();
        format!("- {{name: {name}, kind: unix, path: {path}, send: \"PING\\n\", expect: '{expect}'}}\n")
    };
    // The second is so long that it is looked for on another thread.
    let long = format!("^(.PONG|{})$", "no ".repeat(100));
    let targets = [target("alive", "^.PONG"), target("patient", &long), target("other", "^-ERR")].concat();
    let readings = first(&namespace, &format!("timeout: 5s\ntargets:\n{targets}"));
    is_up(&readings, "alive");
    is_up(&readings, "patient");
    fails(&readings, "other", "unexpected_response");
    assert_eq!(value(&readings, "probe.phase.duration", "alive", &[("phase", "request")]), Some(1.0));
}

#[test]
fn presets_ask_as_their_protocol_does_and_know_their_answer() {
    let Some(namespace) = Namespace::new() else { return };
    let dns = super::names::server(&namespace).port();
    let ntp = answer(&namespace, "127.0.0.1:0", |asked| {
        assert_eq!((asked.len(), asked[0]), (48, 0x23));
        let mut bytes = vec![0x24, 2];
        bytes.resize(24, 0);
        bytes.extend(&asked[40..48]);
        bytes.resize(48, 0);
        Some(bytes)
    });
    let stale = answer(&namespace, "127.0.0.1:0", |_| {
        let mut bytes = vec![0x24, 2];
        bytes.resize(48, 9);
        Some(bytes)
    });
    let snmp = answer(&namespace, "127.0.0.1:0", |asked| {
        assert!(asked.windows(6).any(|part| part == b"secret"), "the community");
        let mut bytes = asked.to_vec();
        let request = bytes.iter().position(|byte| *byte == 0xa0)?;
        bytes[request] = 0xa2;
        Some(bytes)
    });
    let stun = answer(&namespace, "127.0.0.1:0", |asked| {
        assert_eq!((asked.len(), &asked[..2]), (20, &[0, 1][..]));
        let mut bytes = asked.to_vec();
        bytes[0] = 1;
        Some(bytes)
    });
    let sip = answer(&namespace, "127.0.0.1:0", |asked| {
        let text = String::from_utf8(asked.to_vec()).ok()?;
        assert!(
            text.starts_with("OPTIONS sip:127.0.0.1 SIP/2.0\r\n") && text.ends_with("\r\n\r\n"),
            "{text}"
        );
        let id = text.lines().find(|line| line.starts_with("Call-ID"))?;
        Some(format!("SIP/2.0 405 Method Not Allowed\r\n{id}\r\n\r\n").into_bytes())
    });
    let readings = first(
        &namespace,
        &format!(
            "timeout: 2s
targets:
- {{name: dns, kind: udp, host: 127.0.0.1, port: {dns}, preset: dns, query: four.test}}
- {{name: dns missing, kind: udp, host: 127.0.0.1, port: {dns}, preset: dns, query: missing.test}}
- {{name: ntp, kind: udp, host: 127.0.0.1, port: {}, preset: ntp}}
- {{name: ntp of somebody else, kind: udp, host: 127.0.0.1, port: {}, preset: ntp}}
- {{name: snmp, kind: udp, host: 127.0.0.1, port: {}, preset: snmp, query: secret}}
- {{name: stun, kind: udp, host: 127.0.0.1, port: {}, preset: stun}}
- {{name: sip, kind: udp, host: 127.0.0.1, port: {}, preset: sip}}
- {{name: not sip, kind: udp, host: 127.0.0.1, port: {}, preset: sip}}
",
            ntp.port(),
            stale.port(),
            snmp.port(),
            stun.port(),
            sip.port(),
            stale.port(),
        ),
    );
    for name in ["dns", "ntp", "snmp", "stun", "sip"] {
        is_up(&readings, name);
    }
    for name in ["dns missing", "ntp of somebody else", "not sip"] {
        fails(&readings, name, "unexpected_response");
    }
}

#[test]
fn what_is_sent_is_not_printed_and_what_is_printed_in_its_place_is_not_sent() {
    let mut probes = super::settings(
        "targets:
- {name: a, host: x, port: 1, send: 'AUTH tiger'}
- {name: b, host: x, port: 1, send_hex: 7469676572}
- {name: c, host: x, port: 1, conversation: [{expect: '^220', send: 'PASS tiger'}, {send_hex: 7469676572}]}
- {name: d, kind: http, url: 'http://x/?key=tiger', http: {method: POST, body: tiger, headers: {x-key: tiger}}}
- {name: e, kind: udp, host: x, port: 161, preset: snmp, query: tiger}
dns: [{names: [x], target: {port: 1, send: tiger}}]
",
    );
    let tell = |probes: &connscope::source::probes::config::Probes| serde_json::to_value(probes).unwrap();
    assert!(tell(&probes).to_string().contains("tiger"));
    probes.hide();
    let told = tell(&probes);
    assert!(!told.to_string().contains("tiger") && !told.to_string().contains("7469676572"), "{told}");
    assert_eq!(told["targets"][3]["url"], "http://x/?(hidden)");
    for target in &probes.targets {
        assert!(target.check().unwrap_err().contains("(hidden)"), "{}", target.name);
    }
}

/// One answer to one request, whatever the request is; the path decides.
fn web(stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    let (mut request, mut head) = (String::new(), String::new());
    reader.read_line(&mut request).unwrap();
    while reader.read_line(&mut head).unwrap_or(0) > 2 {}
    let path = request.split(' ').nth(1).unwrap_or("").to_owned();
    let answer = match path.as_str() {
        "/ok" => "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nall is well\n".to_owned(),
        "/missing" => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "/moved" => "HTTP/1.1 302 Found\r\nLocation: ok\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "/round" => "HTTP/1.1 302 Found\r\nLocation: /round\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "/away" => "HTTP/1.1 301 Moved\r\nLocation: ftp://x/\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "/chunked" => {
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n".to_owned()
        }
        "/short" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nless".to_owned(),
        "/secret" if head.to_lowercase().contains("authorization: bearer x") => {
            "HTTP/1.1 204 No Content\r\n\r\n".to_owned()
        }
        "/none" => String::new(),
        "/nonsense" => "220 mail ESMTP\r\n".to_owned(),
        _ => "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_owned(),
    };
    let _gone = stream.write_all(answer.as_bytes());
}

#[test]
fn phases_are_left_out_where_nobody_wants_them() {
    let Some(namespace) = Namespace::new() else { return };
    let port = listen(&namespace, "127.0.0.1:0", web).port();
    let readings = first(
        &namespace,
        &format!("phases: false\ntargets: [{{name: x, kind: http, url: 'http://127.0.0.1:{port}/ok'}}]"),
    );
    is_up(&readings, "x");
    assert!(readings.iter().all(|reading| reading.metric.name != "probe.phase.duration"));
}

#[test]
fn a_page_is_right_by_its_status_its_body_and_where_it_leads() {
    let Some(namespace) = Namespace::new() else { return };
    let port = listen(&namespace, "127.0.0.1:0", web).port();
    let target = |name: &str, path: &str, http: &str| {
        format!("- {{name: {name}, kind: http, url: 'http://127.0.0.1:{port}{path}', http: {{{http}}}}}\n")
    };
    let targets = [
        target("ok", "/ok", ""),
        target("body", "/ok", "expect_body: 'all is (well|good)'"),
        target("other body", "/ok", "expect_body: '^bad'"),
        target("missing", "/missing", ""),
        target("missing as expected", "/missing", "status: [404, 410]"),
        target("moved", "/moved", "expect_body: well"),
        target("moved as expected", "/moved", "status: [302]"),
        target("not followed", "/moved", "redirects: 0"),
        target("round", "/round", "redirects: 3"),
        target("away", "/away", ""),
        target("chunked", "/chunked", "expect_body: '^four$'"),
        target("short", "/short", ""),
        target("secret", "/secret", "headers: {authorization: Bearer x}"),
        target("no secret", "/secret", ""),
        target("none", "/none", ""),
        target("nonsense", "/nonsense", ""),
    ];
    let readings = first(&namespace, &format!("timeout: 2s\ntargets:\n{}", targets.concat()));
    for name in ["ok", "body", "missing as expected", "moved", "moved as expected", "chunked", "secret"] {
        is_up(&readings, name);
    }
    let wrong =
        ["other body", "missing", "not followed", "round", "away", "short", "no secret", "none", "nonsense"];
    for name in wrong {
        fails(&readings, name, "unexpected_response");
    }
    let status = |name: &str| value(&readings, "probe.http.status", name, &[]);
    assert_eq!((status("moved"), status("missing"), status("none")), (Some(200.0), Some(404.0), None));
    for phase in ["connect", "request", "transfer"] {
        assert_eq!(value(&readings, "probe.phase.duration", "ok", &[("phase", phase)]), Some(1.0), "{phase}");
    }
}

/// Reads a request to its end; its path and its body.
fn asked(stream: &TcpStream) -> (String, String) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut first, mut line, mut length) = (String::new(), String::new(), 0);
    reader.read_line(&mut first).unwrap();
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).unwrap();
        if let Some(text) = line.to_lowercase().strip_prefix("content-length:") {
            length = text.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (first.split(' ').nth(1).unwrap_or("").to_owned(), String::from_utf8(body).unwrap())
}

#[test]
fn a_configured_body_goes_to_no_other_port() {
    let Some(namespace) = Namespace::new() else { return };
    let (sender, bodies) = std::sync::mpsc::channel();
    let other = listen(&namespace, "127.0.0.1:0", move |mut stream| {
        let _ended = sender.send(asked(&stream));
        let _gone = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    })
    .port();
    let leads = listen(&namespace, "127.0.0.1:0", move |mut stream| {
        let (path, body) = asked(&stream);
        let answer = match path.split_once('-').unwrap_or(("", "")) {
            ("/away", status) => format!("{status} Elsewhere\r\nLocation: http://127.0.0.1:{other}/{status}"),
            ("/here", status) => format!("{status} Elsewhere\r\nLocation: /end"),
            _ if body == "tiger" => "200 OK".to_owned(),
            _ => "400 Bad".to_owned(),
        };
        let _gone = write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n");
    })
    .port();
    let refused = [("away-307", "POST"), ("away-308", "PUT"), ("away-302", "PUT")];
    let followed = [("away-303", "POST"), ("away-302", "POST"), ("here-307", "POST"), ("here-308", "PUT")];
    let name = |(path, method): &(&str, &str)| format!("{path} {method}");
    let target = |one: &(&str, &str)| {
        let (path, method) = one;
        format!(
            "- {{name: {}, kind: http, url: 'http://127.0.0.1:{leads}/{path}', http: {{method: {method}, body: tiger}}}}\n",
            name(one)
        )
    };
    let targets: String = refused.iter().chain(&followed).map(target).collect();
    let readings = first(&namespace, &format!("timeout: 2s\ntargets:\n{targets}"));
    for target in &refused {
        fails(&readings, &name(target), "unexpected_response");
    }
    for target in &followed {
        is_up(&readings, &name(target));
    }
    let mut told: Vec<_> = bodies.try_iter().collect();
    told.sort();
    let nothing = |path: &str| (path.to_owned(), String::new());
    assert_eq!(told, [nothing("/302"), nothing("/303")], "as GET, which has no body");
}

#[test]
fn a_peer_that_never_comes_to_its_answer_is_not_listened_to_for_ever() {
    let Some(namespace) = Namespace::new() else { return };
    let heard = Arc::new(AtomicUsize::new(0));
    let said = Arc::clone(&heard);
    let peer = listen(&namespace, "127.0.0.1:0", move |mut stream| {
        let _request = stream.read(&mut [0; 1024]);
        let part = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100);
        while stream.write_all(&part).is_ok() {
            said.fetch_add(part.len(), Ordering::Relaxed);
        }
    });
    let target = format!("{{name: x, kind: http, url: 'http://{peer}/'}}");
    let readings = first(&namespace, &format!("timeout: 1m\ntargets: [{target}]\n"));
    fails(&readings, "x", "unexpected_response");
    // Twice what is listened to, for what is under way.
    assert!(heard.load(Ordering::Relaxed) < 16 * 1024 * 1024, "{heard:?}");
}

#[test]
fn a_target_has_the_family_of_its_own_address_wherever_it_leads() {
    let Some(namespace) = Namespace::new() else { return };
    let other = listen(&namespace, "[::1]:0", web).port();
    let page = listen(&namespace, "127.0.0.1:0", move |mut stream| {
        let _request = stream.read(&mut [0; 1024]);
        let answer =
            format!("HTTP/1.1 302 Found\r\nLocation: http://[::1]:{other}/ok\r\nContent-Length: 0\r\n\r\n");
        let _gone = stream.write_all(answer.as_bytes());
    });
    let target = format!("{{name: x, kind: http, url: 'http://{page}/'}}");
    let readings = first(&namespace, &format!("timeout: 5s\ntargets: [{target}]\n"));
    assert_eq!(value(&readings, "probe.up", "x", &[("network.type", "ipv4")]), Some(1.0));
}

#[test]
fn configured_headers_go_to_no_other_port_or_host() {
    let Some(namespace) = Namespace::new() else { return };
    let judge = |stream: TcpStream| {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let (mut stream, mut head) = (stream, String::new());
        while reader.read_line(&mut head).unwrap_or(0) > 2 {}
        let head = head.to_lowercase();
        let told = head.contains("x-api-key") || head.contains("authorization");
        let status = if told { "200 OK" } else { "401 Unauthorized" };
        let _gone = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    };
    let other = listen(&namespace, "0.0.0.0:0", judge).port();
    let leads = listen(&namespace, "127.0.0.1:0", move |mut stream| {
        let mut request = String::new();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        reader.read_line(&mut request).unwrap();
        let mut head = String::new();
        while reader.read_line(&mut head).unwrap_or(0) > 2 {}
        let to = match request.split(' ').nth(1).unwrap_or("") {
            "/port" => format!("http://127.0.0.1:{other}/"),
            "/host" => format!("http://127.0.0.2:{other}/"),
            "/here" => "/end".to_owned(),
            _ => {
                let status = if head.to_lowercase().contains("x-api-key") { "200 OK" } else { "401 No" };
                let _gone = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                return;
            }
        };
        let _gone = write!(stream, "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
    })
    .port();
    let target = |name: &str, path: &str| {
        format!(
            "- {{name: {name}, kind: http, url: 'http://127.0.0.1:{leads}{path}', \
             http: {{headers: {{authorization: Bearer x, x-api-key: x}}}}}}\n"
        )
    };
    let targets = [target("port", "/port"), target("host", "/host"), target("here", "/here")].concat();
    let readings = first(&namespace, &format!("timeout: 2s\ntargets:\n{targets}"));
    is_up(&readings, "here");
    for name in ["port", "host"] {
        fails(&readings, name, "unexpected_response");
    }
}
