//! Certificates that others accept: what `verify: false` switches off, chains with more than is needed, names, ends without
//! `close_notify`; and keys and peers of which the error says what to change.

use super::lenient::head;
use super::tls::{authority, file, identity};
use super::{fails, first, is_up, listen, pages, settings, value};
use crate::support::{Namespace, eventually, get, sample};
use connscope::source::probes::fault::Fault;
use connscope::source::probes::target::Target;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{
    AlertDescription, Error, InvalidMessage, ServerConfig, ServerConnection, SignatureAlgorithm,
    SignatureScheme, StreamOwned,
};
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Shows a chain, whatever name is asked for, and keeps the name.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>, Mutex<Option<String>>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        *self.1.lock().unwrap() = hello.server_name().map(str::to_owned);
        Some(Arc::clone(&self.0))
    }
}

/// A key whose signatures are of one scheme, and worth nothing.
#[derive(Debug, Clone)]
struct Worthless(SignatureScheme);

impl SigningKey for Worthless {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&self.0).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for Worthless {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(vec![7; 64])
    }

    fn scheme(&self) -> SignatureScheme {
        self.0
    }
}

fn config(shows: Arc<Shows>) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_no_client_auth().with_cert_resolver(shows))
}

/// Answers one request, over TLS, and ends as `end` says.
fn secured(
    namespace: &Namespace,
    config: Arc<ServerConfig>,
    answer: &'static [u8],
    close_notify: bool,
) -> u16 {
    let serve = move |stream: TcpStream| {
        let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
        if head(&mut stream).is_empty() {
            return;
        }
        let _gone = stream.write_all(answer);
        if close_notify {
            stream.conn.send_close_notify();
        }
        let _gone = stream.flush();
    };
    listen(namespace, "127.0.0.1:0", serve).port()
}

const FINE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes";

fn recorded(name: &str) -> CertificateDer<'static> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/certificates").join(name);
    CertificateDer::from_pem_file(path).unwrap()
}

#[test]
fn what_is_not_verified_is_not_looked_at() {
    let Some(namespace) = Namespace::new() else { return };
    let kinds = [
        ("version-1", SignatureScheme::ECDSA_NISTP256_SHA256),
        ("rsa-1024", SignatureScheme::ECDSA_NISTP384_SHA384),
        ("critical-extension", SignatureScheme::ED25519),
        ("p-521", SignatureScheme::ECDSA_NISTP521_SHA512),
    ];
    let dir = tempfile::tempdir().unwrap();
    let ca = file(&dir, "ca.pem", &authority().pem());
    let mut targets = Vec::new();
    for (name, scheme) in kinds {
        let key = CertifiedKey::new(vec![recorded(&format!("{name}.pem"))], Arc::new(Worthless(scheme)));
        let port = secured(&namespace, config(Arc::new(Shows(Arc::new(key), Mutex::default()))), FINE, true);
        targets.push(format!(
            "- {{name: {name}, kind: tls, host: 127.0.0.1, port: {port}, tls: {{verify: false}}}}\n\
             - {{name: {name} verified, kind: tls, host: 127.0.0.1, port: {port}, tls: {{ca_file: {ca}}}}}\n"
        ));
    }
    let readings = first(&namespace, &format!("timeout: 4s\ntargets:\n{}", targets.concat()));
    for (name, _) in kinds {
        is_up(&readings, name);
        let expiry = value(&readings, "probe.tls.certificate.expiry", name, &[]);
        assert!(expiry.is_some_and(|expiry| expiry > 4e9), "{name}: {expiry:?}");
    }
    // With verification nothing of it is taken; the P-521 key is not even offered.
    fails(&readings, "p-521 verified", "tls_handshake");
    fails(&readings, "version-1 verified", "tls_certificate");
}

#[test]
fn the_expiry_is_that_of_the_chain_that_was_verified() {
    let Some(namespace) = Namespace::new() else { return };
    let dir = tempfile::tempdir().unwrap();
    let authority = authority();
    let leaf = identity("127.0.0.1", (2020, 2090), Some(&authority));
    // The authority once more, signed by one that is gone, and expired; its name is the same.
    let old = CertifiedIssuer::self_signed(
        {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.distinguished_name.push(DnType::CommonName, "the authority before");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        },
        KeyPair::generate().unwrap(),
    )
    .unwrap();
    let mut cross = CertificateParams::new(Vec::new()).unwrap();
    cross.distinguished_name.push(DnType::CommonName, "the authority of the test");
    cross.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    (cross.not_before, cross.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
    let cross = cross.signed_by(&KeyPair::generate().unwrap(), &old).unwrap();
    let key = rustls::crypto::ring::sign::any_supported_type(&leaf.key).unwrap();
    let key = CertifiedKey::new(vec![leaf.certificate.clone(), cross.der().clone()], key);
    let shows = Arc::new(Shows(Arc::new(key), Mutex::default()));
    let port = secured(&namespace, config(Arc::clone(&shows)), FINE, true);
    let ca = file(&dir, "ca.pem", &authority.pem());
    let readings = first(
        &namespace,
        &format!(
            "timeout: 4s\ntargets:\n\
             - {{name: verified, kind: tls, host: 127.0.0.1, port: {port}, tls: {{ca_file: {ca}}}}}\n\
             - {{name: not, kind: tls, host: 127.0.0.1, port: {port}, tls: {{verify: false}}}}\n"
        ),
    );
    is_up(&readings, "verified");
    let expiry = |name| value(&readings, "probe.tls.certificate.expiry", name, &[]).unwrap();
    assert_eq!(expiry("verified"), 3_786_912_000.0, "2090-01-01");
    assert_eq!(expiry("not"), 978_307_200.0, "2001-01-01: nothing was verified");
}

#[test]
fn a_page_ends_with_the_connection_also_without_close_notify() {
    let Some(namespace) = Namespace::new() else { return };
    let leaf = identity("127.0.0.1", (2020, 2090), None);
    let key = rustls::crypto::ring::sign::any_supported_type(&leaf.key).unwrap();
    let key = Arc::new(CertifiedKey::new(vec![leaf.certificate.clone()], key));
    let serve = |answer| {
        secured(&namespace, config(Arc::new(Shows(Arc::clone(&key), Mutex::default()))), answer, false)
    };
    let open = serve(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<html>well</html>");
    let cut = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n<html>well</html>");
    let chunk = serve(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n<html>well</html>\r\n");
    let target = |name: &str, port: u16| {
        format!(
            "- {{name: {name}, kind: http, url: 'https://127.0.0.1:{port}/', tls: {{verify: false}}, http: {{expect_body: well}}}}\n"
        )
    };
    let targets = [target("open", open), target("cut", cut), target("chunk", chunk)].concat();
    let readings = first(&namespace, &format!("timeout: 4s\ntargets:\n{targets}"));
    is_up(&readings, "open");
    // A length that was promised is to be kept.
    fails(&readings, "cut", "unexpected_response");
    fails(&readings, "chunk", "unexpected_response");
}

#[test]
fn the_header_host_is_the_name_of_the_certificate() {
    let Some(namespace) = Namespace::new() else { return };
    let dir = tempfile::tempdir().unwrap();
    let authority = authority();
    let leaf = identity("shop.test", (2020, 2090), Some(&authority));
    let key = rustls::crypto::ring::sign::any_supported_type(&leaf.key).unwrap();
    let key = CertifiedKey::new(vec![leaf.certificate.clone()], key);
    let shows = Arc::new(Shows(Arc::new(key), Mutex::default()));
    let port = secured(&namespace, config(Arc::clone(&shows)), FINE, true);
    let ca = file(&dir, "ca.pem", &authority.pem());
    let target = |name: &str, more: &str| {
        format!(
            "- {{name: {name}, kind: http, url: 'https://127.0.0.1:{port}/', tls: {{ca_file: {ca}}}, http: {{{more}}}}}\n"
        )
    };
    let targets = target("named", "headers: {host: 'shop.test:443'}");
    let readings = first(&namespace, &format!("timeout: 4s\ntargets:\n{targets}"));
    is_up(&readings, "named");
    assert_eq!(shows.1.lock().unwrap().as_deref(), Some("shop.test"));
    let readings = first(&namespace, &format!("timeout: 4s\ntargets:\n{}", target("unnamed", "")));
    fails(&readings, "unnamed", "tls_name");
}

#[test]
fn a_probe_on_request_tells_versions_redirects_and_the_chain() {
    let Some(namespace) = Namespace::new() else { return };
    let leaf = identity("127.0.0.1", (2020, 2090), None);
    let key = rustls::crypto::ring::sign::any_supported_type(&leaf.key).unwrap();
    let key = Arc::new(CertifiedKey::new(vec![leaf.certificate.clone()], key));
    let shows = Arc::new(Shows(key, Mutex::default()));
    let port = secured(&namespace, config(Arc::clone(&shows)), FINE, true);
    let hosts = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&hosts);
    let plain = listen(&namespace, "127.0.0.1:0", move |mut stream: TcpStream| {
        let request = head(&mut stream);
        seen.lock().unwrap().push(request.clone());
        let answer: &[u8] = if request.starts_with("GET /end ") {
            b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"
        } else {
            b"HTTP/1.1 302 Found\r\nLocation: /end\r\nContent-Length: 0\r\n\r\n"
        };
        let _gone = stream.write_all(answer);
    })
    .port();
    let probes = "on_request: {enabled: true, networks: [127.0.0.1/32]}\ntimeout: 4s\n";
    let (agent, address, _dir) = pages::agent(&namespace, probes);
    let probe = |query: &str| namespace.inside(|| get(address, &format!("/probe?{query}")));
    let (status, text) = probe(&format!("target=http://127.0.0.1:{plain}/&kind=http&hostname=shop.test"));
    assert_eq!((status, sample(&text, "probe_http_redirects")), (200, Some(1.0)), "{text}");
    assert_eq!(sample(&text, "probe_http_version"), Some(1.0), "{text}");
    assert!(hosts.lock().unwrap().iter().all(|request| request.contains("host: shop.test\r\n")));
    // Nobody knows the authority, so that no chain is verified; the name is asked for all the same.
    let (_, text) = probe(&format!("target=127.0.0.1:{port}&kind=tls&hostname=shop.test"));
    assert_eq!(shows.1.lock().unwrap().as_deref(), Some("shop.test"));
    assert_eq!(sample(&text, "probe_ssl_earliest_cert_expiry"), Some(3_786_912_000.0), "{text}");
    assert!(!text.contains("probe_ssl_last_chain_expiry"), "{text}");
    assert_eq!(probe("target=127.0.0.1:1&kind=tcp&hostname=x").0, 400);
    for wrong in ["a%0d%0ab", "a%20b", "a/b", "user@a", ""] {
        assert_eq!(
            probe(&format!("target=http://127.0.0.1:{plain}/&kind=http&hostname={wrong}")).0,
            400,
            "{wrong}"
        );
    }
    // Short forms of addresses are no names that anybody is asked for.
    assert_eq!(probe("target=http://2130706433/&kind=http").0, 400);
    assert_eq!(probe("target=127.1:80&kind=tcp").0, 400);
    drop(agent);
    let dir = tempfile::tempdir().unwrap();
    let authority = authority();
    let leaf = identity("127.0.0.1", (2020, 2090), Some(&authority));
    let key = rustls::crypto::ring::sign::any_supported_type(&leaf.key).unwrap();
    let key = Arc::new(CertifiedKey::new(vec![leaf.certificate.clone()], key));
    let port = secured(&namespace, config(Arc::new(Shows(key, Mutex::default()))), FINE, true);
    // The authorities of the system are those of this variable.
    let ca = file(&dir, "ca.pem", &authority.pem());
    let output = namespace.inside(|| {
        let mut command = crate::support::command(&["--config", &configured(&dir, probes)]);
        command.env("SSL_CERT_FILE", &ca);
        let mut agent = crate::support::Agent::start(command);
        let address = agent.address();
        let mut text = String::new();
        eventually("the chain is verified", || {
            text = get(address, &format!("/probe?target=https://127.0.0.1:{port}/&kind=http")).1;
            sample(&text, "probe_success") == Some(1.0)
        });
        text
    });
    assert_eq!(sample(&output, "probe_ssl_last_chain_expiry_timestamp_seconds"), Some(3_786_912_000.0));
    assert_eq!(sample(&output, "probe_tls_version_info{version=\"TLS 1.3\"}"), Some(1.0), "{output}");
}

fn configured(dir: &tempfile::TempDir, probes: &str) -> String {
    let probes = super::indented(probes);
    file(
        dir,
        "connscope.yaml",
        &format!(
            "export: {{otlp: {{protocol: none}}, prometheus: {{listen: '127.0.0.1:0'}}}}\n\
             sources:\n  conntrack: {{enabled: false}}\n  sockets: {{enabled: false}}\n  probes:\n{probes}"
        ),
    )
}

#[test]
fn an_encrypted_key_says_that_it_is_encrypted() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/certificates");
    let fixtures = fixtures.display();
    for key in ["key-encrypted-pkcs8.pem", "key-encrypted-rfc1421.pem"] {
        let probes = settings(&format!(
            "targets: [{{name: x, kind: tls, host: a, port: 1, tls: {{verify: false, cert_file: {fixtures}/p-521.pem, key_file: {fixtures}/{key}}}}}]"
        ));
        let error = Target::new(&probes.targets[0], &probes).unwrap_err();
        assert!(error.contains("it is encrypted") && error.contains("openssl pkey"), "{error}");
    }
    // What a target names may be anything; a FIFO would be waited for, and a device has no end.
    for path in ["/dev/zero", "/"] {
        let probes = settings(&format!(
            "targets: [{{name: x, kind: tls, host: a, port: 1, tls: {{ca_file: {path}}}}}]"
        ));
        let error = Target::new(&probes.targets[0], &probes).unwrap_err();
        assert!(error.contains("not a regular file"), "{error}");
    }
}

#[test]
fn an_error_of_tls_says_what_to_change() {
    let said = |error: Error| Fault::tls("the TLS handshake with 10.0.0.1:80", &error).message;
    let plain = said(Error::InvalidMessage(InvalidMessage::InvalidContentType));
    assert!(plain.starts_with("the TLS handshake with 10.0.0.1:80: the peer does not speak TLS"), "{plain}");
    assert!(plain.contains("http://") && plain.contains("kind: tcp"), "{plain}");
    let key = said(Error::AlertReceived(AlertDescription::HandshakeFailure));
    assert!(key.contains("cannot verify keys on P-521") && key.contains("tls.verify: false"), "{key}");
    let protocol = said(Error::AlertReceived(AlertDescription::NoApplicationProtocol));
    assert!(protocol.contains("gRPC") && protocol.contains("alpn: [h2]"), "{protocol}");
    assert!(said(Error::AlertReceived(AlertDescription::CertificateRequired)).contains("tls.cert_file"));
}

#[test]
fn a_text_of_a_peer_is_cut_and_cleaned_wherever_it_is_kept() {
    use connscope::source::probes::labels::ProbeError;
    let long = format!("redirected to `gopher:{}\u{202e}\u{1b}[2J`", "a".repeat(390_000));
    let fault = Fault::new(ProbeError::UnexpectedResponse, long);
    assert!(
        fault.message.ends_with('…') && fault.message.len() <= 500 && fault.message.capacity() <= 500,
        "{}",
        fault.message
    );
    let fault = Fault::new(ProbeError::Other, "one\ntwo\u{1b}[31m\u{202e}");
    assert_eq!(fault.message, "one two\u{fffd}[31m\u{fffd}");
}
