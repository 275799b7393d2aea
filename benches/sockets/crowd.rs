//! Real connections, in a network namespace of this program's own.
//!
//! They are held by child processes, a part by each, for one process may not have descriptors enough. A child is this
//! program again; it is told what to do on its standard input, a line at a time, and says when it is done.

use crate::Outcome;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{BufRead, BufReader, Lines, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The argument that makes this program a child.
pub(crate) const HOLD: &str = "--hold-connections";

/// Connections that one child holds, with both ends.
const EACH: usize = 5_000;
/// Services of each child, each on an address and a port of its own. The ports of all children are the same.
const SERVICES: u8 = 100;
const FIRST_PORT: u16 = 10_000;

/// Moves this thread, and those it starts, into a new network namespace with loopback up. It is gone with the program.
#[expect(unsafe_code, reason = "the benchmark makes the namespace it works in")]
pub(crate) fn enter_own_namespace() -> Outcome<()> {
    // SAFETY: unshare takes no pointers; with CLONE_NEWNET it changes the calling thread and nothing else.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status()?;
    if up.success() { Ok(()) } else { Err("ip link set lo up failed".into()) }
}

/// The connections of all children.
#[derive(Default)]
pub(crate) struct Crowd {
    holders: Vec<Holder>,
}

struct Holder {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    connections: usize,
}

impl Crowd {
    /// Makes connections until there are so many sockets, both ends counted.
    pub(crate) fn grow(&mut self, sockets: usize) -> Outcome<()> {
        while self.connections() * 2 < sockets {
            if self.holders.last().is_none_or(|holder| holder.connections >= EACH) {
                self.holders.push(Holder::start(self.holders.len())?);
            }
            let missing = sockets / 2 - self.connections();
            if let Some(holder) = self.holders.last_mut() {
                let more = missing.min(EACH - holder.connections);
                holder.order(&format!("open {more}"))?;
                holder.connections += more;
            }
        }
        Ok(())
    }

    /// How many there are.
    pub(crate) fn connections(&self) -> usize {
        self.holders.iter().map(|holder| holder.connections).sum()
    }

    /// Has one end of each send a byte, which the kernel acknowledges at once.
    pub(crate) fn talk(&mut self) -> Outcome<()> {
        self.holders.iter_mut().try_for_each(|holder| holder.order("talk"))
    }

    /// Closes both ends of some connections, as fast as one process can.
    pub(crate) fn close(&mut self, mut connections: usize) -> Outcome<()> {
        for holder in &mut self.holders {
            let some = connections.min(holder.connections);
            if some > 0 {
                holder.order(&format!("close {some}"))?;
                holder.connections -= some;
                connections -= some;
            }
        }
        Ok(())
    }
}

impl Holder {
    fn start(number: usize) -> Outcome<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([HOLD, &(number + 1).to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().ok_or("no standard input")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no standard output")?).lines();
        Ok(Self { child, orders, answers, connections: 0 })
    }

    fn order(&mut self, order: &str) -> Outcome<()> {
        writeln!(self.orders, "{order}")?;
        match self.answers.next() {
            Some(Ok(answer)) if answer == "done" => Ok(()),
            Some(Ok(answer)) => Err(answer.into()),
            Some(Err(why)) => Err(why.into()),
            None => Err("a process that holds connections has ended".into()),
        }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What a child does, until its standard input ends.
pub(crate) fn hold(number: u8) -> Outcome<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    let mut services: Vec<(TcpListener, SocketAddr)> = Vec::new();
    for service in 0..SERVICES {
        let address = Ipv4Addr::new(127, number, service, 1);
        let listener = TcpListener::bind((address, FIRST_PORT + u16::from(service)))?;
        let address = listener.local_addr()?;
        services.push((listener, address));
    }
    let mut pairs = Vec::new();
    for line in std::io::stdin().lines() {
        match follow(&line?, &services, &mut pairs) {
            Ok(()) => println!("done"),
            Err(why) => println!("{why}"),
        }
    }
    Ok(())
}

fn follow(
    order: &str,
    services: &[(TcpListener, SocketAddr)],
    pairs: &mut Vec<(TcpStream, TcpStream)>,
) -> Outcome<()> {
    let (verb, some) = order.split_once(' ').unwrap_or((order, "0"));
    let some: usize = some.parse()?;
    match verb {
        "open" => {
            for _ in 0..some {
                let service = services.get(pairs.len() % services.len());
                let (listener, address) = service.ok_or("no services")?;
                let client = TcpStream::connect(address)?;
                let (server, _) = listener.accept()?;
                pairs.push((client, server));
            }
        }
        "talk" => {
            for (client, _) in pairs {
                client.write_all(b"x")?;
            }
        }
        "close" => pairs.truncate(pairs.len().saturating_sub(some)),
        _ => return Err("no such order".into()),
    }
    Ok(())
}
