//! Dumps of the sockets of one network namespace: both families, each socket once.

use super::diag::{self, Family, Malformed, Record, Request, State};
use crate::netlink::{Client, Progress, RequestError, ResponseHandler, Transport};
use crate::reading::SourceError;
use crate::sys::netlink::NetlinkSocket;
use std::collections::HashSet;

/// What the kernel refuses with where it has no handler for the family or the protocol: `tcp_diag` or `udp_diag` is neither
/// built in nor to be loaded.
const ABSENT: &[i32] = &[libc::ENOENT, libc::EOPNOTSUPP];

/// What a dump asks for, of both families.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// [`diag::TCP`] or [`diag::UDP`].
    pub protocol: u16,
    /// Which states: the sum of their [masks](State::mask).
    pub states: u32,
    /// What to send besides: the sum of [`extension`](diag::extension)s.
    pub extensions: u8,
    /// A filter that the kernel runs; empty for none.
    pub bytecode: &'a [u8],
}

/// The netlink socket that `sock_diag` is asked over.
#[derive(Debug)]
pub struct Dumper<T = NetlinkSocket> {
    client: Client<T>,
    /// Whether the kernel walks the sockets of both families at once: half the time where there are few, and a tenth less
    /// where there are many.
    both_at_once: bool,
}

impl Dumper {
    /// Opens it in the calling thread's network namespace.
    pub fn open() -> Result<Self, SourceError> {
        Ok(Self::new(Client::open(rustix::net::netlink::SOCK_DIAG, "sock_diag")?))
    }
}

impl<T: Transport> Dumper<T> {
    /// Asks with a client of its own.
    pub fn new(client: Client<T>) -> Self {
        Self { client, both_at_once: true }
    }

    /// Asks for each family by itself, as for protocols other than TCP.
    #[must_use]
    pub fn by_family(self) -> Self {
        Self { both_at_once: false, ..self }
    }

    /// Hands every socket that is asked for to `take`, each once, also where the kernel interrupts the dump and it is repeated.
    pub fn dump(&mut self, query: Query<'_>, take: &mut dyn FnMut(&Record<'_>)) -> Result<(), SourceError> {
        if self.both_at_once && query.protocol == diag::TCP {
            let doing = || format!("asking sock_diag for the {} sockets", name(&query));
            let request = diag::dump_both(query.states, query.extensions, query.bytecode)
                .map_err(|cause| SourceError::parse(doing(), cause))?;
            match self.client.ask(request, &mut Records::new(take)) {
                // Asked for each family by itself, it may not refuse, or says better why.
                Err(RequestError::Refused(libc::EOPNOTSUPP | libc::EINVAL | libc::ENOENT)) => {
                    self.both_at_once = false;
                }
                other => return other.map_err(|error| error.into_source(doing(), ABSENT)),
            }
        }
        for family in Family::ALL {
            match self.family(family, query, take) {
                // The kernel was built or booted without IPv6.
                Err(SourceError::Absent { .. }) if family == Family::V6 => {}
                other => other?,
            }
        }
        Ok(())
    }

    fn family(
        &mut self,
        family: Family,
        query: Query<'_>,
        take: &mut dyn FnMut(&Record<'_>),
    ) -> Result<(), SourceError> {
        let Query { protocol, states, extensions, bytecode } = query;
        let request = Request { family, protocol, states, extensions, local_port: 0, peer_port: 0, bytecode };
        let doing = || format!("asking sock_diag for the {} sockets of {}", name(&query), family.word());
        let payload = request.payload().map_err(|cause| SourceError::parse(doing(), cause))?;
        self.client
            .ask(|sequence| diag::dump(&payload, sequence), &mut Records::new(take))
            .map_err(|error| error.into_source(doing(), ABSENT))
    }
}

/// Response handler that decodes the sockets of a dump.
struct Records<'a> {
    take: &'a mut dyn FnMut(&Record<'_>),
    /// Cookies of those that were handed over, in this attempt and those before.
    taken: Vec<u64>,
    /// The same of the attempts before, where there were any.
    known: HashSet<u64>,
}

impl<'a> Records<'a> {
    fn new(take: &'a mut dyn FnMut(&Record<'_>)) -> Self {
        Self { take, taken: Vec::new(), known: HashSet::new() }
    }
}

impl ResponseHandler for Records<'_> {
    type Malformed = Malformed;

    fn take(&mut self, datagram: &[u8], sequence: u32) -> Result<Progress, Malformed> {
        let Self { take, taken, known } = self;
        diag::parse(datagram, sequence, |record| {
            if !known.contains(&record.cookie) {
                taken.push(record.cookie);
                take(record);
            }
        })
    }

    fn restart(&mut self) {
        self.known.extend(self.taken.drain(..));
    }
}

fn name(query: &Query<'_>) -> &'static str {
    match (query.protocol, query.states == State::Listen.mask()) {
        (diag::UDP, _) => "UDP",
        (_, true) => "listening TCP",
        (_, false) => "TCP",
    }
}
