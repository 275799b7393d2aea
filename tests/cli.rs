//! The command line and the HTTP endpoint, as scripts see them.

use crate::support::{Agent, command, connscope};
use std::io::Write;
use std::process::Output;

mod activation;
mod config;
mod documented;
mod endpoint;
mod guard;
mod listen;
mod once;
mod process;
mod refused;
mod reload;
mod reloads;
mod renewed;
mod restart;
mod service;
mod status;
mod toolkit;
mod top;
mod unaccepted;
mod watched;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Bad input: exit code 2, nothing on stdout, one line on stderr.
fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let line = text(&output.stderr);
    assert_eq!(line.lines().count(), 1, "{line}");
    line.trim_end().to_owned()
}

/// The running agent, on a port of the kernel's choice and without a push.
fn scraped(more: &[&str]) -> Agent {
    Agent::start(command(&[&["--listen", "127.0.0.1:0", "--otlp-protocol", "none"], more].concat()))
}

fn config_file(yaml: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    file.write_all(yaml.as_bytes()).unwrap();
    file
}

fn refused_file(yaml: &str) -> String {
    let file = config_file(yaml);
    let path = file.path().to_str().unwrap();
    let line = refusal(&connscope(&["config", "--config", path]));
    line.strip_prefix(&format!("connscope: {path}:")).unwrap_or_else(|| panic!("{line}")).to_owned()
}
