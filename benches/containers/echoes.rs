//! What a round of 1000 ICMP echoes costs.

use crate::{Outcome, cpu, median, milliseconds, report};
use connscope::source::containers::latency::round::{Question, ask};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

const CONTAINERS: u32 = 20;
const ADDRESSES: u32 = 50;
const ROUNDS: usize = 15;

/// A process in a network namespace of its own, which ends with this.
struct Elsewhere(std::process::Child);

impl Elsewhere {
    fn start() -> Outcome<Self> {
        let script = "ip link set lo up && echo up && exec sleep 600";
        let mut command = std::process::Command::new("unshare");
        command.args(["--net", "sh", "-c", script]).stdout(std::process::Stdio::piped());
        let mut child = command.spawn()?;
        let mut told = child.stdout.take().ok_or("no output")?;
        let child = Self(child);
        std::io::Read::read_exact(&mut told, &mut [0; 3])?;
        Ok(child)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ended_or_not = self.0.kill();
        let _ended_or_not = self.0.wait();
    }
}

/// Echoes from 20 network namespaces to 50 addresses each, over loopback: the kernel answers on the thread that sends.
pub(crate) fn run() -> Outcome<()> {
    println!("\n1000 echoes from {CONTAINERS} network namespaces");
    let namespaces: Vec<Elsewhere> = (0..CONTAINERS).map(|_| Elsewhere::start()).collect::<Outcome<_>>()?;
    let address = |number| IpAddr::V4(Ipv4Addr::from(0x7f01_0000 + number));
    let questions: Vec<Question> = (0..)
        .zip(&namespaces)
        .map(|(number, namespace)| Question {
            number,
            process: namespace.0.id(),
            addresses: (1..=ADDRESSES).map(address).collect(),
        })
        .collect();
    let (mut times, mut ran) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        // It enters the namespaces, so it is another thread each time.
        let (time, cpu) = std::thread::scope(|scope| {
            let round = || -> Result<(f64, f64), String> {
                let (begun, before) = (Instant::now(), cpu());
                let answers = ask(&questions);
                let result = (milliseconds(begun.elapsed()), cpu() - before);
                let missing = answers.round_trips.iter().filter(|(.., answer)| answer.is_none()).count();
                if missing == 0 {
                    Ok(result)
                } else {
                    Err(format!("{missing} are not answered: {:?}", answers.error))
                }
            };
            scope.spawn(round).join().map_err(|_| "it panicked".to_owned()).flatten()
        })?;
        times.push(time);
        ran.push(cpu);
    }
    report("one round, CPU time", median(ran), "ms", Some(30.0));
    report("  by the clock", median(times), "ms", None);
    Ok(())
}
