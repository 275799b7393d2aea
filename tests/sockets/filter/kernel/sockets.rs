//! Sockets of every kind the filters of the tests can tell apart.

use rustix::net::{
    AddressFamily, RecvFlags, Shutdown, SocketFlags, SocketType, accept, bind, connect, listen, recv,
    shutdown, socket_with, sockopt,
};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

/// How a socket is to be, besides its addresses.
#[derive(Clone, Copy, Default)]
pub(super) struct Manner {
    six: bool,
    only_six: bool,
    datagram: bool,
    device: Option<&'static str>,
    mark: u32,
}

pub(super) const FOUR: Manner =
    Manner { six: false, only_six: false, datagram: false, device: None, mark: 0 };
const SIX: Manner = Manner { six: true, ..FOUR };

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

#[expect(unsafe_code, reason = "rustix has neither SO_MARK nor SO_BINDTODEVICE")]
fn set(socket: &OwnedFd, option: libc::c_int, value: &[u8]) {
    // SAFETY: value is readable for the length that is given with it.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            value.as_ptr().cast(),
            value.len().try_into().unwrap(),
        )
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

pub(super) fn made(manner: Manner, local: Option<&str>) -> OwnedFd {
    let family = if manner.six { AddressFamily::INET6 } else { AddressFamily::INET };
    let kind = if manner.datagram { SocketType::DGRAM } else { SocketType::STREAM };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None).unwrap();
    sockopt::set_socket_reuseaddr(&socket, true).unwrap();
    if manner.six {
        sockopt::set_ipv6_v6only(&socket, manner.only_six).unwrap();
    }
    if let Some(device) = manner.device {
        set(&socket, libc::SO_BINDTODEVICE, device.as_bytes());
    }
    if manner.mark != 0 {
        set(&socket, libc::SO_MARK, &manner.mark.to_ne_bytes());
    }
    if let Some(local) = local {
        bind(&socket, &at(local)).unwrap_or_else(|error| panic!("{local}: {error}"));
    }
    socket
}

fn listener(manner: Manner, local: &str) -> OwnedFd {
    let socket = made(manner, Some(local));
    listen(&socket, 16).unwrap();
    socket
}

fn connected(manner: Manner, local: Option<&str>, peer: &str) -> OwnedFd {
    let socket = made(manner, local);
    connect(&socket, &at(peer)).unwrap_or_else(|error| panic!("{peer}: {error}"));
    socket
}

/// Both ends of a connection, which are kept.
fn pair(kept: &mut Vec<OwnedFd>, from: &OwnedFd, manner: Manner, local: Option<&str>, peer: &str) {
    kept.push(connected(manner, local, peer));
    kept.push(accept(from).unwrap());
}

pub(super) fn sockets() -> Vec<OwnedFd> {
    let mut kept = Vec::new();
    let lo = Manner { device: Some("lo"), ..FOUR };
    let v0 = Manner { device: Some("v0"), ..FOUR };
    let marked = |mark| Manner { mark, ..FOUR };
    let only = Manner { only_six: true, ..SIX };

    let web = listener(FOUR, "127.0.0.1:8080");
    pair(&mut kept, &web, FOUR, Some("127.0.0.2:0"), "127.0.0.1:8080");
    pair(&mut kept, &web, FOUR, Some("127.0.0.3:40000"), "127.0.0.1:8080");
    pair(&mut kept, &web, FOUR, None, "127.0.0.1:8080");
    pair(&mut kept, &web, marked(0x15), Some("192.168.7.1:0"), "127.0.0.1:8080");
    let secure = listener(FOUR, "10.1.2.3:443");
    pair(&mut kept, &secure, FOUR, Some("10.1.2.3:0"), "10.1.2.3:443");
    pair(&mut kept, &secure, FOUR, Some("10.200.0.1:443"), "10.1.2.3:443");
    let any = listener(FOUR, "0.0.0.0:22");
    pair(&mut kept, &any, FOUR, Some("192.168.7.1:0"), "10.1.2.3:22");

    // IPv4 with an IPv6 socket at one end, at the other, at both.
    let dual = listener(SIX, "[::]:80");
    pair(&mut kept, &dual, FOUR, None, "127.0.0.1:80");
    pair(&mut kept, &dual, SIX, None, "[::ffff:10.1.2.3]:80");
    pair(&mut kept, &dual, SIX, Some("[::ffff:10.1.2.4]:0"), "[::ffff:10.1.2.3]:80");
    pair(&mut kept, &dual, SIX, Some("[fd00::1]:0"), "[::1]:80");
    pair(&mut kept, &web, SIX, None, "[::ffff:127.0.0.1]:8080");
    let mapped = listener(SIX, "[::ffff:10.1.2.4]:81");
    let loopback = listener(SIX, "[::1]:8081");
    pair(&mut kept, &loopback, SIX, None, "[::1]:8081");
    pair(&mut kept, &loopback, SIX, Some("[fd00::1]:40000"), "[::1]:8081");
    let secure_six = listener(only, "[fd00::1]:443");
    pair(&mut kept, &secure_six, SIX, Some("[fd00::1:1]:0"), "[fd00::1]:443");

    let on_lo = listener(lo, "127.0.0.1:9000");
    pair(&mut kept, &on_lo, lo, None, "127.0.0.1:9000");
    kept.push(listener(v0, "10.9.9.9:7000"));
    kept.push(listener(Manner { device: Some("v0"), ..only }, "[::]:7000"));
    let with_mark = listener(marked(5), "127.0.0.1:9005");
    pair(&mut kept, &with_mark, marked(5), None, "127.0.0.1:9005");

    // States: half closed, TIME_WAIT, SYN_SENT (the queue of the listener is full), bound and nothing else.
    let (one, other) = (connected(FOUR, None, "127.0.0.1:8080"), accept(&web).unwrap());
    shutdown(&one, Shutdown::Write).unwrap();
    kept.extend([one, other]);
    for (from, manner, peer) in [(&web, marked(5), "127.0.0.1:8080"), (&loopback, SIX, "[::1]:8081")] {
        let (one, other) = (connected(manner, None, peer), accept(from).unwrap());
        drop(one);
        assert_eq!(recv(&other, &mut [0; 1][..], RecvFlags::empty()).unwrap().0, 0);
    }
    let full = made(FOUR, Some("127.0.0.1:9100"));
    listen(&full, 0).unwrap();
    kept.push(connected(FOUR, None, "127.0.0.1:9100"));
    let waiting = made(FOUR, None);
    rustix::io::ioctl_fionbio(&waiting, true).unwrap();
    connect(&waiting, &at("127.0.0.1:9100")).unwrap_err();
    kept.extend([waiting, full, made(FOUR, Some("127.0.0.1:9200"))]);

    let udp = Manner { datagram: true, ..FOUR };
    kept.push(made(udp, Some("127.0.0.1:53")));
    kept.push(connected(udp, Some("127.0.0.2:0"), "127.0.0.1:53"));
    kept.push(made(Manner { mark: 5, ..udp }, Some("0.0.0.0:443")));
    kept.push(made(Manner { datagram: true, ..SIX }, Some("[::]:80")));
    kept.push(connected(Manner { datagram: true, ..SIX }, None, "[::ffff:127.0.0.1]:53"));
    kept.extend([web, secure, any, dual, mapped, loopback, secure_six, on_lo, with_mark]);
    kept
}
