//! A filter compiled to what the kernel runs for each socket of a dump.
//!
//! The format is that of `include/uapi/linux/inet_diag.h`, its meaning that of `inet_diag_bc_run` and `inet_diag_bc_audit` in
//! `net/ipv4/inet_diag.c`: operations of four bytes (code, `yes`, `no`) and their operands, in the byte order of the
//! machine. What holds goes on `yes` bytes further, what does not `no` bytes. Whoever arrives exactly at the end passes;
//! four bytes behind it is the position where sockets are refused. All jumps are forward.

use super::evaluate::interface;
use super::expression::{Compare, Expression, Family, Network, Operator, Side};
use super::{Compiled, KernelCan, Names};
use std::net::{IpAddr, Ipv6Addr};

/// The size of the largest program in bytes. The length of a netlink attribute has 16 bits and counts its header of 4
/// bytes; so has `no`, which may point 4 bytes behind the end.
pub(super) const LIMIT: usize = 65_528;

const JUMP: u8 = 1;
const LOCAL_PORT_AT_LEAST: u8 = 2;
const LOCAL_PORT_AT_MOST: u8 = 3;
const PEER_PORT_AT_LEAST: u8 = 4;
const PEER_PORT_AT_MOST: u8 = 5;
const AUTOBOUND: u8 = 6;
const LOCAL_HOST: u8 = 7;
const PEER_HOST: u8 = 8;
const DEVICE: u8 = 9;
const MARK: u8 = 10;
const CGROUP: u8 = 13;

/// Where the IPv4 addresses are among those of IPv6.
const MAPPED: IpAddr = IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0));

/// The bytecode of an expression.
pub(super) fn compile(expression: &Expression, names: &Names, kernel: KernelCan) -> Compiled {
    let mut lowering = Lowering { names: Some(names), kernel, complete: true };
    let node = lowering.lower(expression, true);
    let bytecode = match node {
        Node::Always(true) => Vec::new(),
        node => assemble(&node),
    };
    Compiled { bytecode, complete: lowering.complete }
}

/// How large the bytecode can become in bytes: with a kernel that can everything and names that all exist.
pub(super) fn size(expression: &Expression) -> usize {
    Lowering { names: None, kernel: KernelCan::ALL, complete: true }.lower(expression, true).size()
}

/// An expression in terms of what the kernel can do.
enum Node {
    Always(bool),
    /// One operation with its operands, where `yes` is right and `no` is still open.
    Test(Vec<u8>),
    Not(Box<Node>),
    /// From left to right; the first link says nothing.
    List(Vec<(Operator, Node)>),
}

struct Lowering<'a> {
    /// `None`: every name exists.
    names: Option<&'a Names>,
    kernel: KernelCan,
    /// Whether nothing was left open so far.
    complete: bool,
}

impl Lowering<'_> {
    /// What the kernel cannot decide becomes true where that lets more sockets pass (`more`), and false below a `not`.
    fn lower(&mut self, expression: &Expression, more: bool) -> Node {
        match expression {
            Expression::Host { side, family, network, port } => host(*side, *family, *network, *port),
            Expression::Port { side, compare, family, port } => compared(*side, *compare, *family, *port),
            Expression::Device(name) => {
                let index = self.names.map_or(Some(1), |names| interface(names, name));
                self.asked(self.kernel.device, more, index.map(|index| test(DEVICE, &index.to_ne_bytes())))
            }
            Expression::Mark { value, mask } => {
                let operands = [value.to_ne_bytes(), mask.to_ne_bytes()].concat();
                self.asked(self.kernel.mark, more, Some(test(MARK, &operands)))
            }
            Expression::Cgroup(path) => {
                let id = self.names.map_or(Some(1), |names| names.cgroups.get(path).copied());
                self.asked(self.kernel.cgroup, more, id.map(|id| test(CGROUP, &id.to_ne_bytes())))
            }
            Expression::Autobound => test(AUTOBOUND, &[]),
            Expression::Not(inner) => not(self.lower(inner, !more)),
            Expression::List(first, rest) => {
                let first = self.lower(first, more);
                rest.iter().fold(first, |so_far, (link, next)| join(so_far, *link, self.lower(next, more)))
            }
        }
    }

    /// A test that not every kernel has; without a test, nothing is there to be true of.
    fn asked(&mut self, can: bool, more: bool, test: Option<Node>) -> Node {
        match test {
            None => Node::Always(false),
            Some(test) if can => test,
            Some(_) => {
                self.complete = false;
                Node::Always(more)
            }
        }
    }
}

fn test(code: u8, operands: &[u8]) -> Node {
    let length = u8::try_from(4 + operands.len()).unwrap_or(u8::MAX); // at most 28
    Node::Test([&[code, length, 0, 0], operands].concat())
}

fn not(node: Node) -> Node {
    match node {
        Node::Always(value) => Node::Always(!value),
        Node::Not(inner) => *inner,
        other => Node::Not(Box::new(other)),
    }
}

fn join(so_far: Node, link: Operator, next: Node) -> Node {
    match (so_far, link, next) {
        (Node::Always(true), Operator::Or, _) | (_, Operator::Or, Node::Always(true)) => Node::Always(true),
        (Node::Always(false), Operator::And, _) | (_, Operator::And, Node::Always(false)) => {
            Node::Always(false)
        }
        (Node::Always(_), _, node) | (node, _, Node::Always(_)) => node,
        (Node::List(mut list), link, next) => {
            list.push((link, next));
            Node::List(list)
        }
        (first, link, next) => Node::List(vec![(Operator::And, first), (link, next)]),
    }
}

fn host(side: Side, family: Option<Family>, network: Option<Network>, port: Option<u16>) -> Node {
    let code = if side == Side::Local { LOCAL_HOST } else { PEER_HOST };
    let port = port.map_or(-1, i32::from);
    match (network, family) {
        (None, None) if port == -1 => Node::Always(true),
        (None, None) => test(code, &condition(0, 0, port, &[])),
        // A condition on IPv4 also holds for the v4-mapped addresses of an IPv6 socket.
        (None, Some(Family::V4)) => test(code, &condition(libc::AF_INET, 0, port, &[0; 4])),
        (Some(Network { address: IpAddr::V4(address), prefix }), _) => {
            test(code, &condition(libc::AF_INET, prefix, port, &address.octets()))
        }
        (None, Some(Family::V6)) => {
            let six = test(code, &condition(libc::AF_INET6, 0, port, &[0; 16]));
            join(six, Operator::And, not(test(code, &condition(libc::AF_INET, 0, -1, &[0; 4]))))
        }
        (Some(network @ Network { address: IpAddr::V6(address), prefix }), _) => {
            let six = test(code, &condition(libc::AF_INET6, prefix, port, &address.octets()));
            if network.contains(MAPPED) {
                // To the kernel the v4-mapped addresses are among those of IPv6; to the agent they are not.
                join(six, Operator::And, not(test(code, &condition(libc::AF_INET, 0, -1, &[0; 4]))))
            } else {
                six
            }
        }
    }
}

/// `struct inet_diag_hostcond`.
fn condition(family: i32, prefix: u8, port: i32, address: &[u8]) -> Vec<u8> {
    let family = u8::try_from(family).unwrap_or(0); // 0, 2 or 10
    [&[family, prefix, 0, 0], port.to_ne_bytes().as_slice(), address].concat()
}

/// Ports are compared with >= and <= only (the operations for = are younger than that for a host with any address).
fn compared(side: Side, compare: Compare, family: Option<Family>, port: u16) -> Node {
    let (at_least, at_most) = match side {
        Side::Local => (LOCAL_PORT_AT_LEAST, LOCAL_PORT_AT_MOST),
        Side::Peer => (PEER_PORT_AT_LEAST, PEER_PORT_AT_MOST),
    };
    // The port is in the `no` of a further operation.
    let port_test = |code| test(code, &[[0; 2], port.to_ne_bytes()].concat());
    let ordered = match compare {
        Compare::Equal => return host(side, family, None, Some(port)),
        Compare::NotEqual => return not(host(side, family, None, Some(port))),
        Compare::Less => not(port_test(at_least)),
        Compare::LessOrEqual => port_test(at_most),
        Compare::Greater => not(port_test(at_most)),
        Compare::GreaterOrEqual => port_test(at_least),
    };
    match family {
        None => ordered,
        family => join(host(side, family, None, None), Operator::And, ordered),
    }
}

impl Node {
    /// Size of the encoded instructions in bytes.
    fn size(&self) -> usize {
        match self {
            Self::Always(value) => {
                if *value {
                    0
                } else {
                    4
                }
            }
            Self::Test(bytes) => bytes.len(),
            Self::Not(inner) => inner.size() + 4,
            Self::List(list) => list.iter().map(|(link, node)| node.size() + jump_size(*link)).sum(),
        }
    }
}

fn jump_size(link: Operator) -> usize {
    if link == Operator::Or { 4 } else { 0 }
}

/// Puts operations in a row. Those who refuse go 4 bytes behind the end.
fn assemble(node: &Node) -> Vec<u8> {
    let mut program = Program(Vec::with_capacity(node.size()));
    let refused = program.put(node);
    let end = program.0.len();
    program.land(refused, end + 4);
    program.0
}

/// Encoded instructions, in the order of the kernel (`struct inet_diag_bc_op`).
struct Program(Vec<u8>);

impl Program {
    /// Appends a node: where it holds, what comes next is run. Where it does not, the operations at the places returned
    /// jump, whose `no` is still open.
    fn put(&mut self, node: &Node) -> Vec<usize> {
        let start = self.0.len();
        match node {
            Node::Always(true) => Vec::new(),
            Node::Always(false) => vec![self.jump()],
            Node::Test(bytes) => {
                self.0.extend_from_slice(bytes);
                vec![start]
            }
            Node::Not(inner) => {
                let failed = self.put(inner);
                let jump = self.jump();
                self.land(failed, self.0.len());
                vec![jump]
            }
            Node::List(list) => self.list(list),
        }
    }

    fn list(&mut self, list: &[(Operator, Node)]) -> Vec<usize> {
        let (mut held, mut failed) = (Vec::new(), Vec::new());
        for (position, (link, node)) in list.iter().enumerate() {
            match link {
                _ if position == 0 => {}
                // What held so far needs no more until an `and`; what failed is given another chance.
                Operator::Or => {
                    held.push(self.jump());
                    self.land(std::mem::take(&mut failed), self.0.len());
                }
                Operator::And => self.land(std::mem::take(&mut held), self.0.len()),
            }
            failed.append(&mut self.put(node));
        }
        self.land(held, self.0.len());
        failed
    }

    /// Appends a jump; where it is.
    fn jump(&mut self) -> usize {
        let position = self.0.len();
        self.0.extend_from_slice(&[JUMP, 4, 0, 0]);
        position
    }

    /// Lets operations jump to a position.
    fn land(&mut self, jumps: Vec<usize>, to: usize) {
        for jump in jumps {
            // A filter whose bytecode could be larger than LIMIT is refused when it is read.
            let distance = u16::try_from(to.saturating_sub(jump)).unwrap_or(u16::MAX);
            if let Some(no) = self.0.get_mut(jump + 2..jump + 4) {
                no.copy_from_slice(&distance.to_ne_bytes());
            }
        }
    }
}
