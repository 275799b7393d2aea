//! Ports that TCP listens on, over `sock_diag`, in one network namespace (`net/ipv4/inet_diag.c`). No privilege is needed.
//!
//! The kernel keeps listening sockets apart from connections, so the dump costs nothing for those.

use crate::netlink::{self, Client, Malformed, Progress};
use crate::reading::SourceError;

/// `SOCK_DIAG_BY_FAMILY` of `include/uapi/linux/sock_diag.h`.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// `struct inet_diag_msg`.
const INET_DIAG_MSG: usize = 72;
/// Ports that are kept of one dump.
const MAX_PORTS: usize = 65_536;
/// `1 << TCP_LISTEN`.
const LISTEN: u32 = 1 << 10;
const TCP: u8 = 6;

/// Reads one datagram of a dump of sockets into `ports`.
pub fn parse(datagram: &[u8], sequence: u32, ports: &mut Vec<u16>) -> Result<Progress, Malformed> {
    netlink::messages(datagram, sequence, |message| {
        if message.kind == SOCK_DIAG_BY_FAMILY && ports.len() < MAX_PORTS {
            let ([_, _, _, _, high, low, ..], _) = message.split::<INET_DIAG_MSG>()?;
            ports.push(u16::from_be_bytes([*high, *low]));
        }
        Ok(())
    })
}

/// The ports of both families, in the network namespace of the calling thread.
///
/// # Errors
///
/// The kernel refuses the dump.
pub fn read() -> Result<Vec<u16>, SourceError> {
    let mut client = Client::open(rustix::net::netlink::SOCK_DIAG, "sock_diag")?;
    let mut ports = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        let request = |sequence| {
            // struct inet_diag_req_v2: family, protocol, extensions, states, and an identity of 48 bytes that is not looked at.
            let mut payload = vec![u8::try_from(family).unwrap_or_default(), TCP, 0, 0];
            payload.extend(LISTEN.to_ne_bytes());
            payload.extend([0; 48]);
            netlink::request(SOCK_DIAG_BY_FAMILY, netlink::REQUEST | netlink::DUMP, sequence, &payload)
        };
        // A kernel without IPv6, or without CONFIG_INET_DIAG.
        let absent = &[libc::ENOENT, libc::EINVAL, libc::EOPNOTSUPP, libc::EAFNOSUPPORT];
        match client.rows(request, parse) {
            Ok(found) => ports.extend(found),
            Err(error) => {
                match error.into_source("asking netlink for listening sockets".to_owned(), absent) {
                    SourceError::Absent { .. } => {}
                    error => return Err(error),
                }
            }
        }
    }
    Ok(ports)
}
