//! The kernel's rules for bytecode, written independently from what `inet_diag_bc_audit` and `inet_diag_bc_run` in
//! `net/ipv4/inet_diag.c` do (Linux 6.18).

use connscope::filter::FilteredSocket;
use std::net::{IpAddr, Ipv4Addr};

/// A socket as the kernel looks at it: `struct inet_diag_entry`.
pub(super) struct Entry {
    six: bool,
    ends: [(Vec<u8>, u16); 2],
    interface: u32,
    mark: u32,
    cgroup: u64,
    autobound: bool,
}

impl Entry {
    /// As an IPv6 socket, or as an IPv4 socket if it can be one.
    pub(super) fn of(subject: &FilteredSocket, six: bool) -> Option<Self> {
        let bytes = |address: IpAddr| match address {
            IpAddr::V4(address) if six => Some(address.to_ipv6_mapped().octets().to_vec()),
            IpAddr::V4(address) => Some(address.octets().to_vec()),
            IpAddr::V6(address) => six.then(|| address.octets().to_vec()),
        };
        Some(Self {
            six,
            ends: [(bytes(subject.local)?, subject.local_port), (bytes(subject.peer)?, subject.peer_port)],
            interface: subject.interface,
            mark: subject.mark.unwrap_or(0),
            cgroup: subject.cgroup.unwrap_or(0),
            autobound: subject.autobound.unwrap(),
        })
    }
}

fn short(bytes: &[u8]) -> usize {
    u16::from_ne_bytes(bytes[..2].try_into().unwrap()).into()
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_ne_bytes(bytes[..4].try_into().unwrap())
}

/// Code, `yes` and `no` of the operation at a place.
fn operation(code: &[u8], at: usize) -> (u8, usize, usize) {
    (code[at], code[at + 1].into(), short(&code[at + 2..]))
}

/// The codes of all operations.
pub(super) fn codes(code: &[u8]) -> Vec<u8> {
    let mut at = 0;
    let mut codes = Vec::new();
    while at < code.len() {
        codes.push(code[at]);
        at += usize::from(code[at + 1]);
    }
    codes
}

/// Whether the kernel takes it. No bytecode at all is no attribute.
pub(super) fn audit(code: &[u8]) -> bool {
    // Every place where an operation begins, and the end.
    let mut places = vec![0];
    let mut at = 0;
    while at < code.len() {
        let Some(4..) = code.len().checked_sub(at) else { return false };
        let yes = operation(code, at).1;
        if yes < 4 || !yes.is_multiple_of(4) {
            return false;
        }
        at += yes;
        places.push(at);
    }
    if at != code.len() {
        return false;
    }
    places.iter().filter(|at| **at < code.len()).all(|&at| {
        let (kind, yes, no) = operation(code, at);
        let left = code.len() - at;
        let least = match kind {
            0 | 1 | 6 => 4,
            2..=5 | 9 | 11 | 12 => 8,
            7 | 8 => {
                if left < 12 {
                    return false;
                }
                let bytes = match code[at + 4] {
                    0 => 0,
                    2 => 4,
                    10 => 16,
                    _ => return false,
                };
                if code[at + 5] > 8 * bytes {
                    return false;
                }
                12 + usize::from(bytes)
            }
            10 | 13 => 12,
            _ => return false,
        };
        let inside = |jump: usize| jump >= least && jump <= left + 4 && jump.is_multiple_of(4);
        let jumps = kind == 0 || inside(no) && (no >= left || places.contains(&(at + no)));
        left >= least && inside(yes) && jumps
    })
}

/// Whether a socket passes.
pub(super) fn run(code: &[u8], entry: &Entry) -> bool {
    let mut at = 0;
    while at < code.len() {
        let (kind, yes, no) = operation(code, at);
        let operand = &code[at + 4..];
        let [(_, source), (_, destination)] = entry.ends;
        let holds = match kind {
            0 => true,
            1 => false,
            2 => usize::from(source) >= short(&operand[2..]),
            3 => usize::from(source) <= short(&operand[2..]),
            4 => usize::from(destination) >= short(&operand[2..]),
            5 => usize::from(destination) <= short(&operand[2..]),
            6 => entry.autobound,
            7 | 8 => host(operand, entry.six, &entry.ends[usize::from(kind - 7)]),
            9 => word(operand) == entry.interface,
            10 => entry.mark & word(&operand[4..]) == word(operand),
            13 => u64::from_ne_bytes(operand[..8].try_into().unwrap()) == entry.cgroup,
            other => panic!("operation {other}"),
        };
        at += if holds { yes } else { no };
    }
    at == code.len()
}

fn host(operand: &[u8], six: bool, (address, port): &(Vec<u8>, u16)) -> bool {
    let (family, prefix, wanted) = (operand[0], operand[1], word(&operand[4..]));
    if wanted != u32::MAX && wanted != u32::from(*port) {
        return false;
    }
    let own = if six { 10 } else { 2 };
    if family != 0 && family != own {
        let mapped = &Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().octets()[..12];
        return six
            && family == 2
            && address.starts_with(mapped)
            && same(&address[12..], &operand[8..], prefix);
    }
    same(address, &operand[8..], prefix)
}

fn same(one: &[u8], other: &[u8], bits: u8) -> bool {
    (0..usize::from(bits)).all(|bit| (one[bit / 8] ^ other[bit / 8]) & (0x80 >> (bit % 8)) == 0)
}
