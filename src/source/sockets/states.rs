//! Number of sockets by state, with every TCP state, including those without sockets.

use super::diag::{Family, State};
use crate::metric::{Label, Labels};
use crate::reading::Readings;
use crate::source::sockets::metrics::{SYSTEM_NETWORK_CONNECTION_COUNT as CONNECTIONS, UDP_QUEUE_USAGE};
use std::sync::{Arc, LazyLock};

/// The TCP states that the semantic conventions have, in the kernel's order.
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

/// The states of UDP: connected to a peer, and not connected.
const UDP: [State; 2] = [State::Established, State::Close];

/// Socket counts of one network namespace.
#[derive(Debug, Default)]
pub struct States {
    tcp: [[u64; 16]; 2],
    udp: [[u64; 16]; 2],
    queues: [[u64; 2]; 2],
    /// Sockets in TIME_WAIT, if the kernel gave their number instead of a dump.
    pub time_wait: Option<u64>,
}

fn index(state: State) -> usize {
    match state {
        State::NewSynRecv => State::SynRecv as usize,
        state => state as usize,
    }
}

impl States {
    /// Counts a TCP socket.
    pub fn tcp(&mut self, family: Family, state: State) {
        if let Some(count) = self.tcp.get_mut(family as usize).and_then(|counts| counts.get_mut(index(state)))
        {
            *count += 1;
        }
    }

    /// Counts a UDP socket, with the bytes in its queues.
    pub fn udp(&mut self, family: Family, state: State, received: u32, sent: u32) {
        if let Some(count) = self.udp.get_mut(family as usize).and_then(|counts| counts.get_mut(index(state)))
        {
            *count += 1;
        }
        if let Some([receive, transmit]) = self.queues.get_mut(family as usize) {
            *receive += u64::from(received);
            *transmit += u64::from(sent);
        }
    }

    /// Observes the counts of TCP under this label of the network namespace.
    pub fn observe_tcp(&self, netns: Option<&Arc<str>>, out: &mut Readings) {
        for (family, state, labels) in &SERIES.tcp {
            // The kernel's number is the sum of both families.
            if *state != State::TimeWait || self.time_wait.is_none() {
                out.observe(CONNECTIONS, of(labels, netns), count(&self.tcp, *family, *state));
            }
        }
        if let Some(count) = self.time_wait {
            out.observe(CONNECTIONS, of(&SERIES.time_wait, netns), count);
        }
    }

    /// Observes the counts of UDP, and the bytes in its queues.
    pub fn observe_udp(&self, netns: Option<&Arc<str>>, out: &mut Readings) {
        for (family, state, labels) in &SERIES.udp {
            out.observe(CONNECTIONS, of(labels, netns), count(&self.udp, *family, *state));
        }
        for (labels, bytes) in SERIES.queues.iter().zip(self.queues.as_flattened()) {
            out.observe(UDP_QUEUE_USAGE, of(labels, netns), *bytes);
        }
    }
}

fn count(counts: &[[u64; 16]; 2], family: Family, state: State) -> u64 {
    let count = counts.get(family as usize).and_then(|counts| counts.get(index(state)));
    count.copied().unwrap_or_default()
}

fn of(labels: &Labels, netns: Option<&Arc<str>>) -> Labels {
    netns.map_or_else(|| labels.clone(), |netns| labels.with(Label::Netns, Arc::clone(netns)))
}

/// The labels of the series without the network namespace: created once, since they never change.
struct Series {
    tcp: Vec<(Family, State, Labels)>,
    udp: Vec<(Family, State, Labels)>,
    time_wait: Labels,
    /// By family, `receive` before `transmit`.
    queues: Vec<Labels>,
}

static SERIES: LazyLock<Series> = LazyLock::new(|| {
    let in_state = |transport: &'static str, states: &[State]| -> Vec<_> {
        let both = Family::ALL.iter().flat_map(|family| states.iter().map(|state| (*family, *state)));
        let labelled = |(family, state): (Family, State)| {
            let labels = Labels::new(vec![
                (Label::NetworkType, family.word().into()),
                (Label::ConnectionState, state.word().into()),
                (Label::Transport, transport.into()),
            ]);
            (family, state, labels)
        };
        both.map(labelled).collect()
    };
    let queue = |family: &Family, direction: &str| {
        Labels::new(vec![(Label::NetworkType, family.word().into()), (Label::IoDirection, direction.into())])
    };
    Series {
        tcp: in_state("tcp", &TCP),
        udp: in_state("udp", &UDP),
        time_wait: Labels::new(vec![
            (Label::ConnectionState, State::TimeWait.word().into()),
            (Label::Transport, "tcp".into()),
        ]),
        queues: Family::ALL
            .iter()
            .flat_map(|family| [queue(family, "receive"), queue(family, "transmit")])
            .collect(),
    }
});

/// The number of sockets in TIME_WAIT of a network namespace, both families together, from the text of
/// `/proc/net/sockstat` (`net/ipv4/proc.c`, `sockstat_seq_show`): `TCP: inuse 5 orphan 0 tw 3 alloc 7 mem 1`.
pub fn time_wait(sockstat: &str) -> Option<u64> {
    let line = sockstat.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    let mut words = line.split_ascii_whitespace();
    words.find(|word| *word == "tw")?;
    words.next()?.parse().ok()
}
