//! Addresses and sockets of a network namespace, from the files of a process in it.
//!
//! `/proc/PID/net/fib_trie` (`fib_trie_seq_show` in `net/ipv4/fib_trie.c`), `/proc/PID/net/if_inet6` (`if6_seq_show` in
//! `net/ipv6/addrconf.c`) and `/proc/PID/net/tcp{,6}` (`get_tcp4_sock` in `net/ipv4/tcp_ipv4.c`). Anyone may read them, and
//! no namespace is entered. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The addresses of IPv4 in a `fib_trie`: each `|-- ADDRESS` that is followed by `/32 host LOCAL`. They are in it for each
/// table, so they are sorted and told once.
pub fn fib_trie(text: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let mut latest = None;
    for line in text.lines() {
        let line = line.trim_start();
        if let Some(address) = line.strip_prefix("|-- ") {
            latest = address.parse::<Ipv4Addr>().ok();
        } else if line.starts_with("/32 host LOCAL")
            && let Some(address) = latest
        {
            found.push(IpAddr::V4(address));
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The addresses of IPv6 in an `if_inet6`: 32 digits at the beginning of each line.
pub fn if_inet6(text: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let digits = line.split(' ').next().filter(|digits| digits.len() == 32)?;
        u128::from_str_radix(digits, 16).ok().map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits)))
    };
    text.lines().filter_map(address).collect()
}

/// A socket in a `tcp` or `tcp6`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Socket {
    /// Local address and port.
    pub local: SocketAddr,
    /// Address and port of the peer.
    pub peer: SocketAddr,
    /// Its state, as in `include/net/tcp_states.h`.
    pub state: u8,
}

/// `TCP_LISTEN`
pub const LISTEN: u8 = 10;
/// States of a connection that is established or closing: `ESTABLISHED`, `FIN_WAIT1`, `FIN_WAIT2`, `CLOSE_WAIT`,
/// `LAST_ACK`, `CLOSING`.
pub const OPEN: [u8; 6] = [1, 4, 5, 8, 9, 11];

/// The sockets of a `tcp` or `tcp6`; lines that are not understood are skipped.
pub fn tcp(text: &str) -> Vec<Socket> {
    text.lines().skip(1).filter_map(socket).collect()
}

fn socket(line: &str) -> Option<Socket> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (local, peer) = (end(fields.next()?)?, end(fields.next()?)?);
    let state = u8::from_str_radix(fields.next()?, 16).ok()?;
    Some(Socket { local, peer, state })
}

/// Address and port in hexadecimal digits; the address as words in the byte order of the machine.
fn end(field: &str) -> Option<SocketAddr> {
    let (address, port) = field.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::with_capacity(16);
    for at in (0..address.len()).step_by(8) {
        let word = u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?;
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    let address: IpAddr = match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok()?.into(),
        16 => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical(),
        _ => return None,
    };
    Some((address, port).into())
}
