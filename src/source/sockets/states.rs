//! How many sockets there are, by state: every state of TCP, also those nobody is in.

use super::diag::{Family, State};
use crate::metric::Label;
use crate::reading::Readings;
use crate::source::sockets::metrics;
use std::sync::Arc;

/// The states of TCP that the semantic conventions know, in the kernel's order.
const TCP: [State; 11] = [
    State::Established,
    State::SynSent,
    State::SynRecv,
    State::FinWait1,
    State::FinWait2,
    State::TimeWait,
    State::Close,
    State::CloseWait,
    State::LastAck,
    State::Listen,
    State::Closing,
];

/// The states of UDP: connected to a peer, and not.
const UDP: [State; 2] = [State::Established, State::Close];

/// Counts of one network namespace.
#[derive(Debug, Default)]
pub struct States {
    tcp: [[u64; 16]; 2],
    udp: [[u64; 16]; 2],
    queues: [[u64; 2]; 2],
    /// Sockets in TIME_WAIT, where the kernel was asked for their number instead of for each.
    pub time_wait: Option<u64>,
}

fn place(state: State) -> usize {
    match state {
        State::NewSynRecv => State::SynRecv as usize,
        state => state as usize,
    }
}

impl States {
    /// Counts a socket of TCP.
    pub fn tcp(&mut self, family: Family, state: State) {
        if let Some(count) = self.tcp.get_mut(family as usize).and_then(|counts| counts.get_mut(place(state)))
        {
            *count += 1;
        }
    }

    /// Counts a socket of UDP, with the bytes in its queues.
    pub fn udp(&mut self, family: Family, state: State, received: u32, sent: u32) {
        if let Some(count) = self.udp.get_mut(family as usize).and_then(|counts| counts.get_mut(place(state)))
        {
            *count += 1;
        }
        if let Some([receive, transmit]) = self.queues.get_mut(family as usize) {
            *receive += u64::from(received);
            *transmit += u64::from(sent);
        }
    }

    /// Observes all of it.
    pub fn observe(&self, labels: &[(Label, Arc<str>)], out: &mut Readings) {
        let transports = [("tcp", TCP.as_slice(), &self.tcp), ("udp", UDP.as_slice(), &self.udp)];
        for (transport, states, counts) in transports {
            for family in Family::ALL {
                for state in states {
                    // The kernel's number is that of both families.
                    if *state == State::TimeWait && self.time_wait.is_some() {
                        continue;
                    }
                    let count = counts.get(family as usize).and_then(|counts| counts.get(place(*state)));
                    let mut labels = labels.to_vec();
                    labels.push((Label::NetworkType, family.word().into()));
                    labels.push((Label::ConnectionState, state.word().into()));
                    labels.push((Label::Transport, transport.into()));
                    let count = count.copied().unwrap_or_default();
                    out.observe(metrics::SYSTEM_NETWORK_CONNECTION_COUNT, &labels, count);
                }
            }
        }
        if let Some(count) = self.time_wait {
            let mut labels = labels.to_vec();
            labels.push((Label::ConnectionState, State::TimeWait.word().into()));
            labels.push((Label::Transport, "tcp".into()));
            out.observe(metrics::SYSTEM_NETWORK_CONNECTION_COUNT, &labels, count);
        }
        for (family, queues) in Family::ALL.iter().zip(self.queues) {
            for (direction, bytes) in ["receive", "transmit"].into_iter().zip(queues) {
                let mut labels = labels.to_vec();
                labels.push((Label::NetworkType, family.word().into()));
                labels.push((Label::IoDirection, direction.into()));
                out.observe(metrics::UDP_QUEUE_USAGE, &labels, bytes);
            }
        }
    }
}

/// The number of sockets in TIME_WAIT in the text of `/proc/net/sockstat` (`net/ipv4/proc.c`, `sockstat_seq_show`):
/// `TCP: inuse 5 orphan 0 tw 3 alloc 7 mem 1`. It is that of the network namespace, of both families.
pub fn time_wait(sockstat: &str) -> Option<u64> {
    let line = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.split_ascii_whitespace();
    words.find(|word| *word == "tw")?;
    words.next()?.parse().ok()
}
