//! The web configuration and the files that it names change while the agent runs.

use super::guard::{Files, TLS, get_tls};
use crate::support::authority::Authority;
use crate::support::eventually;
use connscope::self_metrics::ConfigLoadStatus;
use connscope::web::guard::Guard;
use std::io::Write;
use std::sync::Arc;

#[test]
fn a_renewed_certificate_is_shown_without_a_reload() {
    let files = Files::new();
    let mut agent = files.agent(TLS);
    let address = agent.address();
    let other = Authority::new();
    let (certificate, key) = other.sign("server");
    std::fs::copy(key, files.folder.path().join("server.key")).unwrap();
    std::fs::copy(certificate, files.folder.path().join("server.crt")).unwrap();
    eventually("the new certificate is shown", || get_tls(address, &other.file(), None) == Ok(200));
    // The file may name certificates that are still to come.
    files.write(&TLS.replace("server.", "next."));
    agent.wait_for("the web configuration is refused, the previous one stays in effect");
    let third = Authority::new();
    let (certificate, key) = third.sign("server");
    std::fs::copy(key, files.folder.path().join("next.key")).unwrap();
    std::fs::copy(certificate, files.folder.path().join("next.crt")).unwrap();
    eventually("the certificate that came is shown", || get_tls(address, &third.file(), None) == Ok(200));
}

#[test]
fn a_file_that_changes_while_it_is_read_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (path, next) = (folder.path().join("web.yml"), folder.path().join("next.yml"));
    let headers = |frames: &str| format!("http_server_config: {{headers: {{X-Frame-Options: {frames}}}}}\n");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let stop = connscope::stop::Stop::new().unwrap();
    let loads = Arc::new(ConfigLoadStatus::new(std::time::SystemTime::now()));
    let guard = std::thread::scope(|scope| {
        let starting = scope.spawn(|| Guard::start(&path, &loads, &stop));
        // It is opened when somebody reads it, and is not read whole before it is closed.
        let mut pipe = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        std::fs::write(&next, headers("deny")).unwrap();
        std::fs::rename(&next, &path).unwrap();
        pipe.write_all(headers("sameorigin").as_bytes()).unwrap();
        drop(pipe);
        starting.join().unwrap().unwrap()
    });
    eventually("the file that is there now is in effect", || {
        guard.headers().first().is_some_and(|(_, value)| value == "deny")
    });
    stop.kill();
}
