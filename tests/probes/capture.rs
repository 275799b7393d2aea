//! What a probe says of a connection, beside what a packet capture says of it.

use super::listen;
use crate::support::{Namespace, eventually};
use connscope::source::probes::connect;
use connscope::source::probes::origin::Origin;
use connscope::sys::socket::{receive, stamp};
use socket2::{Domain, Protocol, Socket, Type};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

/// `ETH_P_ALL`, in the order of the network.
const EVERYTHING: i32 = 0x0300;

/// The handshakes that were captured: from the first packet of each to the answer, by the kernel's time stamps.
fn handshakes(capture: &Socket) -> Vec<Duration> {
    let mut handshakes = Vec::new();
    let mut begun = None;
    let mut buffer = [0; 256];
    while let Ok(packet) = receive(capture.as_fd(), &mut buffer, false) {
        // Ethernet, IPv4, TCP: the flags are at 13 of the TCP header.
        let bytes = &buffer[..packet.length];
        let Some(header) = bytes.get(14).map(|first| 14 + usize::from(first & 0xf) * 4) else { continue };
        let (Some(flags), Some(at)) = (bytes.get(header + 13), packet.stamp) else { continue };
        match flags & 0x12 {
            // Loopback shows each packet twice, going and coming: the first of each is it.
            0x02 => begun = begun.or(Some(at)),
            0x12 => handshakes.extend(begun.take().map(|begun: Duration| at.saturating_sub(begun))),
            _ => {}
        }
    }
    handshakes
}

#[test]
fn a_connection_takes_as_long_as_a_packet_capture_says() {
    let Some(namespace) = Namespace::new() else { return };
    let place: SocketAddr = listen(&namespace, "127.0.0.1:0", drop);
    let best = namespace.inside(|| {
        let capture = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(EVERYTHING))).unwrap();
        stamp(capture.as_fd()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let origin = Origin { reset: true, ..Origin::default() };
        let one = || {
            let _earlier = handshakes(&capture);
            let (stream, took) = runtime.block_on(connect::tcp(&origin, place)).unwrap();
            drop(stream);
            let captured = handshakes(&capture);
            let captured = captured.first()?;
            assert!(took >= *captured, "the probe says {took:?}, the capture {captured:?}");
            took.checked_sub(*captured)
        };
        // The kernel begins to stamp a moment after it was asked to.
        eventually("a handshake is captured", || one().is_some());
        // Of many, the one in which nobody else had the processor.
        (0..200).filter_map(|_| one()).min().expect("they are captured now")
    });
    assert!(
        best < Duration::from_micros(50),
        "even the best of many is {best:?} longer than the capture says"
    );
}
