//! TLS: whom the agent believes, and what it shows of itself.

use super::program::{Agent, AsText, BOTH, found, protocol};
use crate::support::authority::Authority;
use crate::support::receiver::{Receiver, Speaks};
use std::io::{Read, Write};

#[test]
fn an_https_receiver_is_verified_by_the_system_or_by_the_file() {
    for speaks in BOTH {
        let authority = Authority::new();
        let receiver = Receiver::start_tls(speaks, authority.server(None));
        let file = authority.file();
        for variable in ["SSL_CERT_FILE", "OTEL_EXPORTER_OTLP_CERTIFICATE"] {
            let before = receiver.received().len();
            let _agent = Agent::start(
                &[
                    ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
                    ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
                    (variable, file.as_text()),
                ],
                &[],
            );
            assert_eq!(found(&receiver.nth(before).request), Some(1), "{speaks:?} {variable}");
        }
    }
}

#[test]
fn a_receiver_that_an_unknown_authority_signed_gets_nothing() {
    for speaks in BOTH {
        let (known, unknown) = (Authority::new(), Authority::new());
        let receiver = Receiver::start_tls(speaks, unknown.server(None));
        for variable in ["SSL_CERT_FILE", "OTEL_EXPORTER_OTLP_CERTIFICATE"] {
            let agent = Agent::start(
                &[
                    ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
                    ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
                    ("OTEL_EXPORTER_OTLP_TIMEOUT", "5000"),
                    (variable, known.file().as_text()),
                ],
                &["--interval", "20ms"],
            );
            let line = agent.log.wait("cannot push over OTLP");
            assert!(
                line.contains("signed by no authority that is trusted (UnknownIssuer)"),
                "{speaks:?} {variable}: {line}"
            );
            assert!(line.contains(&receiver.url()), "{line}");
            assert_eq!(receiver.received().len(), 0);
        }
    }
}

#[test]
fn the_client_certificate_is_shown_to_a_receiver_that_wants_one() {
    for speaks in BOTH {
        let (authority, clients) = (Authority::new(), Authority::new());
        let receiver = Receiver::start_tls(speaks, authority.server(Some(&clients)));
        let (ca, (certificate, key)) = (authority.file(), clients.sign("client"));
        let endpoint = receiver.url();
        let mut variables = vec![
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "5000"),
        ];
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("connscope.yaml");
        let [ca, certificate, key] = [&ca, &certificate, &key].map(AsText::as_text);
        let tls = format!("{{ca_file: {ca}, cert_file: {certificate}, key_file: {key}}}");
        std::fs::write(&path, format!("export: {{otlp: {{tls: {tls}}}}}\n")).expect("writing");
        let agent = Agent::start(&variables, &["--config", path.as_text()]);
        assert_eq!(found(&receiver.nth(0).request), Some(1), "{speaks:?}");
        drop(agent);

        variables.push(("OTEL_EXPORTER_OTLP_CERTIFICATE", ca));
        let before = receiver.received().len();
        let agent = Agent::start(&variables, &[]);
        let line = agent.log.wait("cannot push over OTLP");
        // With TLS 1.3 the client may notice that the connection is closed before it reads why.
        assert!(line.contains("error.type=\"connection\""), "{speaks:?}: {line}");
        drop(agent);
        assert_eq!(receiver.received().len(), before, "without a certificate");

        variables.push(("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate));
        variables.push(("OTEL_EXPORTER_OTLP_CLIENT_KEY", key));
        let _agent = Agent::start(&variables, &[]);
        assert_eq!(found(&receiver.nth(before).request), Some(1), "{speaks:?}");
    }
}

#[test]
fn a_certificate_that_cannot_be_read_is_bad_input() {
    let directory = tempfile::tempdir().expect("a directory");
    let garbage = directory.path().join("ca.pem");
    std::fs::write(&garbage, "no certificate").expect("writing");
    for speaks in BOTH {
        for (path, words) in [("/nowhere/ca.pem", "No such file"), (garbage.as_text(), "not a PEM file")] {
            let mut agent = Agent::start(
                &[
                    ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:1"),
                    ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
                    ("OTEL_EXPORTER_OTLP_CERTIFICATE", path),
                ],
                &[],
            );
            assert_eq!(agent.exit().code(), Some(2));
            let line = agent.log.wait("export.otlp.tls.ca_file");
            assert!(line.contains(path) && line.contains(words), "{line}");
        }
    }
}

#[test]
fn a_certificate_of_ours_that_has_expired_is_bad_input() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let (certificate, key) = clients.sign_until("ended", 2020);
    let ca = authority.file();
    for speaks in BOTH {
        let mut agent = Agent::start(
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:1"),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
                ("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.as_text()),
                ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate.as_text()),
                ("OTEL_EXPORTER_OTLP_CLIENT_KEY", key.as_text()),
            ],
            &[],
        );
        assert_eq!(agent.exit().code(), Some(2));
        let line = agent.log.wait("export.otlp.tls.cert_file");
        let why = "ended.pem: the certificate has expired at 2020-01-01T00:00:00Z: renew it";
        assert!(line.contains(why), "{line}");
    }
}

#[test]
fn a_machine_without_any_authority_can_push_where_no_tls_is_asked_for() {
    for speaks in BOTH {
        let receiver = Receiver::start(speaks);
        let _agent = Agent::start(
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
                ("SSL_CERT_FILE", "/dev/null"),
            ],
            &[],
        );
        assert_eq!(found(&receiver.nth(0).request), Some(1), "{speaks:?}");
    }
}

#[test]
fn the_scheme_may_be_written_in_capitals() {
    for speaks in BOTH {
        let authority = Authority::new();
        let receiver = Receiver::start_tls(speaks, authority.server(None));
        let _agent = Agent::start(
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url().replace("https", "HTTPS")),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
                ("OTEL_EXPORTER_OTLP_CERTIFICATE", authority.file().as_text()),
            ],
            &[],
        );
        assert_eq!(found(&receiver.nth(0).request), Some(1), "{speaks:?}");
    }
}

#[test]
fn certificates_are_read_again_when_their_files_change() {
    for speaks in BOTH {
        let (authority, clients) = (Authority::new(), Authority::new());
        let receiver = Receiver::start_tls(speaks, authority.server(Some(&clients)));
        let directory = tempfile::tempdir().expect("a directory");
        let [ca, certificate, key] =
            ["ca.pem", "client.pem", "client.key"].map(|name| directory.path().join(name));
        // In one step, as whoever renews certificates does it.
        let renew = |from: &std::path::Path, to: &std::path::Path| {
            let next = directory.path().join("next");
            std::fs::copy(from, &next).expect("copying");
            std::fs::rename(next, to).expect("renaming");
        };
        let (stale_authority, stale_clients) = (Authority::new(), Authority::new());
        let (stale_certificate, stale_key) = stale_clients.sign("client");
        renew(&stale_authority.file(), &ca);
        renew(&stale_certificate, &certificate);
        renew(&stale_key, &key);
        let agent = Agent::start(
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "200"),
                ("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.as_text()),
                ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate.as_text()),
                ("OTEL_EXPORTER_OTLP_CLIENT_KEY", key.as_text()),
            ],
            &["--interval", "20ms"],
        );
        agent.log.wait("signed by no authority that is trusted (UnknownIssuer)");
        let (right_certificate, right_key) = clients.sign("client");
        renew(&authority.file(), &ca);
        renew(&right_certificate, &certificate);
        // The certificate is there and its key is not yet: what was read before stays in use, and that is said once.
        let line = agent.log.wait("cannot be used");
        assert!(line.contains("export.otlp.tls.key_file"), "{line}");
        assert_eq!(receiver.received().len(), 0, "{speaks:?}");
        renew(&right_key, &key);
        assert_eq!(found(&receiver.nth(0).request), Some(1), "{speaks:?}");
        agent.log.wait("were reloaded");
        let left = agent.terminate();
        assert_eq!(left.count("cannot be used"), 1, "{:#?}", left.log);
    }
}

#[test]
fn authorities_of_the_system_are_read_again_when_they_change() {
    for variable in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
        let authority = Authority::new();
        let receiver = Receiver::start_tls(Speaks::Grpc, authority.server(None));
        let system = tempfile::tempdir().expect("a directory");
        // OpenSSL's name of a certificate in a directory: eight digits and a number.
        let file = system.path().join("0123abcd.0");
        std::fs::copy(Authority::new().file(), &file).expect("copying");
        let named = if variable == "SSL_CERT_DIR" { system.path() } else { &file };
        let agent = Agent::start(
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "200"),
                (variable, named.to_str().expect("text")),
            ],
            &["--interval", "20ms"],
        );
        agent.log.wait("signed by no authority that is trusted (UnknownIssuer)");
        let next = system.path().join("next");
        std::fs::copy(authority.file(), &next).expect("copying");
        std::fs::rename(next, &file).expect("renaming");
        assert_eq!(found(&receiver.nth(0).request), Some(1), "{variable}");
        agent.log.wait("the certificate authorities of the system");
    }
}

#[test]
fn authorities_of_the_system_that_cannot_be_read_are_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let fifo = directory.path().join("fifo");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, mode).expect("a FIFO");
    for (path, words) in [
        ("/dev/zero", "it is not a regular file"),
        (fifo.as_text(), "it is not a regular file"),
        ("/nowhere/ca.pem", "No such file"),
    ] {
        let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", "https://localhost:1"), ("SSL_CERT_FILE", path)];
        let mut agent = Agent::start(&variables, &[]);
        assert_eq!(agent.exit().code(), Some(2));
        let line = agent.log.wait("certificate authorities of the system");
        assert!(line.contains(path) && line.contains(words), "{line}");
        agent.log.wait("the system has no certificate authorities");
    }
    // Others may be there; what is missing is said once, however often they are read.
    let authority = Authority::new();
    let receiver = Receiver::start_tls(Speaks::Grpc, authority.server(None));
    std::fs::remove_file(&fifo).expect("removing");
    let file = directory.path().join("0123abcd.0");
    std::fs::copy(Authority::new().file(), &file).expect("copying");
    let agent = Agent::start(
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.url()),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "200"),
            ("SSL_CERT_FILE", "/nowhere/ca.pem"),
            ("SSL_CERT_DIR", directory.path().to_str().expect("text")),
        ],
        &["--interval", "20ms"],
    );
    agent.log.wait("signed by no authority that is trusted (UnknownIssuer)");
    let next = directory.path().join("next");
    std::fs::copy(authority.file(), &next).expect("copying");
    std::fs::rename(next, &file).expect("renaming");
    assert_eq!(found(&receiver.nth(0).request), Some(1));
    agent.log.wait("were reloaded");
    let left = agent.terminate();
    assert_eq!(left.count("/nowhere/ca.pem: No such file"), 1, "{:#?}", left.log);
}

#[test]
fn a_receiver_whose_key_cannot_be_verified_is_told_apart() {
    // What OpenSSL answers where it has a certificate on P-521 only: the alert handshake_failure (RFC 8446, section 6.2).
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = [0; 5];
            let _closed = stream.read_exact(&mut head).and_then(|()| {
                let mut hello = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
                stream.read_exact(&mut hello)?;
                stream.write_all(&[0x15, 3, 3, 0, 2, 2, 40])
            });
        }
    });
    let authority = Authority::new();
    for speaks in BOTH {
        let agent = Agent::start(
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("https://{address}")),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol(speaks)),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "5000"),
                ("OTEL_EXPORTER_OTLP_CERTIFICATE", authority.file().as_text()),
            ],
            &["--interval", "20ms"],
        );
        let line = agent.log.wait("cannot push over OTLP");
        assert!(
            line.contains("cannot verify keys on P-521: give the receiver a certificate"),
            "{speaks:?}: {line}"
        );
    }
}
