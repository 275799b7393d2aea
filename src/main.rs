//! Parses the command line, runs it, and turns an error into one line and an exit code.

use anyhow::Context;
use connscope::cli::{self, CliError};
use std::io::{ErrorKind, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    connscope::sys::memory::keep_little();
    connscope::sys::names::from_hosts_and_dns();
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let code = error.downcast_ref::<CliError>().map_or(1, CliError::code);
            connscope::log::say_last(&format!("connscope: {error:#}"));
            ExitCode::from(code)
        }
    }
}

fn run() -> anyhow::Result<u8> {
    let done = cli::run(std::env::args_os())?;
    match std::io::stdout().write_all(done.text.as_bytes()) {
        // Whoever read it (`head`, a pager) has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        written => written.context("writing to stdout")?,
    }
    connscope::log::flush();
    Ok(done.code)
}
