//! Round trips by ICMP echoes (`tcp.latency: icmp`): a request to each destination address and cycle, from the network
//! namespace of the container.
//!
//! A thread of its own sends the requests and waits for the replies. A cycle reports the last round trip to each address and
//! starts the thread, unless the one of an earlier cycle is still waiting.

use super::tcp::Tcp;
use crate::host::inventory::Container;
use crate::reading::SourceError;
use round::{Question, RoundTrips};
use schedule::Schedule;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

pub mod round;
pub mod schedule;

/// The round trips to the destination addresses of all containers.
#[derive(Debug, Default)]
pub(super) struct Latency {
    schedule: Schedule,
    /// The round that was begun and whose answers are not there.
    round: Option<Receiver<RoundTrips>>,
    /// Why requests could not be sent from a network namespace, until they could for one of its containers, which have these
    /// numbers; of a thread that ended, until one that does not.
    error: Option<(SourceError, Vec<u64>)>,
}

impl Latency {
    /// Takes the answers of the last round, and begins another one. The error says why requests could not be sent.
    pub(super) fn look(
        &mut self,
        tcp: &Tcp,
        containers: &[Container],
        now: Instant,
    ) -> Result<(), SourceError> {
        match self.round.as_ref().map(Receiver::try_recv) {
            Some(Ok(answers)) => self.take(answers),
            Some(Err(TryRecvError::Disconnected)) => {
                self.round = None;
                let message = "the thread that sends echo requests has ended".to_owned();
                self.error = Some((SourceError::Panicked { message }, Vec::new()));
            }
            Some(Err(TryRecvError::Empty)) | None => {}
        }
        let there = |number: &u64| containers.iter().any(|container| container.workload.number == *number);
        self.error.take_if(|(_, numbers)| !numbers.is_empty() && !numbers.iter().any(there));
        if self.round.is_none() {
            self.begin(tcp, containers, now)?;
        }
        let doing = "sending echo requests to destinations of containers; without replies, the latency is that of their \
                     connections";
        self.error.as_ref().map_or(Ok(()), |(error, _)| Err(error.again(doing)))
    }

    fn take(&mut self, answers: RoundTrips) {
        self.round = None;
        // Destinations that do not answer are no error.
        let opened = |number: &u64| answers.opened.contains(number);
        self.error.take_if(|(_, numbers)| numbers.is_empty() || numbers.iter().any(opened));
        self.error = answers.error.or(self.error.take());
        for (number, ip, round_trip) in answers.round_trips {
            self.schedule.take(number, ip, round_trip);
        }
    }

    fn begin(&mut self, tcp: &Tcp, containers: &[Container], now: Instant) -> Result<(), SourceError> {
        let processes = processes(containers);
        let there = tcp.addresses().filter(|(number, _)| processes.contains_key(number));
        let due = self.schedule.due(there, now);
        let questions: Vec<Question> = due
            .into_iter()
            .filter_map(|(number, addresses)| {
                Some(Question { number, process: *processes.get(&number)?, addresses })
            })
            .collect();
        if questions.is_empty() {
            return Ok(());
        }
        let (sender, receiver) = channel();
        std::thread::Builder::new()
            .name("echoes".to_owned())
            .spawn(move || {
                // The source may be gone by then.
                let _nobody_waits = sender.send(round::ask(&questions));
            })
            .map_err(|cause| SourceError::io("starting the thread that sends echo requests", cause))?;
        self.round = Some(receiver);
        Ok(())
    }

    /// The last round trip to each address that answers, by the number of the container.
    pub(super) fn round_trips(&self) -> impl Iterator<Item = (u64, IpAddr, Duration)> {
        self.schedule.round_trips()
    }
}

/// A process of each container that runs, by the number of the container.
fn processes(containers: &[Container]) -> HashMap<u64, u32> {
    let running = containers.iter().filter(|container| !container.ended);
    running.filter_map(|container| Some((container.workload.number, container.process?))).collect()
}

/// Opens the sockets for echoes in every network namespace with a container, and sends nothing.
pub(super) fn check(containers: &[Container]) -> Result<String, SourceError> {
    let question =
        |(number, process)| Question { number, process, addresses: vec![Ipv4Addr::LOCALHOST.into()] };
    let questions: Vec<Question> = processes(containers).into_iter().map(question).collect();
    if questions.is_empty() {
        return crate::host::icmp::permitted().map(|kind| format!("{kind}; no container runs"));
    }
    let tried = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, || round::try_out(&questions));
        thread.map(|thread| {
            thread.join().unwrap_or_else(|_| {
                Err(SourceError::Panicked { message: "opening sockets for echo requests".to_owned() })
            })
        })
    });
    let tried = tried.map_err(|cause| SourceError::io("starting a thread for echo requests", cause))?;
    tried.map(|(namespaces, kind)| format!("{kind} in each of {namespaces} network namespaces"))
}

#[cfg(test)]
mod tests {
    use super::{Latency, RoundTrips, SourceError};

    #[test]
    fn an_error_stays_until_requests_are_sent_for_its_container_answered_or_not() {
        let ip = "192.0.2.1".parse().expect("an address");
        let answers = |number, opened: bool, failed: bool| RoundTrips {
            round_trips: vec![(number, ip, None)],
            opened: opened.then_some(number).into_iter().collect(),
            error: failed.then(|| (SourceError::absent("sending", "no route"), vec![7])),
        };
        let mut latency = Latency::default();
        for (round, stays) in [
            (answers(7, false, true), true),
            // Another container; the same one when its process is gone; another one, and this one fails again.
            (answers(8, true, false), true),
            (answers(7, false, false), true),
            (answers(8, true, true), true),
            (answers(7, true, false), false),
        ] {
            latency.take(round);
            assert_eq!(latency.error.is_some(), stays);
        }
    }
}
