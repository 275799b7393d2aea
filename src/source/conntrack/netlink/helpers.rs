//! Expectations by helper: connections that a helper (FTP, SIP, TFTP) has announced and that have not come yet.
//!
//! `ctnetlink_exp_fill_info` in `net/netfilter/nf_conntrack_netlink.c`; `enum ctattr_expect`.

use super::{Malformed, Progress, ResponseHandler, Socket, SourceError, Transport, netlink, walk};
use crate::source::conntrack::metrics::HELPERS;
use crate::text::{LONGEST_NAME, bounded_bytes};
use std::collections::BTreeMap;

/// Message type: subsystem 2 (expectations), message 1.
pub(super) const IPCTNL_MSG_EXP_GET: u16 = 0x0201;

const CTA_EXPECT_HELP_NAME: u16 = 6;

/// Name of the expectations of further helpers, when there are more than are told apart.
const OTHER: &str = "~other";
/// Name of the helper of an expectation that has none, such as one of user space.
const NONE: &str = "~none";

/// Number of expectations by name of the helper.
pub type Helpers = BTreeMap<String, u64>;

/// Parses a datagram of a dump of expectations, and adds them to `into`.
pub fn parse(datagram: &[u8], sequence: u32, into: &mut Helpers) -> Result<Progress, Malformed> {
    walk(datagram, sequence, |_, attributes| {
        let mut name = NONE.to_owned();
        for attribute in attributes {
            let attribute = attribute?;
            if attribute.number == CTA_EXPECT_HELP_NAME {
                name = bounded_bytes(attribute.text(), LONGEST_NAME);
            }
        }
        if into.len() + 2 > HELPERS && !into.contains_key(&name) {
            OTHER.clone_into(&mut name);
        }
        *into.entry(name).or_default() += 1;
        Ok(())
    })
}

impl ResponseHandler for Helpers {
    type Malformed = Malformed;

    fn take(&mut self, datagram: &[u8], sequence: u32) -> Result<Progress, Malformed> {
        parse(datagram, sequence, self)
    }

    fn restart(&mut self) {
        self.clear();
    }
}

impl<T: Transport> Socket<T> {
    /// The expectations that exist, by helper (`IPCTNL_MSG_EXP_GET`).
    pub fn helpers(&mut self) -> Result<Helpers, SourceError> {
        let mut helpers = Helpers::new();
        self.ask(IPCTNL_MSG_EXP_GET, netlink::DUMP, &mut helpers)?;
        Ok(helpers)
    }
}
