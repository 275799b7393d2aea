//! `connscope top` on a terminal of tmux.

use super::{config_file, scraped, text};
use crate::support::window::{STATE, Window};
use crate::support::{Agent, Script, command, connscope, eventually};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

/// One source, and no agent in the way.
pub(super) const CONNTRACK: &str = "resource: {cloud: {detect: off}}\nsources: {conntrack: {via: command}, sockets: {enabled: false}, \
    network: {enabled: false}, containers: {enabled: false}, logs: {enabled: false}}\n";

/// A script whose counter `found` grows by 100 a second, and `drop` not at all.
pub(super) fn growing() -> Script {
    Script::new(
        "[ -f $DIR/since ] || date +%s%N > $DIR/since\n\
         echo \"cpu=0 found=$((($(date +%s%N)-$(cat $DIR/since))/10000000)) insert=1 drop=7\"",
    )
}

/// The first number of a row after its name.
pub(super) fn number(line: &str, column: usize) -> f64 {
    line.split_whitespace().nth(column).unwrap().parse().unwrap_or_else(|_| panic!("{line}"))
}

pub(super) fn running(script: &Script, more: &[&str]) -> (Agent, SocketAddr) {
    let file = config_file(CONNTRACK);
    let path = file.path().to_str().unwrap();
    let mut agent = scraped(&[&["--config", path, "--conntrack-command", &script.path()], more].concat());
    let address = agent.address();
    (agent, address)
}

#[test]
fn top_shows_the_rates_of_a_running_agent_in_either_naming() {
    let script = growing();
    for naming in ["otel", "classic"] {
        let (_agent, address) = running(&script, &["--prometheus-naming", naming]);
        let Some(window) = Window::new(80, 24) else { return };
        window.start(&format!("top --url http://{address}"));
        let row = window.shows("conntrack ");
        assert!(row.contains(" up "), "{row}");
        window.press("2");
        let lines = window.until("a rate", |lines| {
            lines.iter().any(|line| line.starts_with("found ") && line.split_whitespace().count() == 4)
        });
        let found = lines.iter().find(|line| line.starts_with("found ")).unwrap();
        assert!((50.0..200.0).contains(&number(found, 1)), "{naming}: {found}");
        let dropped = lines.iter().find(|line| line.starts_with("drop ") && !line.contains("/s")).unwrap();
        assert_eq!((number(dropped, 1), number(dropped, 3)), (0.0, 7.0), "{naming}: {dropped}");
        let before = number(found, 3);
        window.until("another reading", |lines| {
            lines.iter().any(|line| line.starts_with("found ") && number(line, 3) > before + 90.0)
        });
        window.press("q");
        window.restored(0);
    }
}

#[test]
fn keys_select_sort_filter_and_pause() {
    let script = growing();
    let (_agent, address) = running(&script, &[]);
    let Some(window) = Window::new(80, 24) else { return };
    window.start(&format!("top --url http://{address} --view table"));
    window.shows("METRIC▲");
    let names = |lines: &[String]| -> Vec<String> {
        let rows = lines.iter().skip_while(|line| !line.starts_with("METRIC")).skip(1);
        let rows = rows.take_while(|line| !line.starts_with("rows "));
        let names = rows.map_while(|line| line.split_whitespace().next().map(str::to_owned));
        names.collect()
    };
    let sorted = window.until("rows", |lines| names(lines).len() >= 3);
    assert!(names(&sorted).is_sorted(), "{sorted:#?}");
    window.press("s");
    window.shows("PER SECOND▼");
    window.until("the fastest first", |lines| names(lines).first().is_some_and(|name| name == "found"));
    window.press("/");
    window.run("DRO");
    window.until("the filter", |lines| names(lines) == ["drop"]);
    window.press("Escape");
    window.until("no filter", |lines| names(lines).len() >= 3);
    window.press("Space");
    window.shows("paused");
    let paused = window.lines();
    std::thread::sleep(Duration::from_millis(1500));
    let rows = |lines: &[String]| lines.get(3..).map(<[String]>::to_vec);
    assert_eq!(rows(&paused), rows(&window.lines()), "nothing changes in a pause");
    window.press("?");
    window.shows("Ctrl-L");
    window.press("x");
    window.press("Right");
    window.shows("conntrack.found");
    window.press("C-c");
    window.restored(0);
}

#[test]
fn a_smaller_terminal_keeps_the_names() {
    let script = growing();
    let (_agent, address) = running(&script, &[]);
    let Some(window) = Window::new(80, 24) else { return };
    window.start(&format!("top --url http://{address} --view table"));
    window.shows("found ");
    window.tmux(&["resize-window", "-x", "40", "-y", "10"]);
    let lines = window.until("the smaller screen", |lines| {
        lines.len() == 10
            && lines[9].starts_with("rows 1 to")
            && lines.iter().any(|line| line.starts_with("METRIC▲"))
    });
    assert!(
        lines[0].starts_with("connscope ") && lines.iter().all(|line| line.chars().count() <= 40),
        "{lines:#?}"
    );
    assert!(lines.iter().any(|line| line.contains("drop")), "{lines:#?}");
    window.tmux(&["resize-window", "-x", "120", "-y", "30"]);
    window.until("the larger screen", |lines| lines.get(29).is_some_and(|line| line.contains("? help")));
    window.press("q");
    window.restored(0);
}

#[test]
fn signals_restore_the_terminal() {
    let script = growing();
    let (_agent, address) = running(&script, &[]);
    let Some(window) = Window::new(80, 24) else { return };
    for signal in ["TERM", "INT", "HUP", "QUIT"] {
        // The process kills itself by a shell in the background, whatever else runs on this machine.
        let program = env!("CARGO_BIN_EXE_connscope");
        window.run(&format!(
            "clear; sh -c '(sleep 2; kill -{signal} $$) & exec {program} top --url http://{address}'; {STATE}"
        ));
        window.shows("conntrack ");
        window.restored(0);
    }
}

#[test]
fn a_suspended_top_gives_the_terminal_back_and_takes_it_again() {
    let script = growing();
    let (_agent, address) = running(&script, &[]);
    let Some(window) = Window::new(80, 24) else { return };
    window.run("set -m");
    window.start(&format!("top --url http://{address}"));
    window.shows("conntrack ");
    window.press("C-z");
    window.shows("icanon");
    assert_eq!(window.tmux(&["display-message", "-p", "#{alternate_on}"]).trim(), "0");
    window.run("clear; fg");
    window.until("the screen again", |lines| lines.iter().any(|line| line.starts_with("SOURCE▲")));
    window.press("q");
    window.until("the shell is back", |lines| lines.iter().any(|line| line.trim() == "$"));
}

#[test]
fn no_color_means_no_colours() {
    let script = growing();
    let (_agent, address) = running(&script, &[]);
    let Some(window) = Window::new(80, 24) else { return };
    for (variable, expected) in [("NO_COLOR=", true), ("NO_COLOR=1", false)] {
        window.run(&format!("export {variable}"));
        window.start(&format!("top --url http://{address}"));
        window.shows("1 sources");
        eventually(variable, || {
            let screen = window.tmux(&["capture-pane", "-e", "-p"]);
            let any = (30..38).any(|colour| screen.contains(&format!("{colour}m")));
            screen.contains("1 sources") && any == expected
        });
        window.press("q");
        window.restored(0);
    }
}

#[test]
fn an_agent_that_goes_away_is_one_line_and_is_asked_again() {
    let script = growing();
    let (mut agent, address) = running(&script, &[]);
    let Some(window) = Window::new(80, 24) else { return };
    window.start(&format!("top --url http://{address} --view table"));
    window.shows("found ");
    agent.signal(Signal::TERM);
    agent.wait();
    window.shows(&format!("asking http://{address}: Connection refused (os error 111); trying again"));
    window.shows("values of ");
    window.shows("found ");
    let file = config_file(CONNTRACK);
    let path = file.path().to_str().unwrap();
    let listen = address.to_string();
    let arguments = [
        "--listen",
        &listen,
        "--otlp-protocol",
        "none",
        "--config",
        path,
        "--conntrack-command",
        &script.path(),
    ];
    let mut again = Agent::start(command(&arguments));
    again.address();
    window.until("recovered", |lines| lines.last().is_some_and(|line| line.contains("? help")));
    window.press("q");
    window.restored(0);
}

/// Something that answers `/metrics` and `/-/status` with these bodies, and nothing else.
pub(super) fn answering(metrics: String, status: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let status = status.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 1024];
            let count = stream.read(&mut request).unwrap_or(0);
            let body = if request[..count].starts_with(b"GET /metrics") { &metrics } else { &status };
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _gone = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
        }
    });
    address
}

pub(super) const STATUS: &str = "{\"version\":\"9\",\"ready\":true,\"sources\":[{\"source\":\"a\\u001b[2Jb\",\"state\":\"up\\u202e\",\
    \"last_success_seconds\":1,\"series\":3,\"warnings\":[\"w\\r\\nx\"]}],\"push\":null,\"warnings\":[]}";

#[test]
fn labels_of_others_command_no_terminal_and_many_series_are_bounded() {
    let hostile = "\u{1b}]0;title\u{7}\u{1b}[2J\u{202e}gnp";
    let mut metrics = format!("container_restarts_total{{container_name=\"{hostile}\"}} 1\n");
    metrics.extend((0..60_000).map(|number| format!("zz{{n=\"{number}\"}} 1\n")));
    let address = answering(metrics, STATUS);
    let output = connscope(&["top", "--url", &format!("http://{address}"), "--count", "1"]);
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(
        !printed
            .chars()
            .any(|character| (character.is_control() && character != '\n') || character == '\u{202e}'),
        "{printed:?}"
    );
    assert!(printed.contains("10001 samples over the limit") && printed.contains("w  x"), "{printed}");
    let Some(window) = Window::new(80, 24) else { return };
    window.start(&format!("top --url http://{address} --view containers"));
    window.shows("gnp");
    let title = window.tmux(&["display-message", "-p", "#{pane_title}"]);
    assert!(!title.contains("title"), "{title}");
    assert!(window.lines()[0].starts_with("connscope 9  http"), "{:#?}", window.lines());
    window.press("q");
    window.restored(0);
}

#[test]
fn an_endpoint_that_hangs_or_is_none_is_said_in_one_line() {
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let hangs = format!("http://{}", hanging.local_addr().unwrap());
    let other = format!("http://{}", answering("up 1\n".to_owned(), "no json"));
    let denied =
        connscope(&["top", "--url", &hangs, "--timeout", "200ms", "--interval", "100ms", "--count", "3"]);
    let said = text(&denied.stderr);
    assert_eq!(
        (denied.status.code(), said.lines().count()),
        (Some(1), 1),
        "the same failure is said once: {said}"
    );
    assert!(said.contains(&format!("asking {hangs}: no answer within 200ms; trying again")), "{said}");
    let said = text(&connscope(&["top", "--url", &other, "--count", "1"]).stderr);
    assert!(said.contains("/-/status is no status"), "{said}");
    let Some(window) = Window::new(80, 24) else { return };
    window.start(&format!("top --url {hangs} --timeout 300ms"));
    window.shows("no answer within 300ms; trying again");
    window.press("q");
    window.restored(0);
}
