//! How the receiver is reached: all addresses of its name, a proxy, a Unix socket; and how much it may say.

use super::program::{Agent, AsText, found};
use super::raw::{Raw, TAKEN, listen};
use crate::support::authority::Authority;
use crate::support::receiver::{Receiver, Speaks};
use std::io::Write;
use std::net::{Shutdown, TcpStream};

/// A receiver that speaks TLS or a proxy's tunnel, reached by a name that is not there.
const NAMED: &str = "collector.invalid";

#[test]
fn plain_http_is_asked_of_the_proxy_with_the_whole_url() {
    let proxy = Raw::answering(listen(), TAKEN);
    let endpoint = format!("http://{NAMED}:4318/base?tenant=a");
    for variable in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        let before = proxy.wait(0).len();
        let named = format!("http://user:p%40ss@{}", proxy.address);
        let _agent = Agent::start(
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
                (variable, &named),
                ("NO_PROXY", "other.invalid,collector.invalid:80,192.0.2.0/24"),
            ],
            &["--interval", "1h"],
        );
        let head = &proxy.wait(before + 1)[before].1;
        let line = format!("POST http://{NAMED}:4318/base/v1/metrics?tenant=a HTTP/1.1\r\n");
        assert!(head.starts_with(&line), "{variable}: {head}");
        assert!(head.contains(&format!("\r\nhost: {NAMED}:4318\r\n")), "{head}");
        // `user:p@ss`
        assert!(head.contains("\r\nproxy-authorization: basic dxnlcjpwqhnz\r\n"), "{head}");
    }
}

#[test]
fn https_goes_through_the_proxy_in_a_tunnel() {
    let authority = Authority::new();
    let receiver = Receiver::start_tls(Speaks::Http, authority.server(None));
    let there = receiver.address();
    let proxy = Raw::start(listen(), move |client| {
        let mut server = TcpStream::connect(there).expect("the receiver");
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").expect("writing");
        let (mut from_client, mut to_server) =
            (client.try_clone().expect("a descriptor"), server.try_clone().expect("a descriptor"));
        std::thread::spawn(move || {
            let _ended = std::io::copy(&mut from_client, &mut to_server);
            let _gone = to_server.shutdown(Shutdown::Both);
        });
        let _ended = std::io::copy(&mut server, client);
        false
    });
    // The certificate is for the address, which is not local as far as the proxy's rules go.
    let file = authority.file();
    let endpoint = format!("https://{NAMED}:{}", there.port());
    let agent = Agent::start(
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", file.as_text()),
            ("HTTPS_PROXY", &proxy.url()),
        ],
        &["--interval", "1h"],
    );
    let head = &proxy.wait(1)[0].1;
    assert!(head.starts_with(&format!("CONNECT {NAMED}:{} HTTP/1.1\r\n", there.port())), "{head}");
    // TLS is spoken to the receiver, and its certificate is held against the name that was asked for.
    let line = agent.log.wait("push");
    assert!(line.contains("and not for collector.invalid"), "{line}");
}

#[test]
fn a_proxy_that_refuses_is_named_and_its_password_is_not() {
    let proxy = Raw::answering(listen(), "HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n");
    let named = format!("http://user:hunter2@{}", proxy.address);
    let endpoint = format!("https://{NAMED}");
    let agent = Agent::start(
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2000"),
            ("HTTPS_PROXY", &named),
        ],
        &["--interval", "100ms"],
    );
    let line = agent.log.wait("cannot push over OTLP");
    let answers = format!(
        "the proxy of HTTPS_PROXY: it answers 407 Proxy Authentication Required to CONNECT {NAMED}:443"
    );
    assert!(line.contains(&answers), "{line}");
    let left = agent.terminate();
    assert_eq!(left.count("hunter2"), 0, "{:#?}", left.log);
}

#[test]
fn a_proxy_that_is_not_there_is_named_with_the_address_that_was_tried() {
    let closed = listen().local_addr().expect("an address");
    let agent = Agent::start(
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{NAMED}")),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ("HTTP_PROXY", &format!("http://user:hunter2@{closed}")),
        ],
        &["--interval", "1h"],
    );
    let line = agent.log.wait("cannot push over OTLP");
    assert!(line.contains(&format!("the proxy of HTTP_PROXY at {closed}: Connection refused")), "{line}");
    assert_eq!(agent.terminate().count("hunter2"), 0);
}

#[test]
fn this_machine_is_never_asked_for_through_a_proxy() {
    for host in ["127.0.0.1", "localhost"] {
        let receiver = Raw::answering(listen(), TAKEN);
        let endpoint = format!("http://{host}:{}", receiver.address.port());
        let _agent = Agent::start(
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
                ("HTTP_PROXY", "http://192.0.2.1:1"),
            ],
            &["--interval", "1h"],
        );
        let head = &receiver.wait(1)[0].1;
        assert!(head.starts_with("POST /v1/metrics HTTP/1.1\r\n"), "{head}");
    }
}

#[test]
fn a_receiver_may_listen_at_a_unix_socket() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("otlp.sock");
    let receiver = Receiver::start(Speaks::Grpc);
    // What comes at the path goes on to the receiver.
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    let there = receiver.address();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let server = TcpStream::connect(there).expect("the receiver");
            let (mut from, mut to) = (client.try_clone().expect("one"), server.try_clone().expect("one"));
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            let (mut from, mut to) = (server, client);
            std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        }
    });
    for form in ["unix:", "unix://"] {
        let endpoint = format!("{form}{}", path.display());
        let before = receiver.received().len();
        let _agent = Agent::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)], &["--interval", "1h"]);
        assert_eq!(found(&receiver.nth(before).request), Some(1), "{form}");
    }
    let mut agent = Agent::start(
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "unix:/run/otlp.sock"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ],
        &[],
    );
    assert_eq!(agent.exit().code(), Some(2));
    let line = agent.log.wait("unix:/run/otlp.sock");
    assert!(line.contains("is a Unix socket, which is for grpc"), "{line}");
}

#[test]
fn a_receiver_that_answers_without_end_is_not_listened_to() {
    for status in ["100 Continue", "103 Early Hints"] {
        let many = format!("HTTP/1.1 {status}\r\n\r\n").repeat(1000);
        let flood = Raw::start(listen(), move |stream| {
            while stream.write_all(many.as_bytes()).is_ok() {}
            false
        });
        let agent = Agent::start(
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &flood.url()),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
            ],
            &["--interval", "1h"],
        );
        let line = agent.log.wait("cannot push over OTLP");
        assert!(line.contains("sent more than 1024 KiB in answer to one message"), "{status}: {line}");
        assert!(agent.terminate().status.success());
    }
}
