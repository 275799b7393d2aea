//! A container: a control group with this program in it again, which connects as it is told, a line at a time.

use crate::Outcome;
use crate::groups::directory;
use socket2::SockRef;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// The argument that makes this program a child.
pub(crate) const CHILD: &str = "--connect";

/// A process in a control group of its own, which goes with it.
pub(crate) struct Container {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Container {
    pub(crate) fn start(number: usize) -> Outcome<Self> {
        let directory = directory(number);
        std::fs::create_dir_all(&directory)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args([CHILD, directory.to_str().ok_or("a path")?]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (orders, answers) = child.stdin.take().zip(child.stdout.take()).ok_or("no pipes")?;
        Ok(Self { child, orders, answers: BufReader::new(answers) })
    }

    /// Has it do something; how long that took.
    pub(crate) fn order(&mut self, order: &str) -> Outcome<Duration> {
        writeln!(self.orders, "{order}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        Ok(Duration::from_nanos(answer.trim().parse().map_err(|_| format!("{order}: {answer}"))?))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What a child does.
pub(crate) fn run(directory: &str) -> Outcome<()> {
    std::fs::write(Path::new(directory).join("cgroup.procs"), std::process::id().to_string())?;
    let listener = TcpListener::bind("0.0.0.0:0")?;
    let port = listener.local_addr()?.port();
    let mut held: Vec<TcpStream> = Vec::new();
    for line in std::io::stdin().lines() {
        let line = line?;
        let (what, number) = line.split_once(' ').ok_or("what?")?;
        let number: u32 = number.parse()?;
        let begun = Instant::now();
        for place in 0..number {
            // 127.0.0.1, or one address after another.
            let address = Ipv4Addr::from_bits(0x7f00_0001 + if what == "scan" { place } else { 0 });
            match what {
                "many" => drop(pair(&listener, (address, port).into(), true)?),
                "hold" => held.extend(pair(&listener, (address, port).into(), false)?),
                "threads" => {
                    let thread = std::thread::Builder::new().stack_size(64 * 1024);
                    drop(thread.spawn(|| {
                        loop {
                            std::thread::park();
                        }
                    })?);
                }
                // Nobody listens there.
                _ => drop(TcpStream::connect(SocketAddr::from((address, 9)))),
            }
        }
        writeln!(std::io::stdout(), "{}", begun.elapsed().as_nanos())?;
    }
    Ok(())
}

/// Both ends of a connection; `reset`: the client's end is to be closed by a reset.
fn pair(listener: &TcpListener, to: SocketAddr, reset: bool) -> Outcome<[TcpStream; 2]> {
    let client = TcpStream::connect(to)?;
    let (server, _) = listener.accept()?;
    if reset {
        SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
    }
    Ok([client, server])
}
