//! Dumps of the sockets of one network namespace, of both families, each socket once.

use super::diag::{self, Family, Malformed, Record, Request, State};
use crate::netlink::{Client, Progress, RequestError, ResponseHandler, Transport};
use crate::reading::SourceError;
use crate::sys::netlink::NetlinkSocket;
use std::collections::HashSet;

/// Errors of the kernel without a handler for the family or the protocol: `tcp_diag` or `udp_diag` is neither built in
/// nor loadable.
const ABSENT: &[i32] = &[libc::ENOENT, libc::EOPNOTSUPP];

/// The request of a dump of both families.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// Protocol: [`diag::TCP`] or [`diag::UDP`].
    pub protocol: u16,
    /// States: the sum of their [masks](State::mask).
    pub states: u32,
    /// Optional attributes: the sum of [`extension`](diag::extension)s.
    pub extensions: u8,
    /// Filter that the kernel runs; empty for none.
    pub bytecode: &'a [u8],
}

/// A `sock_diag` client for dumps.
#[derive(Debug)]
pub struct Dumper<T = NetlinkSocket> {
    client: Client<T>,
    /// Whether one request walks the sockets of both families: half the time with few sockets, a tenth less with many.
    both_at_once: bool,
}

impl Dumper {
    /// Opens the netlink socket in the calling thread's network namespace.
    pub fn open() -> Result<Self, SourceError> {
        Ok(Self::new(Client::open(rustix::net::netlink::SOCK_DIAG, "sock_diag")?))
    }
}

impl<T: Transport> Dumper<T> {
    /// Creates it with this client.
    pub fn new(client: Client<T>) -> Self {
        Self { client, both_at_once: true }
    }

    /// Makes it request each family separately, as it does for protocols other than TCP.
    #[must_use]
    pub fn by_family(self) -> Self {
        Self { both_at_once: false, ..self }
    }

    /// Calls `take` with every requested socket, each once, also if the kernel interrupts the dump and it is repeated.
    pub fn dump(&mut self, query: Query<'_>, take: &mut dyn FnMut(&Record<'_>)) -> Result<(), SourceError> {
        if self.both_at_once && query.protocol == diag::TCP {
            let doing = || format!("asking sock_diag for the {} sockets", name(&query));
            let request = diag::dump_both(query.states, query.extensions, query.bytecode)
                .map_err(|cause| SourceError::parse(doing(), cause))?;
            match self.client.ask(request, &mut Records::new(take)) {
                // A request for each family may succeed, or give a better error.
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
    /// Cookies of the sockets passed to `take` in this attempt.
    seen: Vec<u64>,
    /// Cookies of the sockets passed to `take` in earlier attempts.
    seen_before: HashSet<u64>,
}

impl<'a> Records<'a> {
    fn new(take: &'a mut dyn FnMut(&Record<'_>)) -> Self {
        Self { take, seen: Vec::new(), seen_before: HashSet::new() }
    }
}

impl ResponseHandler for Records<'_> {
    type Malformed = Malformed;

    fn take(&mut self, datagram: &[u8], sequence: u32) -> Result<Progress, Malformed> {
        let Self { take, seen, seen_before } = self;
        diag::parse(datagram, sequence, |record| {
            if !seen_before.contains(&record.cookie) {
                seen.push(record.cookie);
                take(record);
            }
        })
    }

    fn restart(&mut self) {
        self.seen_before.extend(self.seen.drain(..));
    }
}

fn name(query: &Query<'_>) -> &'static str {
    match (query.protocol, query.states == State::Listen.mask()) {
        (diag::UDP, _) => "UDP",
        (_, true) => "listening TCP",
        (_, false) => "TCP",
    }
}
