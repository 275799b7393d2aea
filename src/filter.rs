//! Which sockets are looked at: the filter language of `ss`, and everything that can be done with a filter.
//!
//! The language is that of iproute2's `misc/ssfilter.y` and ss(8); `docs/filter.md` tells it to the user. A filter is
//! run twice: by the kernel, as the bytecode of `INET_DIAG_REQ_BYTECODE` (`net/ipv4/inet_diag.c`), which keeps sockets
//! nobody asked for out of the dump, and by the agent, for what the kernel cannot decide or never sees (a socket that is
//! reported because it closes). Nothing here opens a file or a socket: names of interfaces, control groups and services
//! are resolved by whoever knows them.

use evaluate::SocketOrigin;
use expression::Expression;
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::net::IpAddr;
use std::str::FromStr;

mod address;
mod bytecode;
mod evaluate;
mod expression;
mod number;
mod parse;
mod services;
mod state;

pub use parse::{DEPTH, TEXT};
pub use services::Services;

/// Which sockets are looked at. The default is all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    states: u32,
    expression: Option<Expression>,
}

/// A socket as a filter sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilteredSocket {
    /// Its own address. A v4-mapped address is an IPv4 address here; unspecified if it is bound to none.
    pub local: IpAddr,
    /// The address of its peer, in the same way; unspecified if it has none.
    pub peer: IpAddr,
    /// Its own port, 0 if it has none.
    pub local_port: u16,
    /// The port of its peer, 0 if it has none.
    pub peer_port: u16,
    /// The kernel's number of its state (`include/net/tcp_states.h`).
    pub state: u8,
    /// The index of the interface it is bound to, 0 if to none.
    pub interface: u32,
    /// Its mark. Absent where the kernel does not tell it, and then taken for 0, as `ss` does.
    pub mark: Option<u32>,
    /// The id of its control group (version 2). Absent where the kernel does not tell it, and then taken for 0, which is
    /// no group's id: so does the kernel itself with a socket that is nearly gone.
    pub cgroup: Option<u64>,
    /// Whether its port was chosen by the kernel. The kernel tells nobody; absent, it is unknown, and a filter that
    /// depends on it takes the socket.
    pub autobound: Option<bool>,
}

/// What the names in a filter stand for in one network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Index of each interface by its name. On one that is missing no socket is.
    pub interfaces: BTreeMap<String, u32>,
    /// Id of each control group by its path as the filter has it. In one that is missing no socket is.
    pub cgroups: BTreeMap<String, u64>,
}

/// What the kernel, asked by this process, understands in bytecode. With what it does not understand it refuses the
/// whole request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelCan {
    /// `INET_DIAG_BC_DEV_COND`: Linux 4.4 and later.
    pub device: bool,
    /// `INET_DIAG_BC_MARK_COND`: Linux 4.8 and later, and `CAP_NET_ADMIN`, without which the answer is `EPERM`.
    pub mark: bool,
    /// `INET_DIAG_BC_CGROUP_COND`: Linux 5.8 and later with `CONFIG_SOCK_CGROUP_DATA`.
    pub cgroup: bool,
}

impl KernelCan {
    /// Everything.
    pub const ALL: Self = Self { device: true, mark: true, cgroup: true };
    /// What every kernel with `inet_diag` understands from any process.
    pub const MINIMUM: Self = Self { device: false, mark: false, cgroup: false };
}

/// A filter as the kernel runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// The payload of `INET_DIAG_REQ_BYTECODE`. Empty if every socket passes: then the attribute is left out, because
    /// the kernel refuses an empty one. At most 65,528 bytes, which is what fits into an attribute.
    pub bytecode: Vec<u8>,
    /// Whether that is the whole filter, except for the states, which are a field of the request. If not, what passes is
    /// to be asked of [`Filter::matches`] again.
    pub complete: bool,
}

/// Why a text is not a filter, on one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Something in the text is not understood.
    #[error("column {column}: {what}")]
    At {
        /// Which character it begins with, counted from 1.
        column: usize,
        /// What was expected and what is there.
        what: String,
    },
    /// The text is longer than any filter the kernel takes.
    #[error(
        "the text has {length} bytes, and at most {TEXT} are read; use prefixes instead of single addresses"
    )]
    TooLong {
        /// Length of the expression in bytes.
        length: usize,
    },
    /// The kernel would not take it.
    #[error(
        "the bytecode has {size} bytes, more than the {limit} the kernel accepts; use fewer addresses or ports",
        limit = bytecode::LIMIT
    )]
    TooLarge {
        /// The size of the bytecode in bytes.
        size: usize,
    },
}

impl Default for Filter {
    fn default() -> Self {
        Self { states: state::ALL, expression: None }
    }
}

impl Filter {
    /// Reads a filter in which services may be called by their names.
    pub fn parse(text: &str, services: &Services) -> Result<Self, FilterError> {
        let (states, expression) = parse::filter(text, services)?;
        if let Some(size) = expression.as_ref().map(bytecode::size).filter(|size| *size > bytecode::LIMIT) {
            return Err(FilterError::TooLarge { size });
        }
        Ok(Self { states, expression })
    }

    /// The states it asks for: bit n is the kernel's state n (`include/net/tcp_states.h`), as in `idiag_states` of a
    /// request. All of 1 to 13 if it says nothing of states.
    pub fn states(&self) -> u32 {
        self.states
    }

    /// Whether the filter selects every socket.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a socket passes, all things considered: state and expression.
    pub fn matches(&self, subject: &FilteredSocket, names: &Names) -> bool {
        state::contains(self.states, subject.state)
            && self.expression.as_ref().is_none_or(|expression| {
                evaluate::value(expression, subject, names, SocketOrigin::Dump).unwrap_or(true)
            })
    }

    /// Whether a socket passed that is known only from its end; `None` where that depends on what its end does not tell:
    /// mark, control group, how its port was chosen, and an address or a port that is unspecified here, because the
    /// kernel has cleared it.
    pub fn matched(&self, subject: &FilteredSocket, names: &Names) -> Option<bool> {
        match &self.expression {
            _ if !state::contains(self.states, subject.state) => Some(false),
            None => Some(true),
            Some(expression) => evaluate::value(expression, subject, names, SocketOrigin::DestroyEvent),
        }
    }

    /// The bytecode for the kernel. It passes every socket that [`Filter::matches`] does; only if it is complete it
    /// passes no other. What the kernel cannot decide is left open in it.
    pub fn compile(&self, names: &Names, kernel: KernelCan) -> Compiled {
        match &self.expression {
            None => Compiled { bytecode: Vec::new(), complete: true },
            Some(expression) => bytecode::compile(expression, names, kernel),
        }
    }

    /// The interfaces it names, for [`Names`]. A number may be among them, and need not be resolved.
    pub fn interfaces(&self) -> impl Iterator<Item = &str> {
        self.leaves().into_iter().filter_map(|leaf| match leaf {
            Expression::Device(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// The paths of control groups it names, for [`Names`].
    pub fn cgroups(&self) -> impl Iterator<Item = &str> {
        self.leaves().into_iter().filter_map(|leaf| match leaf {
            Expression::Cgroup(path) => Some(path.as_str()),
            _ => None,
        })
    }

    /// Whether it asks for marks, which the kernel tells and compares only with `CAP_NET_ADMIN`.
    pub fn asks_for_marks(&self) -> bool {
        self.leaves().into_iter().any(|leaf| matches!(leaf, Expression::Mark { .. }))
    }

    /// Whether it asks for sockets whose port the kernel chose, which only the kernel knows.
    pub fn asks_for_autobound(&self) -> bool {
        self.leaves().into_iter().any(|leaf| matches!(leaf, Expression::Autobound))
    }

    /// The bytecode of `autobound` alone: which sockets have a port that the kernel chose, as every kernel tells.
    pub fn autobound() -> Vec<u8> {
        bytecode::compile(&Expression::Autobound, &Names::default(), KernelCan::MINIMUM).bytecode
    }

    /// The bytecode of `not autobound` alone: which sockets have a port that their program chose.
    pub fn bound() -> Vec<u8> {
        let bound = Expression::Not(Box::new(Expression::Autobound));
        bytecode::compile(&bound, &Names::default(), KernelCan::MINIMUM).bytecode
    }

    fn leaves(&self) -> Vec<&Expression> {
        let mut leaves = Vec::new();
        if let Some(expression) = &self.expression {
            expression.leaves(&mut leaves);
        }
        leaves
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    /// Reads a filter in which ports are numbers.
    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self::parse(text, &Services::default())
    }
}

/// In a form that is read to the same filter, with ports as numbers.
impl Display for Filter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for word in state::words(self.states) {
            write!(f, "{separator}state {word}")?;
            separator = " ";
        }
        match &self.expression {
            None => Ok(()),
            Some(expression) => write!(f, "{separator}{expression}"),
        }
    }
}
