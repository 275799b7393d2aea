//! `GET /api/history` of a running agent.

use crate::support::{Agent, PATIENCE, Script, command, eventually, get, request};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

/// An agent that has a number per cycle, which a file contains, and its address.
struct Counting {
    script: Script,
    _agent: Agent,
    address: SocketAddr,
}

impl Counting {
    fn start(export: &str) -> Self {
        let script = Script::new("cat $DIR/output");
        let config = format!(
            "export: {{{export}}}\nsources: {{conntrack: {{via: command}}, \
             sockets: {{enabled: false}}, network: {{enabled: false}}}}\n"
        );
        std::fs::write(script.file("connscope.yaml"), config).unwrap();
        let own = Self::count_in(script.file("output"), 1);
        assert!(own);
        let file = script.file("connscope.yaml");
        let mut command = command(&["--listen", "127.0.0.1:0", "--config", file.to_str().unwrap()]);
        command.args(["--conntrack-command", &script.path()]);
        let mut agent = Agent::start(command);
        let address = agent.address();
        Self { script, _agent: agent, address }
    }

    fn count_in(file: PathBuf, drops: u64) -> bool {
        std::fs::write(file, format!("cpu=0 found=0 drop={drops}\n")).is_ok()
    }

    fn count(&self, drops: u64) {
        assert!(Self::count_in(self.script.file("output"), drops));
    }

    fn history(&self, query: &str) -> Value {
        let (status, body) = get(self.address, &format!("/api/history{query}"));
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }
}

/// One request with these headers: head and body, as bytes.
fn ask(address: SocketAddr, path: &str, headers: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: test\r\n{headers}\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    (String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase(), answer[end + 4..].to_vec())
}

#[test]
fn scrapes_that_drive_the_cycles_are_recorded_and_that_is_said() {
    let counting = Counting::start("otlp: {protocol: none}");
    eventually("the first cycle", || counting.history("")["cycles_kept"] != 0);
    counting.count(41);
    assert_eq!(get(counting.address, "/metrics").0, 200);
    let all = counting.history("?of=all&names=conntrack.drop");
    assert_eq!(all["driven_by"], "scrapes");
    assert!(all["interval_seconds"].is_null());
    let newest = all["series"][0]["values"].as_array().unwrap().last().unwrap().as_f64();
    assert_eq!(newest, Some(40.0), "{all:#}");
    let each = counting.history("?names=conntrack.drop");
    assert_eq!(each["series"][0]["labels"], serde_json::json!({"cpu": "0"}));
    // What asks for the history makes no cycle.
    counting.count(100);
    let again = counting.history("?of=all&names=conntrack.drop");
    assert_eq!(again["series"], all["series"]);
}

#[test]
fn the_push_is_recorded_with_its_interval() {
    // Nobody listens: the cycles are made all the same.
    let counting = Counting::start("otlp: {interval: 100ms, endpoint: 'http://127.0.0.1:9'}");
    eventually("cycles", || counting.history("")["cycles_kept"].as_u64() >= Some(2));
    let all = counting.history("?of=all");
    assert_eq!((&all["driven_by"], &all["interval_seconds"]), (&"push".into(), &0.1.into()));
}

#[test]
fn a_response_is_kept_until_the_next_cycle_and_compressed_where_that_is_accepted() {
    let counting = Counting::start("otlp: {protocol: none}");
    eventually("the first cycle", || counting.history("")["cycles_kept"] != 0);
    let (head, body) = ask(counting.address, "/api/history", "");
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
    assert!(
        head.contains("cache-control: no-cache") && head.contains("content-type: application/json"),
        "{head}"
    );
    let known = format!("If-None-Match: {}\r\n", tag.replace("w/", "W/"));
    let (head, nothing) = ask(counting.address, "/api/history", &known);
    assert!(head.starts_with("http/1.0 304") && nothing.is_empty(), "{head}");
    let (head, packed) = ask(counting.address, "/api/history", "Accept-Encoding: gzip\r\n");
    assert!(head.contains("content-encoding: gzip"), "{head}");
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
    assert_eq!(ask(counting.address, "/api/history", "").1, unpacked, "rendered once for both");
    assert_eq!(unpacked.len(), body.len());
    assert_eq!(get(counting.address, "/metrics").0, 200);
    let (head, _) = ask(counting.address, "/api/history", &known);
    assert!(head.starts_with("http/1.0 200") && !head.contains(&tag), "{head}");
}

#[test]
fn what_it_does_not_understand_is_refused() {
    let counting = Counting::start("otlp: {protocol: none}");
    for (query, why) in
        [("?of=some", "all or series"), ("?names=%3Cscript%3E", "METRICS.md"), ("?top=0", "1 to 512")]
    {
        let (status, body) = get(counting.address, &format!("/api/history{query}"));
        assert_eq!(status, 400);
        assert!(body.contains(why), "{body}");
    }
    assert_eq!(request(counting.address, "POST", "/api/history").0, 405);
}

#[test]
fn without_the_page_nothing_is_kept() {
    let counting = Counting::start("otlp: {protocol: none}, prometheus: {page: false}");
    assert_eq!(get(counting.address, "/metrics").0, 200);
    let (status, body) = get(counting.address, "/api/history");
    assert_eq!(status, 404);
    assert!(body.contains("export.prometheus.page is false"), "{body}");
}
