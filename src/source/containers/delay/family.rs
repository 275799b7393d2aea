//! The family `TASKSTATS` of generic netlink, over a socket that is asked.

use super::taskstats::{self, ProcessDelays};
use crate::netlink::{Client, Malformed, Progress, RequestError, ResponseHandler};
use crate::reading::SourceError;
use crate::sys::netlink::NetlinkSocket;

/// What the kernel refuses with where it has no taskstats, or the agent is not in the first namespaces.
const ABSENT: &[i32] = &[libc::ENOENT, libc::EINVAL, libc::EOPNOTSUPP];

/// Reads a datagram of a reply with this sequence number.
type Parser<T> = fn(&[u8], u32, &mut Option<T>) -> Result<Progress, Malformed>;

/// A reply with one value.
struct Reply<T> {
    value: Option<T>,
    parse: Parser<T>,
}

impl<T> ResponseHandler for Reply<T> {
    type Malformed = Malformed;

    fn take(&mut self, datagram: &[u8], sequence: u32) -> Result<Progress, Malformed> {
        let progress = (self.parse)(datagram, sequence, &mut self.value)?;
        Ok(if self.value.is_some() { Progress::Done } else { progress })
    }

    fn restart(&mut self) {
        self.value = None;
    }
}

/// The family, once its number is known.
#[derive(Debug)]
pub(super) struct Family {
    client: Client<NetlinkSocket>,
    /// Its number, which messages have as their type.
    pub(super) number: u16,
}

impl Family {
    /// Finds out the number of the family, and whether questions are answered. The error says that the kernel has no taskstats,
    /// or that a capability is missing.
    pub(super) fn open() -> Result<Self, SourceError> {
        const DOING: &str = "asking generic netlink for the family TASKSTATS";
        let mut client = Client::open(rustix::net::netlink::GENERIC, "generic")?;
        let mut reply = Reply { value: None, parse: taskstats::parse_family };
        client
            .ask(taskstats::family_request, &mut reply)
            .map_err(|error| error.into_source(DOING.to_owned(), ABSENT))?;
        let number =
            reply.value.ok_or_else(|| SourceError::absent(DOING, "the kernel has no such family"))?;
        let mut family = Self { client, number };
        family.waited(std::process::id())?;
        Ok(family)
    }

    /// What a process has waited; `None` where there is no such process.
    pub(super) fn waited(&mut self, tgid: u32) -> Result<Option<ProcessDelays>, SourceError> {
        let mut reply = Reply { value: None, parse: taskstats::parse_process };
        let number = self.number;
        let request = |sequence| taskstats::process_request(number, sequence, tgid);
        match self.client.ask(request, &mut reply) {
            Ok(()) => Ok(reply.value),
            Err(RequestError::Refused(libc::ESRCH)) => Ok(None),
            Err(error) => Err(error.into_source("asking taskstats what a process waited".to_owned(), ABSENT)),
        }
    }
}
