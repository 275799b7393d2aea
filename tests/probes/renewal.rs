//! Certificates and keys of targets that are renewed on disk while the agent runs.

use super::tls::secured;
use crate::support::authority::Authority;
use crate::support::{Agent, Namespace, command, eventually, get};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

#[test]
fn certificates_of_targets_are_read_again_when_their_files_change() {
    let Some(namespace) = Namespace::new() else { return };
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = Arc::new(authority.server(Some(&clients)));
    let port = super::listen(&namespace, "127.0.0.1:0", secured(&server)).port();
    let directory = tempfile::tempdir().unwrap();
    let [ca, system, certificate, key] =
        ["ca.pem", "system.pem", "client.pem", "client.key"].map(|name| directory.path().join(name));
    // In one step, as whoever renews certificates does it.
    let renew = |from: &Path, to: &Path| {
        let next = directory.path().join("next");
        std::fs::copy(from, &next).unwrap();
        std::fs::rename(next, to).unwrap();
    };
    let (stale_authority, stale_clients) = (Authority::new(), Authority::new());
    let (stale_certificate, stale_key) = stale_clients.sign("client");
    renew(&stale_authority.file(), &ca);
    renew(&stale_authority.file(), &system);
    renew(&stale_certificate, &certificate);
    renew(&stale_key, &key);
    let own = format!("cert_file: {}, key_file: {}", certificate.display(), key.display());
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    write!(
        file,
        "export: {{otlp: {{protocol: none}}}}
sources:
  conntrack: {{enabled: false}}
  sockets: {{enabled: false}}
  probes:
    interval: 100ms
    timeout: 90ms
    refresh: 1s
    targets:
    - {{name: tls, kind: tls, host: 127.0.0.1, port: {port}, tls: {{ca_file: {ca}, {own}}}}}
    - {{name: page, kind: http, url: 'https://127.0.0.1:{port}/', tls: {{ca_file: {ca}, {own}}}}}
    - {{name: system, kind: tls, host: 127.0.0.1, port: {port}, tls: {{{own}}}}}
",
        ca = ca.display()
    )
    .unwrap();
    let arguments = ["--listen", "127.0.0.1:0", "--config", file.path().to_str().unwrap()];
    let mut command = command(&arguments);
    command.env("SSL_CERT_FILE", &system);
    let mut agent = namespace.inside(|| Agent::start(command));
    let address = agent.address();
    let counted = |metric: &str, word: &str| {
        let text = namespace.inside(|| get(address, "/metrics").1);
        text.lines().filter(|line| line.starts_with(metric) && line.contains(word)).count()
    };
    eventually("nobody is trusted", || {
        counted("probe_duration_seconds_count", "error_type=\"tls_untrusted\"") == 3
    });
    let (right_certificate, right_key) = clients.sign("client");
    renew(&authority.file(), &ca);
    renew(&authority.file(), &system);
    renew(&right_certificate, &certificate);
    // The certificate is there and its key is not yet: what was read before stays in use, and that is said once.
    let line = agent.wait_for("cannot be used");
    assert!(line.contains("not the key of the certificate in") && line.contains("\"targets\":3"), "{line}");
    renew(&right_key, &key);
    agent.wait_for("were reloaded");
    eventually("all are up", || counted("probe_up{", "} 1") == 3);
    let said = agent.log.all();
    assert_eq!(said.iter().filter(|line| line.contains("cannot be used")).count(), 1, "{said:#?}");
}
