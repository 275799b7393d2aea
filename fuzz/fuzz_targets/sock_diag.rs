//! A datagram of `sock_diag`, read in each way and asked for everything.
#![no_main]

use connscope::source::sockets::diag::{Record, parse, parse_event};
use libfuzzer_sys::fuzz_target;
use std::fmt::Write;
use std::hint::black_box;

fuzz_target!(|datagram: &[u8]| {
    // The question that it answers, so that what was found does not depend on guessing a number.
    let sequence = datagram.get(8..12).and_then(|bytes| bytes.try_into().ok()).map_or(1, u32::from_ne_bytes);
    let _ = black_box(parse(datagram, sequence, ask));
    let _ = black_box(parse_event(datagram, ask));
});

fn ask(record: &Record<'_>) {
    // Prints every number that the structures have.
    let _ = write!(Nowhere, "{record:?}");
    if let Some(tcp) = record.tcp {
        black_box((tcp.rttvar(), tcp.snd_wscale(), tcp.rcv_wscale()));
        black_box((tcp.delivery_rate_app_limited(), tcp.fastopen_client_fail(), tcp.bytes()));
    }
    black_box(record.bbr.map(|bbr| bbr.bandwidth()));
    black_box(record.options.map(|options| (options.recverr(), options.defer_connect())));
}

/// Where nothing is kept; unlike `std::io::sink`, which does not even ask for it.
struct Nowhere;

impl Write for Nowhere {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        black_box(text);
        Ok(())
    }
}
