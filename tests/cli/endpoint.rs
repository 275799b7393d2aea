//! The HTTP endpoint.

use super::{config_file, scraped};
use crate::support::agent::Public;
use crate::support::{Agent, FOUR_CPUS, Script, get, request, sample};
use std::io::Write;
use std::os::unix::process::CommandExt;

#[test]
fn the_endpoint_answers_what_it_should() {
    let script = Script::printing(FOUR_CPUS);
    let mut agent = scraped(&["--conntrack-command", &script.path()]);
    let address = agent.address();
    let (status, head, body) = request(address, "GET", "/metrics");
    assert_eq!(status, 200);
    assert!(head.to_lowercase().contains("content-type: text/plain; version=0.0.4"), "{head}");
    assert_eq!(sample(&body, r#"conntrack_drop_total{cpu="2"}"#), Some(13.0), "{body}");
    assert!(body.contains("target_info{"), "{body}");
    assert_eq!(get(address, "/-/healthy"), (200, "healthy\n".to_owned()));
    assert_eq!(get(address, "/-/ready"), (200, "ready\n".to_owned()));
    assert_eq!(get(address, "/nothing").0, 404);
    assert_eq!(request(address, "POST", "/metrics").0, 405);
    let (status, _, body) = request(address, "HEAD", "/metrics");
    assert_eq!((status, body.as_str()), (200, ""));
}

#[test]
fn a_scrape_without_anything_is_a_503_that_says_why() {
    let public = Public::new(
        "sources: {conntrack: {via: command, table: {dirs: [/nowhere], timeouts: false}}, sockets: {enabled: false}, network: {enabled: false}}\n",
    );
    let listen = ["--listen", "127.0.0.1:0", "--otlp-protocol", "none"];
    let mut nobody = public.command(&[&listen[..], &["--conntrack-command", "/no/such/conntrack"]].concat());
    if rustix::process::geteuid().is_root() {
        nobody.uid(65534).gid(65534); // root could still ask netlink for the table
    }
    let mut agent = Agent::start(nobody);
    let address = agent.address();
    let (status, body) = get(address, "/metrics");
    assert_eq!(status, 503, "{body}");
    assert!(
        body.contains("conntrack: io: running /no/such/conntrack -S: there is no such program"),
        "{body}"
    );
    let (status, body) = get(address, "/-/ready");
    assert_eq!(status, 503);
    assert!(body.starts_with("not ready: no cycle has succeeded yet"), "{body}");
    assert_eq!(get(address, "/-/healthy").0, 200, "alive all the same");
    let (_, state) = get(address, "/-/status");
    assert!(state.contains(r#""source":"conntrack","state":"down""#), "{state}");
}

#[test]
fn with_every_source_off_a_scrape_says_so() {
    let file = config_file(
        "sources: {conntrack: {enabled: false}, sockets: {enabled: false}, network: {enabled: false}}\n",
    );
    let path = file.path().to_str().unwrap();
    let mut agent = scraped(&["--config", path]);
    let (status, body) = get(agent.address(), "/metrics");
    assert_eq!(status, 503);
    assert!(body.contains("every source is switched off"), "{body}");
    let (status, body) = get(agent.address(), "/-/ready");
    assert!(
        status == 503 && body.contains("not ready: every source is switched off: set sources."),
        "{body}"
    );
}

#[test]
fn scrapes_at_a_time_share_one_cycle_and_nothing_leaks() {
    let script = Script::new("echo >> $DIR/runs; sleep 1; echo 'cpu=0 found=1'");
    let mut agent = scraped(&["--conntrack-source", "command", "--conntrack-command", &script.path()]);
    let address = agent.address();
    let answers: Vec<u16> = std::thread::scope(|scope| {
        let scrapes: Vec<_> = (0..40).map(|_| scope.spawn(move || get(address, "/metrics").0)).collect();
        scrapes.into_iter().map(|scrape| scrape.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
    let runs = std::fs::read_to_string(script.file("runs")).unwrap().lines().count();
    assert!(runs < 20, "40 scrapes took {runs} cycles");
    // Clients that go away in the middle of a scrape take nothing with them.
    for _ in 0..6 {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    }
    assert_eq!(get(address, "/metrics").0, 200);
}
