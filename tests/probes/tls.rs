//! TLS: which chains are accepted, what is said of those that are not, and when they expire.

use super::{fails, first, is_up, listen, value};
use crate::support::Namespace;
use connscope::source::probes::Probes;
use connscope::stop::Stop;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "the authority of the test");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A chain and its key.
pub(super) struct Identity {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: PrivateKeyDer<'static>,
    pem: (String, String),
}

/// One for a name, valid between two years, signed by an authority or by itself; what signs itself says that it is an
/// authority, as that of `openssl req -x509` does.
pub(super) fn identity(name: &str, years: (i32, i32), by: Option<&Authority>) -> Identity {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if by.is_none() {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    signed(&params, by)
}

fn signed(params: &CertificateParams, by: Option<&Authority>) -> Identity {
    let key = KeyPair::generate().unwrap();
    let certificate = match by {
        Some(authority) => params.signed_by(&key, authority).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    Identity {
        certificate: certificate.der().clone(),
        key: PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())),
        pem: (certificate.pem(), key.serialize_pem()),
    }
}

fn config(identity: &Identity, clients: Option<&Authority>, alpn: &[&str]) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der().clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config =
        builder.with_single_cert(vec![identity.certificate.clone()], identity.key.clone_key()).unwrap();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// Shakes hands and answers one line, whatever it is, as an HTTP server would.
pub(super) fn secured(config: &Arc<ServerConfig>) -> impl Fn(TcpStream) + Send + Sync + 'static {
    let config = Arc::clone(config);
    move |stream| serve(&config, stream)
}

fn serve(config: &Arc<ServerConfig>, stream: TcpStream) {
    let connection = ServerConnection::new(Arc::clone(config)).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    let mut request = [0; 1024];
    if stream.read(&mut request).is_ok_and(|length| length > 0) {
        let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes");
        stream.conn.send_close_notify();
        let _gone = stream.flush();
    }
}

/// A file of the test, by its path.
pub(super) fn file(dir: &tempfile::TempDir, name: &str, text: &str) -> String {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn a_chain_is_verified_and_every_fault_of_it_has_its_word() {
    let Some(namespace) = Namespace::new() else { return };
    let authority = authority();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| file(&dir, name, text);
    let ca = file("ca.pem", &authority.pem());
    let fine = identity("localhost", (2020, 2090), Some(&authority));
    let client = identity("probe", (2020, 2090), Some(&authority));
    let (cert, key) = (file("cert.pem", &client.pem.0), file("key.pem", &client.pem.1));
    let stranger = identity("probe", (2020, 2090), None);
    let (other_cert, other_key) = (file("other.pem", &stranger.pem.0), file("other.key", &stranger.pem.1));
    let start = |identity: &Identity| {
        listen(&namespace, "127.0.0.1:0", secured(&config(identity, None, &["h2", "http/1.1"]))).port()
    };
    let good = start(&fine);
    let expired = start(&identity("localhost", (2001, 2002), Some(&authority)));
    let early = start(&identity("localhost", (2089, 2090), Some(&authority)));
    let own = start(&identity("localhost", (2020, 2090), None));
    let other = start(&identity("elsewhere.test", (2020, 2090), Some(&authority)));
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let for_clients = start(&signed(&params, Some(&authority)));
    let asks = listen(&namespace, "127.0.0.1:0", secured(&config(&fine, Some(&authority), &[]))).port();
    let plain = listen(&namespace, "127.0.0.1:0", |mut stream| {
        let _gone = stream.write_all(b"220 this is no TLS\r\n");
        let _gone = stream.read(&mut [0; 1024]);
    })
    .port();
    let target = |name: &str, port: u16, tls: &str| {
        format!("- {{name: {name}, kind: tls, host: localhost, port: {port}, tls: {{ca_file: {ca}{tls}}}}}\n")
    };
    let targets = [
        target("good", good, ""),
        target("expired", expired, ""),
        target("expired and nobody minds", expired, ", verify: false"),
        target("early", early, ""),
        target("self-signed", own, ""),
        target("of another name", other, ""),
        target("for clients only", for_clients, ""),
        target("of the name it is asked for", other, ", server_name: elsewhere.test"),
        target("alpn", good, ", alpn: [h2]"),
        target("alpn that nobody has", good, ", alpn: [spdy]"),
        target("with a certificate", asks, &format!(", cert_file: {cert}, key_file: {key}")),
        target("without a certificate", asks, ""),
        target(
            "with a certificate of its own",
            asks,
            &format!(", cert_file: {other_cert}, key_file: {other_key}"),
        ),
        target("no tls at all", plain, ""),
        format!(
            "- {{name: page, kind: http, url: 'https://localhost:{good}/', tls: {{ca_file: {ca}}}, http: {{expect_body: yes}}}}\n"
        ),
        format!(
            "- {{name: page expired, kind: http, url: 'https://localhost:{expired}/', tls: {{ca_file: {ca}}}}}\n"
        ),
    ];
    let readings = first(&namespace, &format!("timeout: 10s\ntargets:\n{}", targets.concat()));
    let fine = [
        "good",
        "expired and nobody minds",
        "of the name it is asked for",
        "alpn",
        "with a certificate",
        "page",
    ];
    for name in fine {
        is_up(&readings, name);
    }
    for (name, error) in [
        ("expired", "tls_expired"),
        ("early", "tls_not_yet_valid"),
        ("self-signed", "tls_untrusted"),
        ("of another name", "tls_name"),
        ("for clients only", "tls_certificate"),
        ("alpn that nobody has", "tls_handshake"),
        ("without a certificate", "tls_handshake"),
        ("with a certificate of its own", "tls_handshake"),
        ("no tls at all", "tls_handshake"),
        ("page expired", "tls_expired"),
    ] {
        fails(&readings, name, error);
    }
    let expiry = |name: &str| value(&readings, "probe.tls.certificate.expiry", name, &[]);
    assert_eq!(expiry("good"), Some(3_786_912_000.0), "1 January 2090");
    assert_eq!(expiry("page"), expiry("good"));
    assert_eq!(expiry("expired"), Some(1_009_843_200.0), "1 January 2002, also where the chain is refused");
    assert_eq!(expiry("no tls at all"), None);
    assert_eq!(value(&readings, "probe.phase.duration", "page", &[("phase", "tls")]), Some(1.0));
}

#[test]
fn a_target_whose_files_cannot_be_used_is_named_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let old = identity("probe", (2001, 2002), None);
    let (cert, key) = (file(&dir, "cert.pem", &old.pem.0), file(&dir, "key.pem", &old.pem.1));
    let targets = |tls: &str| {
        super::settings(&format!("targets: [{{name: x, kind: tls, host: y, port: 1, tls: {{{tls}}}}}]"))
    };
    for (tls, why) in [
        ("ca_file: /none.pem", "`x` has the certificates /none.pem: "),
        ("cert_file: /none.pem, key_file: /none", "/none.pem"),
        (
            &format!("cert_file: {cert}, key_file: {key}"),
            "cert.pem: the certificate has expired at 2002-01-01T00:00:00Z: renew it",
        ),
    ] {
        let error = Probes::start(&targets(tls), &Stop::new().unwrap()).err().unwrap();
        let error = connscope::reading::chain(&error);
        assert!(error.contains(why) && error.lines().count() == 1, "{error}");
    }
}

#[test]
fn a_target_that_cannot_be_probed_in_its_time_is_named_before_anything_starts() {
    let start = |more: &str| {
        let target = format!("{{name: x, kind: icmp, host: y, icmp: {{count: 20}}, {more}}}");
        let settings = super::settings(&format!("timeout: 4s\ntargets: [{target}]"));
        Probes::start(&settings, &Stop::new().unwrap()).err().map(|error| connscope::reading::chain(&error))
    };
    let told = start("timeout: 3s").unwrap_or_default();
    assert!(told.contains("`x` sends 20 echo requests in 3s 800ms, and has a timeout of 3s"), "{told}");
    assert_eq!(start("timeout: 5s"), None);
}

#[test]
fn a_conversation_goes_on_behind_starttls() {
    let Some(namespace) = Namespace::new() else { return };
    let authority = authority();
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let config = config(&identity("localhost", (2020, 2090), Some(&authority)), None, &[]);
    let mail = listen(&namespace, "127.0.0.1:0", move |mut stream| {
        stream.write_all(b"220 mail\r\n").unwrap();
        let mut line = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "STARTTLS\r\n");
        stream.write_all(b"220 go ahead\r\n").unwrap();
        serve(&config, stream);
    });
    let readings = first(
        &namespace,
        &format!(
            "targets:
- name: mail
  host: localhost
  port: {}
  tls: {{ca_file: {}}}
  conversation:
  - {{expect: '^220 ', send: 'STARTTLS\\r'}}
  - {{expect: '^220 ', starttls: true}}
  - {{send: 'EHLO me'}}
  - {{expect: '200 OK'}}
",
            mail.port(),
            ca.display()
        ),
    );
    is_up(&readings, "mail");
    assert!(value(&readings, "probe.tls.certificate.expiry", "mail", &[]).is_some());
    assert_eq!(value(&readings, "probe.phase.duration", "mail", &[("phase", "tls")]), Some(1.0));
}

#[test]
fn the_certificate_of_a_probe_is_shown_to_no_other_port() {
    let Some(namespace) = Namespace::new() else { return };
    let authority = authority();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| file(&dir, name, text);
    let client = identity("probe", (2020, 2090), Some(&authority));
    let (ca, cert, key) =
        (file("ca.pem", &authority.pem()), file("cert.pem", &client.pem.0), file("key.pem", &client.pem.1));
    let server = identity("localhost", (2020, 2090), Some(&authority));
    // Whoever shows a certificate here is verified, and who shows none is let in all the same.
    let open = |to: Option<u16>| {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
            .with_single_cert(vec![server.certificate.clone()], server.key.clone_key())
            .unwrap();
        let config = Arc::new(config);
        let serve = move |stream: TcpStream| {
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
            let _request = stream.read(&mut [0; 1024]).unwrap();
            let shown = stream.conn.peer_certificates().is_some();
            let answer = match to {
                Some(to) if shown => format!("307 Elsewhere\r\nLocation: https://localhost:{to}/"),
                _ if shown => "200 It was shown\r\nX: y".to_owned(),
                _ => "204 It was not shown\r\nX: y".to_owned(),
            };
            write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n").unwrap();
            stream.conn.send_close_notify();
            let _gone = stream.flush();
        };
        listen(&namespace, "127.0.0.1:0", serve).port()
    };
    let other = open(None);
    let leads = open(Some(other));
    let page = |name: &str, port: u16, status: u16| {
        format!(
            "- {{name: {name}, kind: http, url: 'https://localhost:{port}/', http: {{status: [{status}]}}, \
             tls: {{ca_file: {ca}, cert_file: {cert}, key_file: {key}}}}}\n"
        )
    };
    let targets = [page("its own", other, 200), page("another", leads, 204)].concat();
    let readings = first(&namespace, &format!("timeout: 10s\ntargets:\n{targets}"));
    is_up(&readings, "its own");
    is_up(&readings, "another");
}
