//! Sockets of the service manager: which are taken, and what cannot be is one line.

use super::listen::{config, healthy, socket};
use super::{refusal, text};
use crate::support::agent::behind;
use crate::support::{Agent, command, connscope, eventually, get, request, skipped};
use rustix::process::Signal;
use std::os::fd::OwnedFd;
use std::process::Command;

/// Hands sockets over as systemd does: `tcp`, `udp`, `file`, `stdin`, or the path of a Unix socket; names in `LISTEN_FDNAMES`.
const HAND_OVER: &str = r#"
use IO::Socket::INET; use IO::Socket::UNIX;
$^F = 20; my @kept;
for my $what (split /,/, shift) {
    push @kept, $what eq "tcp" ? IO::Socket::INET->new(Listen => 9, LocalAddr => "127.0.0.1:0")
        : $what eq "stdin" ? do { open(my $socket, "<&", 0); $socket }
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
fn an_address_that_the_service_manager_has_bound_is_said_to_be_that() {
    if no_perl() {
        return;
    }
    let bound = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = bound.local_addr().unwrap().to_string();
    let mut program = handed_over("stdin", "connscope.socket", &[&address]);
    let output = program.stdin(OwnedFd::from(bound)).output().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(1) && said.lines().count() == 1, "{said}");
    assert!(
        said.contains(&format!("listening on {address}: Address already in use"))
            && said.contains("hands over connscope.socket, which is not used")
            && said.contains("set export.prometheus.listen to `systemd` instead"),
        "{said}"
    );
    // A socket that is used is not the reason.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other = taken.local_addr().unwrap();
    let output = handed_over("tcp", "web", &["systemd", &other.to_string()]).output().unwrap();
    let said = text(&output.stderr);
    assert!(said.contains("Address already in use") && !said.contains("hands over"), "{said}");
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
