//! The least that a look at all sockets can cost: the same questions as the source asks, and a walk over the headers of the
//! answers.

use crate::Outcome;
use connscope::source::sockets::diag::{Family, Request, State, TCP, UDP, extension};
use connscope::source::sockets::sock_diag::{CONNECTIONS, DATAGRAMS};
use connscope::sys::netlink::NetlinkSocket;
use std::time::Duration;

const NLMSG_DONE: u16 = 3;
const NLMSG_ERROR: u16 = 2;

pub(crate) struct Loop {
    socket: NetlinkSocket,
    requests: Vec<Vec<u8>>,
}

impl Loop {
    pub(crate) fn open() -> Outcome<Self> {
        let mut requests = Vec::new();
        for (protocol, states, extensions) in [
            (TCP, State::Listen.mask(), extension::MEMORY),
            (TCP, State::masks(&CONNECTIONS), extension::INFO),
            (UDP, State::masks(&DATAGRAMS), extension::MEMORY),
        ] {
            for family in Family::ALL {
                let request = Request {
                    family,
                    protocol,
                    states,
                    extensions,
                    local_port: 0,
                    peer_port: 0,
                    bytecode: &[],
                };
                requests.push(request.dump(1)?);
            }
        }
        let socket = NetlinkSocket::open(rustix::net::netlink::SOCK_DIAG, Duration::from_secs(1))?;
        Ok(Self { socket, requests })
    }

    /// How many messages there were.
    pub(crate) fn run(&mut self) -> Outcome<usize> {
        self.run_keeping(&mut |_| {})
    }

    pub(crate) fn run_keeping(&mut self, keep: &mut dyn FnMut(&[u8])) -> Outcome<usize> {
        let mut sockets = 0;
        for request in &self.requests {
            self.socket.send(request)?;
            let mut more = true;
            while more {
                let mut datagram = self.socket.receive()?;
                keep(datagram);
                while let Some(([l0, l1, l2, l3, k0, k1], _)) = datagram.split_first_chunk() {
                    match u16::from_ne_bytes([*k0, *k1]) {
                        NLMSG_DONE => more = false,
                        NLMSG_ERROR => return Err("sock_diag refused".into()),
                        _ => sockets += 1,
                    }
                    let length = usize::try_from(u32::from_ne_bytes([*l0, *l1, *l2, *l3]))?.max(4);
                    datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
                }
            }
        }
        Ok(sockets)
    }
}
