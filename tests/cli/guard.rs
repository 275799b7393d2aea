//! `--web.config.file`: which files are taken, and what stands before the endpoint then. Each sample is of the kind of one of
//! exporter-toolkit's own, and is taken or refused as there.

use super::{refusal, scraped, text};
use crate::support::authority::Authority;
use crate::support::{Agent, connscope, get, request};
use connscope::web::guard::Guard;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

/// A folder with `server.crt`, `server.key` and `ca.pem`, as the samples name them.
pub(super) struct Files {
    pub(super) authority: Authority,
    pub(super) folder: tempfile::TempDir,
}

impl Files {
    pub(super) fn new() -> Self {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        let (certificate, key) = authority.sign("server");
        for (from, to) in [(certificate, "server.crt"), (key, "server.key"), (authority.file(), "ca.pem")] {
            std::fs::copy(from, folder.path().join(to)).unwrap();
        }
        Self { authority, folder }
    }

    pub(super) fn write(&self, yaml: &str) -> std::path::PathBuf {
        let path = self.folder.path().join("web.yml");
        std::fs::write(&path, yaml).unwrap();
        path
    }

    fn inline(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.folder.path().join(name)).unwrap();
        text.lines().map(|line| ["    ", line, "\n"].concat()).collect()
    }

    pub(super) fn agent(&self, yaml: &str) -> Agent {
        scraped(&["--web.config.file", self.write(yaml).to_str().unwrap()])
    }
}

pub(super) const TLS: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

/// Password `secret`, at the lowest cost.
fn users() -> String {
    format!("basic_auth_users:\n  alice: {}\n", bcrypt::hash("secret", 4).unwrap())
}

#[test]
fn files_are_taken_and_refused_as_the_toolkit_does() {
    let files = Files::new();
    let tls = |more: &str| format!("{TLS}{more}");
    let taken = [
        String::new(),
        tls(""),
        tls("  client_auth_type: RequireAnyClientCert\n"),
        tls("  client_auth_type: RequestClientCert\n"),
        tls("  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n  client_allowed_sans: [one, test3]\n"),
        tls("  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.pem\n"),
        tls(&format!("  client_auth_type: VerifyClientCertIfGiven\n  client_ca: |\n{}", files.inline("ca.pem"))),
        format!("tls_server_config:\n  cert: |\n{}  key: |\n{}", files.inline("server.crt"), files.inline("server.key")),
        tls("  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA]\n"),
        tls("  curve_preferences: [CurveP256, CurveP384, CurveP521, X25519]\n"),
        tls("  min_version: TLS12\n  max_version: TLS12\n  prefer_server_cipher_suites: false\n"),
        tls("  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]\nhttp_server_config: {http2: false}\n"),
        "http_server_config:\n  headers:\n    X-Frame-Options: deny\n    X-XSS-Protection: 1\n    \
         Strict-Transport-Security: max-age=31536000; includeSubDomains\n    X-Content-Type-Options: nosniff\n"
            .to_owned(),
        users(),
        "rate_limit: {interval: 0, burst: 0}\n".to_owned(),
        "rate_limit: {interval: 1s, burst: 0}\n".to_owned(),
    ];
    for yaml in taken {
        let read = Guard::check(&files.write(&yaml));
        assert!(read.is_ok(), "{yaml}{read:?}");
    }
    let refused = [
        ("abc\ndef\n", "web.yml"),
        ("tls_server_config:\n  cert_filse: server.crt\n", "cert_filse"),
        (
            "tls_server_config:\n  cert_file: ''\n  key_file: server.key\n",
            "one of cert and cert_file is missing",
        ),
        ("tls_server_config:\n  cert: ''\n  key_file: server.key\n", "one of cert and cert_file is missing"),
        (
            "tls_server_config:\n  cert_file: server.crt\n  key_file: ''\n",
            "one of key and key_file is missing",
        ),
        ("tls_server_config:\n  cert_file: ''\n  key_file: ''\n  client_auth_type: x\n", "is missing"),
        ("tls_server_config:\n  cert_file: somefile\n  key_file: server.key\n", "somefile: No such file"),
        ("tls_server_config:\n  cert_file: server.crt\n  key_file: somefile\n", "somefile: No such file"),
        (&tls("  client_ca_file: ca.pem\n"), "client authorities are set, and client_auth_type is not"),
        (&tls("  client_ca_file: somefile\n"), "somefile: No such file"),
        (
            &tls("  client_allowed_sans: [one]\n"),
            "client_allowed_sans is set, and client_auth_type asks for no",
        ),
        (&tls("  client_auth_type: Perhaps\n"), "`Perhaps` is not a client_auth_type"),
        (&tls("  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA2048]\n"), "is not a cipher suite"),
        (&tls("  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]\n"), "which HTTP/2 needs"),
        (&tls("  curve_preferences: [CurveP257]\n"), "`CurveP257` is not a curve"),
        (&tls("  min_version: TLS111\n"), "`TLS111` is not a version"),
        ("basic_auth_users: {john: doe}\n", "the password of `john` is not a bcrypt hash"),
        (
            "http_server_config: {headers: {X-Content-Type-Options: sniff}}\n",
            "is not a value of X-Content-Type-Options",
        ),
        ("http_server_config: {headers: {X-Frame-Options: foo}}\n", "deny or sameorigin"),
        (
            "http_server_config: {headers: {Content-Type: foo}}\n",
            "the header `Content-Type` cannot be configured",
        ),
        // Ours: the toolkit takes these, and no client could speak to it.
        (&tls("  curve_preferences: [CurveP521]\n"), "supports none of these curves"),
        (&tls("  max_version: TLS11\n"), "no version is left"),
    ];
    for (yaml, why) in refused {
        let error = Guard::check(&files.write(yaml)).unwrap_err();
        assert!(error.contains(why) && error.lines().count() == 1, "{yaml}{error}");
    }
}

#[test]
fn a_bad_file_is_one_line_and_exit_code_2() {
    let files = Files::new();
    let path = files.write("tls_server_config: {cert_filse: server.crt}\n");
    let run = ["run", "--listen", "127.0.0.1:0", "--otlp-protocol", "none", "--web.config.file"];
    let line = refusal(&connscope(&[&run[..], &[path.to_str().unwrap()]].concat()));
    assert!(line.contains("web.yml:1:") && line.contains("cert_filse"), "{line}");
    let line = refusal(&connscope(&[&run[..], &["/nowhere/web.yml"]].concat()));
    assert!(line.contains("/nowhere/web.yml"), "{line}");
}

#[test]
fn an_expired_certificate_is_refused() {
    let files = Files::new();
    let (certificate, key) = files.authority.sign_until("ended", 2020);
    std::fs::copy(certificate, files.folder.path().join("server.crt")).unwrap();
    std::fs::copy(key, files.folder.path().join("server.key")).unwrap();
    let path = files.write(TLS);
    let error = Guard::check(&path).unwrap_err();
    assert!(
        error.contains("server.crt: the certificate has expired at 2020-01-01T00:00:00Z: renew it"),
        "{error}"
    );
    let run = ["--listen", "127.0.0.1:0", "--otlp-protocol", "none", "--web.config.file"];
    assert_eq!(
        refusal(&connscope(&[&run[..], &[path.to_str().unwrap()]].concat())),
        format!("connscope: {error}")
    );
}

#[test]
fn a_key_of_another_certificate_is_refused_with_both_files() {
    let files = Files::new();
    let (_, other) = files.authority.sign("client");
    std::fs::copy(other, files.folder.path().join("server.key")).unwrap();
    let error = Guard::check(&files.write(TLS)).unwrap_err();
    let (key, certificate) = (files.folder.path().join("server.key"), files.folder.path().join("server.crt"));
    let expected = format!("{}: not the key of the certificate in {}", key.display(), certificate.display());
    assert!(error.contains(&expected), "{error}");
}

fn with(address: SocketAddr, credentials: &str, path: &str) -> (u16, String) {
    let path = format!("{path} HTTP/1.0\r\nAuthorization: Basic {credentials}\r\nX-Rest: ");
    let (status, head, _) = request(address, "GET", &path);
    (status, head)
}

#[test]
fn passwords_headers_and_what_stays_open() {
    let files = Files::new();
    let headers = "http_server_config: {headers: {X-Frame-Options: deny}}\n";
    let mut agent = files.agent(&format!("{}{headers}", users()));
    let address = agent.address();
    let (status, head, _) = request(address, "GET", "/metrics");
    assert!(status == 401 && head.to_lowercase().contains("www-authenticate: basic"), "{head}");
    assert!(head.to_lowercase().contains("x-frame-options: deny"), "{head}");
    assert_eq!(get(address, "/-/healthy").0, 200);
    let right = "YWxpY2U6c2VjcmV0"; // alice:secret
    assert_eq!((with(address, right, "/metrics").0, with(address, right, "/-/ready").0), (200, 200));
    for wrong in ["YWxpY2U6d3Jvbmc=", "Ym9iOnNlY3JldA==", "!"] {
        assert_eq!(with(address, wrong, "/metrics").0, 401);
    }
    let url = format!("http://{address}");
    let output = connscope(&["healthcheck", &url]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "healthy\n"));
    let output = connscope(&["status", &url]);
    assert!(
        output.status.code() == Some(1) && text(&output.stderr).contains("a user and a password: use --user"),
        "{output:?}"
    );
    for path in ["/", "/page/page.js", "/api/history"] {
        assert_eq!((get(address, path).0, with(address, right, path).0), (401, 200), "{path}");
    }
    // Read again when it changes; what is bad leaves it as it was.
    files.write("basic_auth_users: {alice: secret}\n");
    agent.wait_for("the web configuration is refused, the previous one stays in effect");
    assert_eq!((with(address, right, "/metrics").0, get(address, "/metrics").0), (200, 401));
    // A file that is written in place is empty for a moment.
    files.write("");
    agent.wait_for("it is empty");
    assert_eq!((with(address, right, "/metrics").0, get(address, "/metrics").0), (200, 401));
    files.write("rate_limit: {interval: 1h, burst: 2}\n");
    agent.wait_for("the web configuration was reloaded");
    let answers: Vec<u16> = (0..3).map(|_| get(address, "/metrics").0).collect();
    assert_eq!((answers, get(address, "/-/healthy").0), (vec![200, 200, 429], 200));
    // Then a container engine is told no more than that the process responds.
    let output = connscope(&["healthcheck", &url]);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(0), "healthy\n"));
    let output = connscope(&["status", &url]);
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("status 429: too many requests"), "{said}");
}

/// CPU time of the thread that checks passwords, in nanoseconds.
fn spent_on_passwords(agent: &Agent) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", agent.pid())).unwrap();
    let named = |task: &std::path::PathBuf| {
        std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name == "passwords\n")
    };
    let task = tasks.map(|task| task.unwrap().path()).find(named).expect("a thread `passwords`");
    let text = std::fs::read_to_string(task.join("schedstat")).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn an_unknown_user_costs_what_a_known_one_costs_and_results_are_cached() {
    let files = Files::new();
    let mut agent =
        files.agent(&format!("basic_auth_users:\n  alice: {}\n", bcrypt::hash("secret", 8).unwrap()));
    let address = agent.address();
    let cost = |credentials: &str, expected: u16| {
        let before = spent_on_passwords(&agent);
        assert_eq!(with(address, credentials, "/-/ready").0, expected);
        spent_on_passwords(&agent) - before
    };
    let (right, wrong, unknown) = ("YWxpY2U6c2VjcmV0", "YWxpY2U6d3Jvbmc=", "Ym9iOnNlY3JldA==");
    let known = cost(wrong, 401);
    let stranger = cost(unknown, 401);
    assert!(stranger < known * 4 && known < stranger * 4, "{known} ns and {stranger} ns");
    assert!(cost(right, 200) > known / 4);
    for (again, expected) in [(wrong, 401), (unknown, 401), (right, 200)] {
        let cached = cost(again, expected);
        assert!(cached < known / 10, "{cached} ns, at first {known} ns");
    }
}

/// One request over TLS, with a certificate to show if there is one.
pub(super) fn get_tls(
    address: SocketAddr,
    ca: &Path,
    identity: Option<&(std::path::PathBuf, std::path::PathBuf)>,
) -> Result<u16, String> {
    let builder = connscope::tls::client().unwrap().with_root_certificates(roots(ca));
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_file(certificate).unwrap()],
                PrivateKeyDer::from_pem_file(key).unwrap(),
            )
            .unwrap(),
    };
    get_by(address, config)
}

fn roots(ca: &Path) -> rustls::RootCertStore {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    roots
}

fn get_by(address: SocketAddr, config: rustls::ClientConfig) -> Result<u16, String> {
    let name = ServerName::try_from("localhost").unwrap();
    let client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = rustls::StreamOwned::new(client, TcpStream::connect(address).unwrap());
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n").map_err(|error| error.to_string())?;
    let mut head = [0; 12];
    stream.read_exact(&mut head).map_err(|error| error.to_string())?;
    Ok(std::str::from_utf8(&head[9..]).unwrap().parse().unwrap())
}

#[test]
fn tls_with_and_without_certificates_of_clients() {
    let files = Files::new();
    let ca = files.authority.file();
    let own = files.authority.sign("client");
    let strangers = Authority::new();
    let foreign = strangers.sign("stranger");
    let mut agent = files.agent(TLS);
    let address = agent.address();
    assert_eq!(get_tls(address, &ca, None), Ok(200));
    let url = format!("https://localhost:{}", address.port());
    let output = connscope(&["healthcheck", &url, "--ca-file", ca.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let output = connscope(&["healthcheck", &url, "--ca-file", Authority::new().file().to_str().unwrap()]);
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains("TLS: "), "{output:?}");
    let mut plain = TcpStream::connect(address).unwrap();
    plain.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _closed = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "nothing is answered without TLS");
    // The rules change while it runs, and new connections are held to them.
    let verified = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n";
    for (more, without, with_foreign, with_own) in [
        ("  client_auth_type: RequireAnyClientCert\n".to_owned(), false, true, true),
        (verified.to_owned(), false, false, true),
        (
            "  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.pem\n".to_owned(),
            true,
            false,
            true,
        ),
        // Whoever must have a name must have a certificate.
        ("  client_auth_type: RequestClientCert\n".to_owned(), true, true, true),
        (
            "  client_auth_type: RequestClientCert\n  client_allowed_sans: [localhost]\n".to_owned(),
            false,
            true,
            true,
        ),
        (
            "  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.pem\n  client_allowed_sans: [localhost]\n"
                .to_owned(),
            false,
            false,
            true,
        ),
        (format!("{verified}  client_allowed_sans: []\n"), false, false, false),
        (format!("{verified}  client_allowed_sans: [other.example]\n"), false, false, false),
        (format!("{verified}  client_allowed_sans: [other.example, 127.0.0.1]\n"), false, false, true),
        (format!("{verified}  client_allowed_sans: [localhost]\n"), false, false, true),
    ] {
        files.write(&format!("{TLS}{more}"));
        agent.wait_for("the web configuration was reloaded");
        let answers =
            [None, Some(&foreign), Some(&own)].map(|identity| get_tls(address, &ca, identity).is_ok());
        assert_eq!(answers, [without, with_foreign, with_own], "{more}");
    }
}

#[test]
fn a_client_of_an_older_version_than_the_least_is_refused() {
    let files = Files::new();
    let ca = files.authority.file();
    for (least, old, new) in [("TLS12", true, true), ("TLS13", false, true)] {
        let mut agent = files.agent(&format!("{TLS}  min_version: {least}\n"));
        let address = agent.address();
        let answers = [&rustls::version::TLS12, &rustls::version::TLS13].map(|version| {
            let builder = rustls::ClientConfig::builder_with_provider(connscope::tls::provider());
            let builder = builder.with_protocol_versions(&[version]).unwrap();
            get_by(address, builder.with_root_certificates(roots(&ca)).with_no_client_auth()).is_ok()
        });
        assert_eq!(answers, [old, new], "{least}");
    }
}
