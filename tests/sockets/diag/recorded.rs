//! What kernels have sent, against what `ss` makes of the same bytes (`TCPDIAG_FILE=... ss -taineimoOH`).

use super::{every, fixtures, records, sequence};
use connscope::netlink::Progress;
use connscope::source::sockets::diag::{Family, Record, State, parse_event};
use connscope::source::sockets::tcp_info::{ECN, FAST_OPEN_CHILD, SACK, TIMESTAMPS, TcpInfo, WINDOW_SCALE};

fn bytes(name: &str) -> Vec<u8> {
    let path = fixtures().join(format!("{name}.bin"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn recorded(name: &str) -> Vec<Record<'static>> {
    let datagram: &'static [u8] = bytes(name).leak();
    let (records, progress) = records(datagram, sequence(datagram)).unwrap();
    assert_eq!(progress, Progress::More, "{name}");
    records
}

fn one(name: &str) -> Record<'static> {
    let [record] = recorded(&format!("linux-6.18-{name}"))[..] else { panic!("{name} is not one socket") };
    record
}

fn ends(record: &Record<'_>) -> [String; 2] {
    [record.local.to_string(), record.peer.to_string()]
}

/// Each field by name, as far as it was sent.
fn fields(tcp: TcpInfo<'_>) -> String {
    format!("{tcp:?}").trim_start_matches("TcpInfo { ").trim_end_matches(" }").to_owned()
}

#[test]
fn of_4_9_tcp_info_ends_with_the_delivery_rate() {
    let [first, second] = recorded("linux-4.9-tcp-info-168-ipv4")[..] else { panic!("two sockets") };
    assert_eq!(ends(&first), ["192.0.2.1:40890", "192.0.2.2:443"]);
    assert_eq!((first.family, first.state, first.cookie), (Family::V4, State::Established, 0x5c1c));
    assert_eq!((first.uid, first.inode), (148_024, 21_135_870));
    assert_eq!((first.timer, first.expires), (2, 28_220));
    assert_eq!((first.congestion, first.shutdown, first.tos), (Some("cubic"), Some(0), Some(0)));
    assert_eq!((first.cgroup, first.options, first.mark, first.ulp), (None, None, None, None));
    let tcp = first.tcp.unwrap();
    assert_eq!(tcp.bytes().len(), 168);
    assert_eq!(
        fields(tcp),
        "state: 1, ca_state: 0, retransmits: 0, probes: 0, backoff: 0, options: 7, rto: 212000, ato: 40000, \
         snd_mss: 1386, rcv_mss: 1386, unacked: 0, sacked: 0, lost: 0, retrans: 0, last_data_sent: 16764, \
         last_data_recv: 16708, last_ack_recv: 16708, pmtu: 1500, rcv_ssthresh: 36064, rtt: 8047, snd_cwnd: 10, \
         advmss: 1448, reordering: 3, rcv_rtt: 64000, rcv_space: 29200, total_retrans: 0, pacing_rate: 3444655, \
         bytes_acked: 1076, bytes_received: 2679, segs_out: 8, segs_in: 6, notsent_bytes: 0, min_rtt: 6726, \
         data_segs_in: 4, data_segs_out: 3, delivery_rate: 200986"
    );
    assert_eq!((tcp.rttvar(), tcp.snd_wscale(), tcp.rcv_wscale()), (Some(3891), Some(10), Some(7)));
    assert_eq!((tcp.delivery_rate_app_limited(), tcp.fastopen_client_fail()), (Some(true), None));
    assert_eq!(
        (tcp.busy_time(), tcp.bytes_sent(), tcp.snd_wnd(), tcp.received_ce_bytes()),
        (None, None, None, None)
    );

    let second = second.tcp.unwrap();
    assert_eq!(second.options(), Some(SACK), "and no window scaling");
    assert_eq!((second.snd_wscale(), second.rcv_wscale(), second.rcv_rtt()), (None, None, None));
    assert_eq!(
        (second.segs_out(), second.segs_in(), second.min_rtt()),
        (Some(941), Some(1562), Some(74_741))
    );
}

#[test]
fn of_4_9_ipv4_in_ipv6_is_ipv4() {
    let [mapped, real] = recorded("linux-4.9-tcp-info-168-ipv6")[..] else { panic!("two sockets") };
    assert_eq!((mapped.family, real.family), (Family::V4, Family::V6));
    assert_eq!(ends(&mapped), ["192.0.2.1:56116", "192.0.2.2:8226"]);
    assert_eq!(ends(&real), ["[2001:db8::1]:60538", "[2001:db8::2]:5031"]);
    assert_eq!((real.tos, real.traffic_class), (Some(0x20), Some(0x20)));
    let tcp = real.tcp.unwrap();
    assert_eq!((tcp.total_retrans(), tcp.retrans(), tcp.rcv_rtt()), (Some(3), Some(0), Some(15_500)));
    assert_eq!((tcp.bytes_acked(), tcp.bytes_received()), (Some(166_840), Some(93_197)));
}

#[test]
fn of_4_19_tcp_info_ends_with_the_reordering_seen() {
    let [first, second, third] = recorded("linux-4.19-tcp-info-224")[..] else { panic!("three sockets") };
    assert!(
        [first, second, third].iter().all(|record| record.cookie == 404_868 && record.family == Family::V4)
    );
    assert_eq!(
        [first, second, third].map(|record| record.state.word()),
        ["established", "established", "close_wait"]
    );
    assert_eq!(
        [first, second, third].map(|record| (record.receive_queue, record.write_queue)),
        [(0, 6118), (0, 144_044), (36, 0)]
    );
    let [first, second, third] = [first, second, third].map(|record| record.tcp.unwrap());
    assert_eq!(first.bytes().len(), 224);
    assert_eq!((first.snd_ssthresh(), second.snd_ssthresh()), (None, Some(38)), "infinite at first");
    assert_eq!((first.max_pacing_rate(), first.delivery_rate()), (None, None), "unlimited; no sample");
    assert_eq!((first.delivery_rate_app_limited(), second.delivery_rate_app_limited()), (None, Some(false)));
    assert_eq!(
        fields(third),
        "state: 8, ca_state: 0, retransmits: 0, probes: 0, backoff: 0, options: 6, rto: 256000, ato: 40000, \
         snd_mss: 1460, rcv_mss: 599, unacked: 0, sacked: 0, lost: 0, retrans: 0, last_data_sent: 94, \
         last_data_recv: 221, last_ack_recv: 46, pmtu: 1500, rcv_ssthresh: 31470, rtt: 55969, snd_ssthresh: 38, \
         snd_cwnd: 41, advmss: 1460, reordering: 3, rcv_space: 29200, total_retrans: 2, pacing_rate: 1283404, \
         bytes_acked: 3938159, bytes_received: 1245, segs_out: 2862, segs_in: 1404, notsent_bytes: 0, min_rtt: 9508, \
         data_segs_in: 4, data_segs_out: 2860, delivery_rate: 428230, busy_time: 10611000, rwnd_limited: 10104000, \
         sndbuf_limited: 0, delivered: 2861, delivered_ce: 0, bytes_sent: 3939771, bytes_retrans: 1612, \
         dsack_dups: 2, reord_seen: 0"
    );
    assert_eq!((third.rcv_ooopack(), third.snd_wnd(), third.fastopen_client_fail()), (None, None, None));
}

#[test]
fn of_4_19_a_half_closed_connection_loses_its_numbers_with_its_owner() {
    let [closing, closed] = recorded("linux-4.19-fin-wait")[..] else { panic!("two sockets") };
    assert_eq!((closing.state, closing.shutdown, closing.class_id), (State::FinWait1, Some(3), Some(0)));
    assert_eq!((closing.inode, closing.write_queue, closing.timer, closing.expires), (0, 1, 1, 200));
    assert_eq!(closing.tcp.unwrap().unacked(), Some(1));
    assert_eq!((closed.state, closed.cookie), (State::FinWait2, closing.cookie));
    assert_eq!((closed.timer, closed.expires), (3, 59_988));
    assert_eq!((closed.tcp, closed.memory, closed.shutdown, closed.congestion), (None, None, None, None));
}

#[test]
fn of_5_4_tcp_info_ends_with_the_window_of_the_peer() {
    let [cut] = recorded("linux-5.4-tcp-info-232")[..] else { panic!("one socket") };
    let (cut, whole) = (cut.tcp.unwrap(), one("ipv6-cubic").tcp.unwrap());
    assert_eq!(cut.bytes().len(), 232);
    assert_eq!(
        (cut.rcv_ooopack(), cut.snd_wnd(), cut.fastopen_client_fail()),
        (Some(0), Some(65_536), Some(0))
    );
    assert_eq!((cut.rcv_wnd(), cut.total_rto(), cut.received_ce()), (None, None, None));
    assert!(fields(whole).starts_with(&fields(cut)), "what it does have is the same");
}

#[test]
fn of_6_18_over_ipv4_everything_is_read() {
    let record = one("ipv4-bbr");
    assert_eq!(ends(&record), ["127.0.0.1:38652", "127.0.0.1:4000"]);
    assert_eq!(
        (record.family, record.state, record.interface, record.cookie),
        (Family::V4, State::Established, 0, 4124)
    );
    assert_eq!((record.timer, record.retrans, record.expires), (0, 0, 0));
    assert_eq!((record.receive_queue, record.write_queue, record.uid, record.inode), (0, 0, 0, 2_937_236));
    assert_eq!(
        (record.cgroup, record.mark, record.class_id, record.tos),
        (Some(1), Some(0), Some(0), Some(0))
    );
    assert_eq!((record.traffic_class, record.v6_only, record.ulp, record.protocol), (None, None, None, None));
    let options = record.options.unwrap();
    assert_eq!((options.is_icsk(), options.mc_loop(), options.mc_all()), (true, true, true));
    assert_eq!(
        (options.recverr(), options.freebind(), options.bind_address_no_port()),
        (false, false, false)
    );
    let bbr = record.bbr.unwrap();
    assert_eq!(bbr.bandwidth(), Some(4_607_998_901));
    assert_eq!((bbr.min_rtt(), bbr.pacing_gain(), bbr.cwnd_gain()), (Some(12), Some(739), Some(739)));
    assert_eq!((record.congestion, record.vegas, record.dctcp), (Some("bbr"), None, None));
    let memory = record.memory.unwrap();
    assert_eq!(memory.bytes().len(), 36);
    assert_eq!(
        (memory.receive_buffer(), memory.send_buffer(), memory.drops()),
        (Some(131_072), Some(3_939_840), Some(0))
    );
    let tcp = record.tcp.unwrap();
    assert_eq!(tcp.bytes().len(), 280);
    assert_eq!(tcp.options(), Some(TIMESTAMPS | SACK | WINDOW_SCALE));
    assert_eq!(tcp.options().unwrap() & (ECN | FAST_OPEN_CHILD), 0);
    assert_eq!((tcp.rtt(), tcp.rttvar(), tcp.min_rtt()), (Some(33), Some(18), Some(12)));
    assert_eq!(
        (tcp.bytes_sent(), tcp.bytes_acked(), tcp.bytes_received()),
        (Some(12_345), Some(12_346), Some(678))
    );
    assert_eq!((tcp.rcv_wnd(), tcp.total_rto(), tcp.received_ce_bytes()), (Some(65_536), Some(0), Some(0)));
}

#[test]
fn of_6_18_ipv4_in_ipv6_is_ipv4() {
    let record = one("mapped");
    assert_eq!(ends(&record), ["127.0.0.1:4002", "127.0.0.1:42134"]);
    assert_eq!((record.family, record.family.word()), (Family::V4, "ipv4"));
    assert_eq!(record.traffic_class, Some(0), "though the socket is one of IPv6");
}

#[test]
fn of_6_18_over_ipv6_everything_is_read() {
    let record = one("ipv6-cubic");
    assert_eq!(ends(&record), ["[::1]:40638", "[::1]:4001"]);
    assert_eq!((record.family, record.bbr, record.congestion), (Family::V6, None, Some("cubic")));
    let tcp = record.tcp.unwrap();
    assert_eq!((tcp.bytes_received(), tcp.rcv_rtt(), tcp.snd_ssthresh()), (Some(200_000), Some(81), None));
}

#[test]
fn a_listener_has_its_queue_and_its_limit() {
    let record = one("listen");
    assert_eq!((record.state, ends(&record)), (State::Listen, ["[::]:4003", "[::]:0"].map(String::from)));
    assert_eq!((record.receive_queue, record.write_queue, record.v6_only), (3, 2, Some(false)));
    let tcp = record.tcp.unwrap();
    assert_eq!((tcp.unacked(), tcp.sacked()), (Some(3), Some(2)));
    assert_eq!((tcp.rtt(), tcp.rttvar(), tcp.min_rtt(), tcp.delivery_rate()), (None, None, None, None));
    assert_eq!(record.memory.unwrap().drops(), Some(1), "the fourth that wanted to connect");
}

#[test]
fn a_connection_in_time_wait_keeps_its_cookie_and_nothing_else() {
    let record = one("time-wait");
    assert_eq!((record.state, record.cookie), (State::TimeWait, one("ipv4-bbr").cookie));
    assert_eq!((record.uid, record.inode, record.timer, record.expires), (0, 0, 3, 60_000));
    assert_eq!((record.tcp, record.memory, record.cgroup, record.options), (None, None, None, None));
}

#[test]
fn a_connection_that_is_not_made_yet_has_no_round_trip() {
    let record = one("syn-sent");
    assert_eq!((record.state, record.timer, record.write_queue), (State::SynSent, 1, 1));
    let tcp = record.tcp.unwrap();
    assert_eq!((tcp.rtt(), tcp.rttvar(), tcp.min_rtt(), tcp.rto()), (None, None, None, Some(1_000_000)));
    assert_eq!(record.bbr.unwrap().min_rtt(), None);
}

#[test]
fn a_socket_that_is_only_bound_is_called_closed() {
    let record = one("bound-inactive");
    assert_eq!(
        (record.state, ends(&record)),
        (State::Close, ["127.0.0.1:4004", "0.0.0.0:0"].map(String::from))
    );
    assert_eq!((record.tcp, record.inode), (None, 2_937_278));
}

#[test]
fn a_udp_socket_has_its_queue_and_its_drops() {
    let record = one("udp");
    assert_eq!((record.state, record.receive_queue, record.tcp), (State::Close, 7680, None));
    let memory = record.memory.unwrap();
    assert_eq!(
        (memory.receive_allocated(), memory.receive_buffer(), memory.drops()),
        (Some(7680), Some(8192), Some(14))
    );
}

#[test]
fn a_subflow_of_mptcp_says_so_and_shares_the_inode() {
    let (subflow, whole) = (one("mptcp-subflow"), one("mptcp"));
    assert_eq!(subflow.ulp, Some("mptcp"));
    assert_eq!(subflow.tcp.unwrap().bytes_sent(), Some(1000));
    assert_eq!(subflow.inode, whole.inode);
    assert_ne!(subflow.cookie, whole.cookie);
}

#[test]
fn the_end_of_a_connection_comes_with_its_last_numbers() {
    let datagram = bytes("linux-6.18-destroy-ipv4");
    let mut found = 0;
    let progress = parse_event(&datagram, |record| {
        let before = one("ipv4-bbr");
        assert_eq!((record.state, record.cookie, ends(record)), (State::Close, before.cookie, ends(&before)));
        assert_eq!((record.uid, record.inode, record.cgroup, record.protocol), (0, 0, None, Some(6)));
        let tcp = record.tcp.unwrap();
        assert_eq!(
            (tcp.bytes_sent(), tcp.bytes_acked(), tcp.bytes_received()),
            (Some(12_345), Some(12_347), Some(679))
        );
        found += 1;
    });
    assert_eq!((progress, found), (Ok(Progress::More), 1));
}

#[test]
fn a_dump_ends_or_is_refused() {
    for (name, progress) in [("done", Progress::Done), ("refused", Progress::Refused(libc::ENOENT))] {
        let datagram = bytes(&format!("linux-6.18-{name}"));
        assert_eq!(records(&datagram, 1), Ok((vec![], progress)));
        assert_eq!(records(&datagram, 2), Ok((vec![], Progress::More)), "it answers another question");
    }
}

#[test]
fn each_recording_is_small_and_is_read_to_its_end() {
    let mut bytes = 0;
    for (name, datagram) in every() {
        bytes += datagram.len();
        let answer = records(&datagram, sequence(&datagram));
        assert!(answer.is_ok(), "{name}: {answer:?}");
    }
    assert!(bytes < 100 << 10);
}
