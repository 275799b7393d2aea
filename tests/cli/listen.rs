//! Several addresses and Unix sockets: each is answered alike, and what cannot be is one line.

use super::{config_file, refusal, text};
use crate::support::agent::behind;
use crate::support::authority::Authority;
use crate::support::{Agent, PATIENCE, command, connscope, get};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Nothing to collect but what any machine has.
const SOURCES: &str = "sources: {conntrack: {enabled: false}, sockets: {enabled: false}, \
                       probes: {interval: 1h, targets: [{name: none, host: 127.0.0.1, port: 1}]}}\n";

pub(super) fn config(prometheus: &str) -> tempfile::NamedTempFile {
    config_file(&format!("{SOURCES}export: {{otlp: {{protocol: none}}, prometheus: {{{prometheus}}}}}\n"))
}

fn agent(file: &tempfile::NamedTempFile) -> Agent {
    Agent::start(command(&["--config", file.path().to_str().unwrap()]))
}

/// The whole answer to a request over a Unix socket.
fn ask(path: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("{request}Connection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

pub(super) fn healthy(path: &Path) -> bool {
    ask(path, "GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n").starts_with("HTTP/1.1 200 OK")
}

/// A socket in a folder of its own.
pub(super) fn socket() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.sock");
    (folder, path)
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn every_address_is_answered_alike_and_goes_on_over_a_reload() {
    let (_folder, path) = socket();
    let listen =
        format!("lifecycle: true, listen: ['127.0.0.1:0', '127.0.0.2:0', 'unix:{}']", path.display());
    let file = config(&listen);
    let mut agent = agent(&file);
    let line = agent.wait_for("connscope is running");
    let ports: Vec<std::net::SocketAddr> =
        line.split("http://").filter_map(|rest| rest.split_once("/metrics")?.0.parse().ok()).collect();
    assert_eq!(
        ports.iter().map(|at| at.ip().to_string()).collect::<Vec<_>>(),
        ["127.0.0.1", "127.0.0.2"],
        "{line}"
    );
    assert!(line.contains(&format!("unix:{}", path.display())), "{line}");
    let all = || {
        for at in &ports {
            assert_eq!(get(*at, "/-/healthy").0, 200, "{at}");
            assert!(get(*at, "/metrics").1.contains("connscope_source_up"), "{at}");
        }
        let text = ask(&path, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n");
        assert!(text.contains("connscope_source_up{source=\"probes\"} 1\n"), "{text}");
    };
    all();
    let answer = ask(&path, "GET /metrics HTTP/1.1\r\nHost: rebound.evil.example\r\n");
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    std::fs::write(
        file.path(),
        std::fs::read_to_string(config(&format!("{listen}, socket_mode: '0600'")).path()).unwrap(),
    )
    .unwrap();
    let answer = ask(&path, "POST /-/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n");
    assert!(
        answer
            .ends_with("nothing has changed; takes effect after a restart: export.prometheus.socket_mode\n"),
        "{answer}"
    );
    all();
    agent.signal(Signal::TERM);
    assert!(agent.wait().0.success());
    assert!(!path.exists(), "its socket is removed at the end");
}

#[test]
fn the_flag_may_be_repeated_and_off_is_alone() {
    let (_folder, path) = socket();
    let unix = format!("unix:{}", path.display());
    let mut both =
        Agent::start(command(&["--otlp-protocol", "none", "--listen", "127.0.0.1:0", "--listen", &unix]));
    assert_eq!(get(both.address(), "/-/healthy").0, 200);
    assert!(healthy(&path));
    let line = refusal(&connscope(&["--listen", "off", "--listen", ":9371"]));
    assert!(line.contains("--listen: `off` stands alone"), "{line}");
    let line = refusal(&connscope(&["--listen", "unix:metrics.sock"]));
    assert!(line.contains("`unix:metrics.sock` is not unix:/PATH"), "{line}");
}

#[test]
fn a_unix_socket_has_its_mode_whatever_the_umask_says() {
    let (_folder, path) = socket();
    for (umask, setting, expected) in
        [("0077", "", 0o660), ("0000", "", 0o660), ("0022", ", socket_mode: '0666'", 0o666)]
    {
        let file = config(&format!("listen: 'unix:{}'{setting}", path.display()));
        let program = command(&["--config", file.path().to_str().unwrap()]);
        let mut agent =
            Agent::start(behind(&["sh", "-c", &format!("umask {umask}; exec \"$0\" \"$@\"")], &program));
        agent.wait_for("connscope is running");
        assert_eq!(mode(&path), expected, "{umask}{setting}");
        assert!(healthy(&path));
    }
    let file = config("listen: ':1', socket_mode: '0999'");
    let line = refusal(&connscope(&["config", "--config", file.path().to_str().unwrap()]));
    assert!(line.contains("`0999` is not an octal mode"), "{line}");
}

#[test]
fn a_socket_that_is_removed_is_made_again() {
    let (_folder, path) = socket();
    let file = config(&format!("listen: 'unix:{}', socket_mode: '0666'", path.display()));
    let mut agent = agent(&file);
    agent.wait_for("connscope is running");
    for _ in 0..2 {
        std::fs::remove_file(&path).unwrap();
        agent.wait_for("was removed, and was made again");
        assert!(healthy(&path));
        assert_eq!(mode(&path), 0o666);
    }
    // What somebody else has put in its place is left alone.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "a file").unwrap();
    agent.signal(Signal::TERM);
    assert!(agent.wait().0.success());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");
}

#[test]
fn a_stale_socket_is_replaced_and_one_in_use_is_not() {
    let (folder, path) = socket();
    let file = config(&format!("listen: 'unix:{}'", path.display()));
    let run = ["--config", file.path().to_str().unwrap()];
    let mut first = agent(&file);
    first.wait_for("connscope is running");
    first.signal(Signal::KILL);
    first.wait();
    assert!(path.exists(), "who is killed removes nothing");
    let mut second = agent(&file);
    second.wait_for("connscope is running");
    assert!(healthy(&path));
    let output = connscope(&run);
    let line = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert!(
        line.contains(&format!("listening on unix:{}: another process listens there", path.display())),
        "{line}"
    );
    assert!(healthy(&path), "the one that is refused removes nothing");
    // What another process has put there since is not removed at the end.
    std::fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    second.signal(Signal::TERM);
    assert!(second.wait().0.success());
    assert!(path.exists());
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "a file").unwrap();
    let line = refusal(&connscope(&run));
    assert!(line.contains("there is a file that is no socket"), "{line}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "a file");
    let nowhere = config(&format!("listen: 'unix:{}/none/metrics.sock'", folder.path().display()));
    let line = refusal(&connscope(&["--config", nowhere.path().to_str().unwrap()]));
    assert!(line.contains("none/metrics.sock: No such file"), "{line}");
}

#[test]
fn status_and_healthcheck_ask_over_a_unix_socket_with_password_and_certificate() {
    let (folder, path) = socket();
    let (authority, strangers) = (Authority::new(), Authority::new());
    let (certificate, key) = authority.sign("server");
    let (own, own_key) = authority.sign("client");
    let name = |path: &Path| path.to_str().unwrap().to_owned();
    let web = folder.path().join("web.yml");
    std::fs::write(
        &web,
        format!(
            "tls_server_config: {{cert_file: {}, key_file: {}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: {}}}\n\
             basic_auth_users: {{alice: {}}}\n",
            certificate.display(),
            key.display(),
            authority.file().display(),
            bcrypt::hash("a secret", 4).unwrap()
        ),
    )
    .unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "a secret\n").unwrap();
    let wrong = folder.path().join("wrong");
    std::fs::write(&wrong, "another\n").unwrap();
    let file = config(&format!("listen: ['unix:{}'], web_config: {}", path.display(), web.display()));
    let mut agent = agent(&file);
    agent.wait_for("connscope is running");
    // By the configuration: it says that TLS is spoken.
    let base = ["--config", &name(file.path()), "--ca-file", &name(&authority.file())].map(str::to_owned);
    let shown = ["--cert-file", &name(&own), "--key-file", &name(&own_key)].map(str::to_owned);
    let user = |file: &Path| ["--user", "alice", "--password-file", &name(file)].map(str::to_owned);
    let run = |command: &str, parts: &[&[String]]| {
        let arguments: Vec<String> = std::iter::once(command.to_owned()).chain(parts.concat()).collect();
        let output = connscope(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    let (code, said) = run("status", &[&base, &shown, &user(&password)]);
    assert!(code == Some(0) && said.contains(": ready\n"), "{said}");
    assert_eq!(run("healthcheck", &[&base, &shown, &user(&password)]), (Some(0), "ready\n".to_owned()));
    assert_eq!(
        run("healthcheck", &[&base, &shown]),
        (Some(0), "healthy\n".to_owned()),
        "without the password"
    );
    let (code, said) = run("status", &[&base, &shown]);
    assert!(code == Some(1) && said.contains("use --user and --password-file"), "{said}");
    let (code, said) = run("healthcheck", &[&base, &shown, &user(&wrong)]);
    assert!(code == Some(1) && said.contains("wrong user or password"), "{said}");
    let (code, said) = run("status", &[&base, &user(&password)]);
    assert!(
        code == Some(1)
            && said.contains("use --cert-file and --key-file")
            && said.contains(&format!("https+unix:{}", path.display())),
        "{said}"
    );
    // What could not be shown is a wrong command line.
    let (_, foreign_key) = strangers.sign("client");
    let cert = |certificate: &Path, key: &Path| {
        ["--cert-file", &name(certificate), "--key-file", &name(key)].map(str::to_owned)
    };
    let (ended, ended_key) = authority.sign_until("ended", 2020);
    let nowhere = Path::new("/nowhere/file");
    for (flags, why) in [
        (&cert(&own, &foreign_key)[..], "--key-file: "),
        (&cert(&own, nowhere), "--key-file: /nowhere/file: No such file"),
        (&cert(nowhere, &own_key), "--cert-file: /nowhere/file: No such file"),
        (
            &cert(&ended, &ended_key),
            "ended.pem: the certificate has expired at 2020-01-01T00:00:00Z: renew it",
        ),
        (&user(nowhere), "--password-file: /nowhere/file: No such file"),
        (&["--server-name".to_owned(), "a b".to_owned()], "--server-name: `a b` cannot be the name"),
    ] {
        for command in ["status", "healthcheck", "top"] {
            let (code, said) = run(command, &[&base, flags]);
            assert!(code == Some(2) && said.contains(why) && said.lines().count() == 1, "{command}: {said}");
        }
    }
    let url = format!("https+unix:{}", path.display());
    let (code, said) = run("status", &[&[url, "--ca-file".to_owned(), name(nowhere)]]);
    assert!(code == Some(2) && said.contains("--ca-file: /nowhere/file: No such file"), "{said}");
    // By a URL, and with a name that the certificate has not.
    let url = [format!("https+unix:{}", path.display()), base[2].clone(), base[3].clone()];
    assert_eq!(run("healthcheck", &[&url, &shown, &user(&password)]).0, Some(0));
    let other = ["--server-name".to_owned(), "other.example".to_owned()];
    let (code, said) = run("healthcheck", &[&url, &shown, &other]);
    assert!(code == Some(1) && said.contains("TLS: "), "{said}");
    let (code, said) = run("status", &[&["--user".to_owned(), "alice".to_owned()]]);
    assert!(code == Some(2) && said.contains("--password-file"), "{said}");
}
