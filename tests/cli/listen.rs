//! Several addresses, Unix sockets and sockets of the service manager: each is answered alike, and what cannot be is one line.

use super::{config_file, refusal, text};
use crate::support::agent::behind;
use crate::support::authority::Authority;
use crate::support::{Agent, PATIENCE, command, connscope, eventually, get, request, skipped};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Nothing to collect but what any machine has.
const SOURCES: &str = "sources: {conntrack: {enabled: false}, sockets: {enabled: false}, \
                       probes: {interval: 1h, targets: [{name: none, host: 127.0.0.1, port: 1}]}}\n";

fn config(prometheus: &str) -> tempfile::NamedTempFile {
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

fn healthy(path: &Path) -> bool {
    ask(path, "GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n").starts_with("HTTP/1.1 200 OK")
}

/// A socket in a folder of its own.
fn socket() -> (tempfile::TempDir, PathBuf) {
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
    let (_, foreign_key) = strangers.sign("client");
    let (code, said) = run(
        "status",
        &[
            &base,
            &["--cert-file".to_owned(), name(&own), "--key-file".to_owned(), name(&foreign_key)],
            &user(&password),
        ],
    );
    assert!(code == Some(1) && said.lines().count() == 1, "{said}");
    // By a URL, and with a name that the certificate has not.
    let url = [format!("https+unix:{}", path.display()), base[2].clone(), base[3].clone()];
    assert_eq!(run("healthcheck", &[&url, &shown, &user(&password)]).0, Some(0));
    let other = ["--server-name".to_owned(), "other.example".to_owned()];
    let (code, said) = run("healthcheck", &[&url, &shown, &other]);
    assert!(code == Some(1) && said.contains("TLS: "), "{said}");
    let (code, said) = run("status", &[&base, &shown, &user(Path::new("/nowhere/password"))]);
    assert!(code == Some(1) && said.contains("/nowhere/password: No such file"), "{said}");
    let (code, said) = run("status", &[&["--user".to_owned(), "alice".to_owned()]]);
    assert!(code == Some(2) && said.contains("--password-file"), "{said}");
}

/// Hands sockets over as systemd does: `tcp`, `udp`, `file`, or the path of a Unix socket; names in `LISTEN_FDNAMES`.
const HAND_OVER: &str = r#"
use IO::Socket::INET; use IO::Socket::UNIX;
$^F = 20; my @kept;
for my $what (split /,/, shift) {
    push @kept, $what eq "tcp" ? IO::Socket::INET->new(Listen => 9, LocalAddr => "127.0.0.1:0")
        : $what eq "udp" ? IO::Socket::INET->new(Proto => "udp", LocalAddr => "127.0.0.1:0")
        : $what eq "file" ? do { open(my $file, "<", "/dev/null"); $file }
        : IO::Socket::UNIX->new(Local => $what, Listen => 9);
}
$kept[0] && fileno($kept[0]) == 3 or die "the first is not descriptor 3: $!";
$ENV{LISTEN_PID} = $ENV{OTHER_PID} // $$; $ENV{LISTEN_FDS} //= scalar @kept;
exec @ARGV or die $!;
"#;

fn handed_over(sockets: &str, names: &str, listen: &[&str]) -> Command {
    let mut arguments = vec!["--otlp-protocol", "none", "--conntrack-source", "procfs"];
    arguments.extend(listen.iter().flat_map(|at| ["--listen", *at]));
    let mut program = behind(&["perl", "-e", HAND_OVER, sockets], &command(&arguments));
    program.env("LISTEN_FDNAMES", names);
    program
}

fn no_perl() -> bool {
    let missing = Command::new("perl").arg("-e0").status().is_err();
    if missing {
        skipped("needs perl (make test installs it)");
    }
    missing
}

#[test]
fn sockets_of_the_service_manager_are_taken_and_stay_when_the_agent_ends() {
    if no_perl() {
        return;
    }
    let (_folder, path) = socket();
    let both = format!("tcp,{}", path.display());
    let mut agent = Agent::start(handed_over(&both, "web:local", &["systemd"]));
    assert_eq!(get(agent.address(), "/-/healthy").0, 200);
    assert!(healthy(&path));
    agent.signal(Signal::TERM);
    assert!(agent.wait().0.success());
    assert!(path.exists(), "it is the service manager's");
    std::fs::remove_file(&path).unwrap();
    // By name, beside an address of its own; the other is not used, and that is said.
    let mut agent = Agent::start(handed_over(&both, "web:local", &["systemd:local", "127.0.0.1:0"]));
    agent.wait_for("the socket `web` of the service manager is not used");
    let address = agent.address();
    eventually("both answer", || get(address, "/-/healthy").0 == 200 && healthy(&path));
    drop(agent);
    // Without a name it is what no other entry names, in whichever order they stand.
    std::fs::remove_file(&path).unwrap();
    let mut agent = Agent::start(handed_over(&both, "web:local", &["systemd", "systemd:local"]));
    let address = agent.address();
    eventually("both answer", || get(address, "/-/healthy").0 == 200 && healthy(&path));
    drop(agent);
    // Of another process.
    std::fs::remove_file(&path).unwrap();
    let mut other = handed_over(&both, "", &["127.0.0.1:0"]);
    other.env("OTHER_PID", "1");
    let mut agent = Agent::start(other);
    assert_eq!(get(agent.address(), "/-/healthy").0, 200);
    assert!(!agent.log.all().iter().any(|line| line.contains("of the service manager")));
}

#[test]
fn a_reload_refuses_a_socket_that_the_service_manager_has_not_passed() {
    if no_perl() {
        return;
    }
    let named = |listen: &str| format!("listen: {listen}, lifecycle: true");
    let file = config(&named("'systemd:web'"));
    let mut program =
        behind(&["perl", "-e", HAND_OVER, "tcp,tcp"], &command(&["--config", file.path().to_str().unwrap()]));
    program.env("LISTEN_FDNAMES", "web:other");
    let mut agent = Agent::start(program);
    let address = agent.address();
    let reload = |listen: &str| {
        std::fs::write(file.path(), std::fs::read_to_string(config(&named(listen)).path()).unwrap()).unwrap();
        let (status, _, body) = request(address, "POST", "/-/reload");
        (status, body)
    };
    let (status, body) = reload("['systemd:web', 'systemd:third']");
    assert_eq!(status, 500, "{body}");
    assert!(
        body.contains("systemd:third: the service manager hands over web, other, and not `third`"),
        "{body}"
    );
    let (status, body) = reload("['systemd:web', 'systemd:other']");
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("takes effect after a restart: export.prometheus.listen"), "{body}");
    assert_eq!(reload("systemd").0, 200);
    assert_eq!(reload("'systemd:web'"), (200, "nothing has changed\n".to_owned()));
}

#[test]
fn what_the_service_manager_cannot_have_meant_is_one_line() {
    if no_perl() {
        return;
    }
    for (sockets, names, listen, why) in [
        (
            "udp",
            "web",
            "systemd",
            "the socket `web` (descriptor 3) of the service manager is not of ListenStream=",
        ),
        ("file", "", "systemd", "the socket `unknown` (descriptor 3) of the service manager is no socket"),
        (
            "tcp",
            "web",
            "systemd:other",
            "listening on systemd:other: the service manager hands over web, and not `other`",
        ),
    ] {
        let line = refusal(&handed_over(sockets, names, &[listen]).output().unwrap());
        assert!(line.contains(why), "{line}");
    }
    let line = refusal(&handed_over("tcp", "web", &["systemd:web", "systemd"]).output().unwrap());
    assert!(line.contains("no other sockets than those that other entries name"), "{line}");
    let mut more = handed_over("tcp", "web", &["systemd"]);
    more.env("LISTEN_FDS", "2");
    let line = refusal(&more.output().unwrap());
    assert!(line.contains("(descriptor 4) of the service manager is not open"), "{line}");
    let line = refusal(&connscope(&["--otlp-protocol", "none", "--listen", "systemd"]));
    assert!(line.contains("hands over no socket: enable and start connscope.socket, then restart"), "{line}");
}
