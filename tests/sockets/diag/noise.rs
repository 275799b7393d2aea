//! Messages laid out by hand, messages that lie, and bytes nobody wrote.

use super::{EVERYTHING, every, read_all, records};
use connscope::netlink::{self, Progress, TooLong, push_attribute};
use connscope::source::sockets::diag::{Family, MPTCP, Malformed, Record, Request, State, parse_event};
use connscope::source::sockets::tcp_info::TcpInfo;
use proptest::prelude::*;

const SEQUENCE: u32 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// A socket in the state of this number; its addresses are zeros, and what follows counts from 1.
fn header(family: u8, state: u8) -> Vec<u8> {
    let mut header = vec![0; 40];
    header[..4].copy_from_slice(&[family, state, 4, 5]);
    header.extend((1..=8u32).flat_map(u32::to_ne_bytes));
    header
}

fn attribute(number: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    push_attribute(&mut bytes, number, payload).unwrap();
    bytes
}

/// A message about a socket, its payload given in parts.
fn message(parts: &[&[u8]]) -> Vec<u8> {
    netlink::request(20, 2, SEQUENCE, &parts.concat())
}

fn read(attributes: &[u8]) -> Result<Vec<Record<'static>>, Malformed> {
    let datagram: &'static [u8] = message(&[&header(AF_INET, 1), attributes]).leak();
    records(datagram, SEQUENCE).map(|(records, _)| records)
}

fn one(attributes: &[u8]) -> Record<'static> {
    let [record] = read(attributes).unwrap()[..] else { panic!("one socket") };
    record
}

#[test]
fn a_socket_is_read_from_72_bytes() {
    let record = one(&[]);
    assert_eq!((record.timer, record.retrans, record.interface), (4, 5, 1));
    assert_eq!(record.cookie, 3 << 32 | 2, "the lower half comes first");
    assert_eq!((record.expires, record.receive_queue, record.write_queue), (4, 5, 6));
    assert_eq!((record.uid, record.inode), (7, 8));
    for length in 0..72 {
        let cut = netlink::request(20, 2, SEQUENCE, &header(AF_INET, 1)[..length]);
        assert_eq!(records(&cut, SEQUENCE), Err(netlink::Malformed::CutOff(length).into()));
    }
}

#[test]
fn mapped_addresses_are_folded_where_both_ends_are_ipv4_or_one_is_none() {
    let ends = |local: &str, peer: &str| {
        let mut header = header(AF_INET6, 1);
        for (place, address) in [(8, local), (24, peer)] {
            let address: std::net::Ipv6Addr = address.parse().unwrap();
            header[place..place + 16].copy_from_slice(&address.octets());
        }
        let message = message(&[&header]);
        let (records, _) = records(&message, SEQUENCE).unwrap();
        (records[0].family, records[0].local.ip().to_string(), records[0].peer.ip().to_string())
    };
    let text = |family, local: &str, peer: &str| (family, local.to_owned(), peer.to_owned());
    assert_eq!(ends("::ffff:1.2.3.4", "::ffff:5.6.7.8"), text(Family::V4, "1.2.3.4", "5.6.7.8"));
    assert_eq!(ends("::ffff:1.2.3.4", "::"), text(Family::V4, "1.2.3.4", "0.0.0.0"));
    assert_eq!(ends("::", "::ffff:1.2.3.4"), text(Family::V4, "0.0.0.0", "1.2.3.4"));
    assert_eq!(ends("::", "::"), text(Family::V6, "::", "::"));
    assert_eq!(ends("fe80::1", "::ffff:1.2.3.4"), text(Family::V6, "fe80::1", "::ffff:1.2.3.4"));
    assert_eq!(ends("::1.2.3.4", "::1"), text(Family::V6, "::102:304", "::1"), "compatible is not mapped");
}

#[test]
fn states_and_families_there_are_none_of_are_refused() {
    for number in 0..=u8::MAX {
        let message = message(&[&header(AF_INET, number)]);
        let state = records(&message, SEQUENCE).map(|(records, _)| records[0].state);
        match State::numbered(number) {
            Some(expected) => {
                assert_eq!((state, expected.mask()), (Ok(expected), 1 << number));
                assert!(!expected.word().is_empty());
            }
            None => assert_eq!(state, Err(Malformed::State(number))),
        }
    }
    assert_eq!(State::ALL.map(|state| state as u8), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
    let unix = message(&[&header(1, 1)]);
    assert_eq!(records(&unix, SEQUENCE), Err(Malformed::Family(1)));
}

#[test]
fn attributes_nobody_has_heard_of_are_passed_over() {
    let unknown = [attribute(14, &[]), attribute(23, &[1, 2, 3]), attribute(0x3fff, b"x")].concat();
    let known = attribute(0xc000 + 21, &7u64.to_ne_bytes());
    assert_eq!(one(&[unknown, known].concat()).cgroup, Some(7), "whatever flags it has");
    let other = netlink::request(19, 2, SEQUENCE, &[1, 2, 3]);
    assert_eq!(records(&other, SEQUENCE), Ok((vec![], Progress::More)));
}

#[test]
fn attributes_that_are_too_short_are_refused_and_longer_ones_read() {
    for (number, width) in [(5, 1), (6, 1), (8, 1), (10, 1), (11, 1), (15, 4), (17, 4), (21, 8), (22, 2)] {
        for length in 0..width {
            let refused = netlink::Malformed::Length { number, length };
            assert_eq!(read(&attribute(number, &vec![0; length])), Err(refused.into()));
        }
        assert!(read(&attribute(number, &vec![0; width + 5])).is_ok());
    }
    assert_eq!(read(&attribute(4, b"\xff\0")), Err(Malformed::NotText(4)));
    assert_eq!(one(&attribute(4, b"dctcp\0\0\0")).congestion, Some("dctcp"));
    assert_eq!(one(&attribute(4, &[])).congestion, Some(""));
    let nested = attribute(0x8000 + 19, &[attribute(2, &[1]), attribute(1, b"tls\0")].concat());
    assert_eq!(one(&nested).ulp, Some("tls"));
    assert_eq!(read(&attribute(19, &[1, 2])), Err(netlink::Malformed::CutOff(2).into()));
}

#[test]
fn buffers_and_congestion_control_are_read_as_far_as_they_were_sent() {
    let numbers: Vec<u8> = (1..=10u32).flat_map(u32::to_ne_bytes).collect();
    let memory = |length: usize| one(&attribute(7, &numbers[..length])).memory.unwrap();
    assert_eq!((memory(40).drops(), memory(36).drops(), memory(35).drops()), (Some(9), Some(9), None));
    assert_eq!((memory(32).backlog(), memory(28).backlog()), (Some(8), None));
    assert_eq!(memory(0).receive_allocated(), None);
    let negative = one(&attribute(7, &[&numbers[..16], &(-512i32).to_ne_bytes()].concat())).memory.unwrap();
    assert_eq!(negative.forward_allocated(), Some(-512));

    let vegas = one(&attribute(3, &numbers[..16])).vegas.unwrap();
    assert_eq!(
        (vegas.enabled(), vegas.rtt_count(), vegas.rtt(), vegas.min_rtt()),
        (Some(1), Some(2), Some(3), Some(4))
    );
    let unknown = [0x7fff_ffffu32; 4].map(u32::to_ne_bytes).concat();
    assert_eq!(one(&attribute(3, &unknown)).vegas.unwrap().rtt(), None);
    let dctcp = one(&attribute(9, &[&[1, 0, 0, 0], &numbers[4..16]].concat())).dctcp.unwrap();
    assert_eq!((dctcp.alpha(), dctcp.congested_bytes(), dctcp.total_bytes()), (Some(2), Some(3), Some(4)));
    let bbr = one(&attribute(16, &numbers[..20])).bbr.unwrap();
    assert_eq!((bbr.bandwidth(), bbr.min_rtt(), bbr.cwnd_gain()), (Some(2 << 32 | 1), Some(3), Some(5)));
    assert_eq!(one(&attribute(16, &numbers[..7])).bbr.unwrap().bandwidth(), None);
}

/// Every number of the structure lies where the C library says, and is there when its last byte is.
#[test]
#[cfg(all(target_env = "gnu", target_endian = "little"))]
fn tcp_info_is_laid_out_as_the_c_library_has_it() {
    let bytes: Vec<u8> = (0..280u32).map(|place| u8::try_from(place * 7 % 251).unwrap()).collect();
    macro_rules! at {
        ($($method:ident: $number:ty = $field:ident),* $(,)?) => {$(
            let from = std::mem::offset_of!(libc::tcp_info, $field);
            let to = from + size_of::<$number>();
            let expected = <$number>::from_ne_bytes(bytes[from..to].try_into().unwrap());
            assert_eq!(TcpInfo::new(&bytes).$method(), Some(expected), stringify!($method));
            assert_eq!(TcpInfo::new(&bytes[..to]).$method(), Some(expected), stringify!($method));
            assert_eq!(TcpInfo::new(&bytes[..to - 1]).$method(), None, stringify!($method));
        )*};
    }
    at! {
        state: u8 = tcpi_state, ca_state: u8 = tcpi_ca_state, retransmits: u8 = tcpi_retransmits,
        probes: u8 = tcpi_probes, backoff: u8 = tcpi_backoff, options: u8 = tcpi_options, rto: u32 = tcpi_rto,
        ato: u32 = tcpi_ato, snd_mss: u32 = tcpi_snd_mss, rcv_mss: u32 = tcpi_rcv_mss, unacked: u32 = tcpi_unacked,
        sacked: u32 = tcpi_sacked, lost: u32 = tcpi_lost, retrans: u32 = tcpi_retrans,
        last_data_sent: u32 = tcpi_last_data_sent, last_data_recv: u32 = tcpi_last_data_recv,
        last_ack_recv: u32 = tcpi_last_ack_recv, pmtu: u32 = tcpi_pmtu, rcv_ssthresh: u32 = tcpi_rcv_ssthresh,
        rtt: u32 = tcpi_rtt, rttvar: u32 = tcpi_rttvar, snd_ssthresh: u32 = tcpi_snd_ssthresh,
        snd_cwnd: u32 = tcpi_snd_cwnd, advmss: u32 = tcpi_advmss, reordering: u32 = tcpi_reordering,
        rcv_rtt: u32 = tcpi_rcv_rtt, rcv_space: u32 = tcpi_rcv_space, total_retrans: u32 = tcpi_total_retrans,
        pacing_rate: u64 = tcpi_pacing_rate, max_pacing_rate: u64 = tcpi_max_pacing_rate,
        bytes_acked: u64 = tcpi_bytes_acked, bytes_received: u64 = tcpi_bytes_received,
        segs_out: u32 = tcpi_segs_out, segs_in: u32 = tcpi_segs_in, notsent_bytes: u32 = tcpi_notsent_bytes,
        min_rtt: u32 = tcpi_min_rtt, data_segs_in: u32 = tcpi_data_segs_in, data_segs_out: u32 = tcpi_data_segs_out,
        delivery_rate: u64 = tcpi_delivery_rate, busy_time: u64 = tcpi_busy_time,
        rwnd_limited: u64 = tcpi_rwnd_limited, sndbuf_limited: u64 = tcpi_sndbuf_limited,
        delivered: u32 = tcpi_delivered, delivered_ce: u32 = tcpi_delivered_ce, bytes_sent: u64 = tcpi_bytes_sent,
        bytes_retrans: u64 = tcpi_bytes_retrans, dsack_dups: u32 = tcpi_dsack_dups,
        reord_seen: u32 = tcpi_reord_seen, rcv_ooopack: u32 = tcpi_rcv_ooopack, snd_wnd: u32 = tcpi_snd_wnd,
        rcv_wnd: u32 = tcpi_rcv_wnd, rehash: u32 = tcpi_rehash, total_rto: u16 = tcpi_total_rto,
        total_rto_recoveries: u16 = tcpi_total_rto_recoveries, total_rto_time: u32 = tcpi_total_rto_time,
        received_ce: u32 = tcpi_received_ce, delivered_e1_bytes: u32 = tcpi_delivered_e1_bytes,
        delivered_e0_bytes: u32 = tcpi_delivered_e0_bytes, delivered_ce_bytes: u32 = tcpi_delivered_ce_bytes,
        received_e1_bytes: u32 = tcpi_received_e1_bytes, received_e0_bytes: u32 = tcpi_received_e0_bytes,
        received_ce_bytes: u32 = tcpi_received_ce_bytes,
    }
    assert_eq!(size_of::<libc::tcp_info>(), 280, "there is nothing behind these");
    let longer = [bytes.clone(), vec![1; 100]].concat();
    assert_eq!(format!("{:?}", TcpInfo::new(&longer)), format!("{:?}", TcpInfo::new(&bytes)));
}

#[test]
fn what_the_kernel_puts_in_the_place_of_nothing_is_nothing() {
    let tcp = |place: usize, bytes: &[u8]| {
        let mut info = vec![1; 280];
        info[place..place + bytes.len()].copy_from_slice(bytes);
        TcpInfo::new(info.leak())
    };
    let (none, all) = ([0; 8], [0xff; 8]);
    assert_eq!((tcp(68, &none[..4]).rtt(), tcp(68, &none[..4]).rttvar()), (None, None));
    assert_eq!((tcp(148, &none[..4]).min_rtt(), tcp(148, &all[..4]).min_rtt()), (None, None));
    assert_eq!((tcp(92, &none[..4]).rcv_rtt(), tcp(160, &none).delivery_rate()), (None, None));
    assert_eq!(tcp(160, &none).delivery_rate_app_limited(), None);
    assert_eq!((tcp(104, &all).pacing_rate(), tcp(112, &all).max_pacing_rate()), (None, None));
    let threshold = |number: u32| tcp(76, &number.to_ne_bytes()).snd_ssthresh();
    assert_eq!([0x7fff_fffe, 0x7fff_ffff, u32::MAX].map(threshold), [Some(0x7fff_fffe), None, None]);
    assert_eq!((tcp(5, &[0]).snd_wscale(), tcp(5, &[0]).rcv_wscale()), (None, None));
}

#[test]
#[cfg(target_endian = "little")]
fn bit_fields_begin_at_the_lowest_bit() {
    let mut bytes = [1; 280];
    bytes[5..8].copy_from_slice(&[4, 0x7a, 0b101]);
    let tcp = TcpInfo::new(&bytes);
    assert_eq!((tcp.snd_wscale(), tcp.rcv_wscale()), (Some(10), Some(7)));
    assert_eq!((tcp.delivery_rate_app_limited(), tcp.fastopen_client_fail()), (Some(true), Some(2)));
    let options = one(&attribute(22, &[0x81, 0x05])).options.unwrap();
    assert_eq!((options.recverr(), options.is_icsk(), options.nodefrag()), (true, false, true));
    assert_eq!(
        (options.bind_address_no_port(), options.recverr_rfc4884(), options.defer_connect()),
        (true, false, true)
    );
    assert_eq!((options.freebind(), options.hdrincl(), options.mc_loop()), (false, false, false));
    assert_eq!((options.transparent(), options.mc_all()), (false, false));
}

#[test]
fn messages_that_lie_about_their_lengths_are_refused() {
    let whole = message(&[&header(AF_INET, 1), &attribute(21, &[0; 8])]);
    let cut_off = |length| Err(Malformed::from(netlink::Malformed::CutOff(length)));
    for length in [0u32, 15, 101, u32::MAX] {
        let mut lying = whole.clone();
        lying[..4].copy_from_slice(&length.to_ne_bytes());
        assert_eq!(records(&lying, SEQUENCE), cut_off(100), "message of {length}");
    }
    for length in [0u16, 3, 13, u16::MAX] {
        let mut lying = whole.clone();
        lying[88..90].copy_from_slice(&length.to_ne_bytes());
        assert_eq!(records(&lying, SEQUENCE), cut_off(12), "attribute of {length}");
    }
    assert_eq!(read(&[1, 2, 3]), cut_off(3).map(|_| vec![]), "less than an attribute at the end");
}

#[test]
fn a_dump_over_several_datagrams_may_be_interrupted() {
    let two = [message(&[&header(AF_INET, 1)]), message(&[&header(AF_INET6, 10)])].concat();
    let (found, progress) = records(&two, SEQUENCE).unwrap();
    assert_eq!((found.len(), progress), (2, Progress::More));
    assert_eq!(records(&two, 2), Ok((vec![], Progress::More)), "the answer to another question");
    let torn = netlink::request(20, 0x12, SEQUENCE, &header(AF_INET, 1));
    assert_eq!(records(&torn, SEQUENCE), Ok((vec![], Progress::Interrupted)));
    assert_eq!(parse_event(&two, |_| panic!("an answer is no event")), Ok(Progress::More));
}

#[test]
#[cfg(target_endian = "little")]
fn requests_are_laid_out_as_the_kernel_reads_them() {
    let request = Request {
        states: State::Established.mask() | State::Listen.mask(),
        extensions: 0b10,
        local_port: 22,
        peer_port: 0x1234,
        bytecode: &[1, 2, 3, 4, 5],
        ..EVERYTHING
    };
    let bytes = request.dump(9).unwrap();
    assert_eq!(bytes[..16], [84, 0, 0, 0, 20, 0, 0x01, 0x03, 9, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes[16..28], [2, 6, 0b10, 0, 0b10, 0b100, 0, 0, 0, 22, 0x12, 0x34]);
    assert_eq!(bytes[28..72], [0; 44]);
    assert_eq!(bytes[72..], [9, 0, 1, 0, 1, 2, 3, 4, 5, 0, 0, 0]);

    let request = Request { protocol: MPTCP, family: Family::V6, ..EVERYTHING };
    let bytes = request.dump(9).unwrap();
    assert_eq!(bytes[16..20], [10, 0, 0xff, 0]);
    assert_eq!(bytes[72..], [8, 0, 3, 0, 6, 1, 0, 0]);
}

#[test]
fn bytecode_that_fits_no_attribute_is_refused() {
    let dump =
        |length: usize| Request { bytecode: &vec![0; length], ..EVERYTHING }.dump(1).map(|bytes| bytes.len());
    assert_eq!(dump(65_531), Ok(72 + 65_536));
    assert_eq!(dump(65_532), Err(TooLong(65_532)));
    assert_eq!(
        TooLong(65_532).to_string(),
        "65532 bytes are too many for a netlink attribute, which holds 65531"
    );
}

#[test]
fn recordings_may_end_anywhere() {
    for (_, whole) in every() {
        for length in 0..whole.len() {
            read_all(&whole[..length]);
        }
    }
}

#[test]
fn recordings_may_have_any_bit_wrong() {
    for (_, mut datagram) in every() {
        for bit in 0..datagram.len() * 8 {
            datagram[bit / 8] ^= 1 << (bit % 8);
            read_all(&datagram);
            datagram[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

proptest! {
    #[test]
    fn noise_is_refused_or_read(noise in prop::collection::vec(any::<u8>(), 0..600)) {
        read_all(&noise);
    }

    #[test]
    fn any_attributes_are_refused_or_read(
        family in prop::sample::select(vec![AF_INET, AF_INET6]),
        state in 1..=13u8,
        attributes in prop::collection::vec(
            (prop_oneof![0..24u16, any::<u16>()], prop::collection::vec(any::<u8>(), 0..300)),
            0..12,
        ),
    ) {
        let attributes: Vec<u8> =
            attributes.iter().flat_map(|(number, payload)| attribute(*number, payload)).collect();
        read_all(&message(&[&header(family, state), &attributes]));
    }

    #[test]
    fn any_attributes_of_untrue_lengths_are_refused_or_read(
        attributes in prop::collection::vec(
            (0..32u16, 0..40u16, prop::collection::vec(any::<u8>(), 0..40)),
            1..12,
        ),
    ) {
        let attributes: Vec<u8> = attributes
            .iter()
            .flat_map(|(length, number, payload)| {
                [&length.to_ne_bytes(), &number.to_ne_bytes(), &payload[..]].concat()
            })
            .collect();
        read_all(&message(&[&header(AF_INET, 1), &attributes]));
    }
}
