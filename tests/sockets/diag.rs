//! `sock_diag`: recorded messages of several kernels, messages nobody wrote, and the running kernel.

use connscope::netlink::Progress;
use connscope::source::sockets::diag::{Family, Malformed, Record, Request, TCP, parse};
use std::path::PathBuf;

mod kernel;
mod noise;
#[cfg(target_endian = "little")] // which is what the messages were recorded on
mod recorded;

/// A question about everything there is to know of every socket of TCP.
const EVERYTHING: Request<'static> = Request {
    family: Family::V4,
    protocol: TCP,
    states: u32::MAX,
    extensions: u8::MAX,
    local_port: 0,
    peer_port: 0,
    bytecode: &[],
};

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sock_diag")
}

/// Each recorded datagram with its name.
fn every() -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = std::fs::read_dir(fixtures())
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect();
    all.sort();
    assert!(all.len() >= 18, "{all:?}");
    all
}

/// The sequence number of the first message.
fn sequence(datagram: &[u8]) -> u32 {
    u32::from_ne_bytes(datagram[8..12].try_into().unwrap())
}

/// The sockets in a datagram, and what it said besides.
fn records(datagram: &[u8], sequence: u32) -> Result<(Vec<Record<'_>>, Progress), Malformed> {
    let mut records = Vec::new();
    let progress = parse(datagram, sequence, |record| records.push(*record))?;
    Ok((records, progress))
}

/// Reads a datagram in every way, and everything that a record can be asked for.
fn read_all(datagram: &[u8]) {
    for sequence in 0..3 {
        let mut words = String::new();
        let answer = parse(datagram, sequence, |record| {
            let tcp = record.tcp.map(|tcp| {
                let scales = (tcp.snd_wscale(), tcp.rcv_wscale());
                (tcp.rttvar(), scales, tcp.delivery_rate_app_limited(), tcp.fastopen_client_fail())
            });
            words = format!("{record:?} {tcp:?} {:?}", record.bbr.map(|bbr| bbr.bandwidth()));
        });
        assert!(!format!("{answer:?} {words}").is_empty());
    }
}
