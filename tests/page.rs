//! The page at `/`: its files and their headers, and what a browser makes of them.

use crate::support::{Agent, PATIENCE, command, get};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

mod browser;
mod picture;

/// One request with these headers: status, head in lower case, and body.
fn ask(address: SocketAddr, path: &str, headers: &str) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n{headers}\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_lowercase(), answer[end + 4..].to_vec())
}

/// An agent with nothing to collect.
fn agent(prometheus: &str) -> (Agent, SocketAddr, tempfile::NamedTempFile) {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    write!(
        file,
        "export: {{otlp: {{protocol: none}}, prometheus: {{listen: '127.0.0.1:0', {prometheus}}}}}\n\
         sources: {{conntrack: {{enabled: false}}, sockets: {{enabled: false}}, network: {{enabled: false}}}}\n"
    )
    .unwrap();
    let mut agent = Agent::start(command(&["--config", file.path().to_str().unwrap()]));
    let address = agent.address();
    (agent, address, file)
}

/// The paths of a page's `src` and `href` that are files of its own.
fn named(page: &str) -> Vec<String> {
    let attributes = ["src=\"", "href=\""].iter().flat_map(|attribute| page.split(attribute).skip(1));
    let paths = attributes.filter_map(|rest| rest.split('"').next());
    paths.filter(|path| path.starts_with("page/")).map(|path| format!("/{path}")).collect()
}

#[test]
fn every_file_is_served_with_a_strict_policy_and_from_here_alone() {
    let (_agent, address, _file) = agent("");
    let (status, head, page) = ask(address, "/", "Host: test\r\n");
    let page = String::from_utf8(page).unwrap();
    assert_eq!(status, 200);
    for header in [
        "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';",
        "frame-ancestors 'none'",
        "x-content-type-options: nosniff",
        "x-frame-options: deny",
        "referrer-policy: no-referrer",
        "content-type: text/html",
    ] {
        assert!(head.contains(header), "{header}: {head}");
    }
    assert!(!page.contains("<script>") && !page.contains("style=") && !page.contains("<style"), "{page}");
    assert!(!page.contains("://"), "everything is from here: {page}");
    let files = named(&page);
    assert_eq!(files.len(), 9, "{files:?}");
    for path in files {
        let (status, head, body) = ask(address, &path, "Host: test\r\n");
        assert_eq!(status, 200, "{path}");
        assert!(
            head.contains("nosniff") && head.contains("content-security-policy") && !body.is_empty(),
            "{path}: {head}"
        );
        let tag = head.lines().find_map(|line| line.strip_prefix("etag: w/")).unwrap();
        let known = format!("Host: test\r\nIf-None-Match: W/{tag}\r\n");
        assert_eq!(ask(address, &path, &known).0, 304, "{path}");
    }
    assert!(page.contains("<noscript>") && page.contains("This page needs JavaScript"), "{page}");
    assert_eq!(get(address, "/page/other.js").0, 404);
    assert!(get(address, "/page/uplot-license.txt").1.contains("MIT License"));
}

#[test]
fn the_library_is_sent_as_it_is_kept_where_gzip_is_accepted() {
    let (_agent, address, _file) = agent("");
    let (_, head, packed) = ask(address, "/page/uplot.js", "Host: test\r\nAccept-Encoding: gzip\r\n");
    assert!(head.contains("content-encoding: gzip") && head.contains("vary: accept-encoding"), "{head}");
    let (_, head, plain) = ask(address, "/page/uplot.js", "Host: test\r\n");
    assert!(!head.contains("content-encoding"), "{head}");
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain);
    assert!(packed.len() < 23_000 && plain.len() > 50_000, "{} {}", packed.len(), plain.len());
}

#[test]
fn a_page_of_another_host_reads_neither_the_page_nor_the_history() {
    let (_agent, address, _file) = agent("");
    for path in ["/", "/page/page.js", "/api/history"] {
        let (status, _, body) = ask(address, path, "Host: rebound.example.com\r\n");
        assert_eq!(status, 403, "{path}");
        assert!(String::from_utf8(body).unwrap().contains("export.prometheus.hosts"), "{path}");
    }
}

#[test]
fn switched_off_there_is_neither_page_nor_history() {
    let (_agent, address, _file) = agent("page: false");
    for path in ["/", "/page/page.js", "/api/history"] {
        let (status, body) = get(address, path);
        assert_eq!(status, 404, "{path}");
        assert!(body.contains("export.prometheus.page is false"), "{body}");
    }
    assert_eq!(get(address, "/-/healthy").0, 200);
}

#[test]
fn the_metrics_that_the_tables_list_are_those_whose_rows_say_so() {
    let script = include_str!("../src/web/page/tables.js");
    let lists = script.split("metrics: [").skip(1).filter_map(|rest| rest.split(']').next());
    let mut listed: Vec<&str> =
        lists.flat_map(|list| list.split(", ")).map(|name| name.trim_matches('"')).collect();
    listed.sort_unstable();
    let mut said: Vec<&str> = crate::support::table::rows()
        .filter(|metric| metric.recording.listed)
        .map(|metric| metric.name)
        .collect();
    said.sort_unstable();
    assert_eq!(listed, said, "`listed` in the rows of the table, and `metrics` in tables.js");
}
