//! What `ss` prints of the same sockets.

use super::{connection, dump, in_state, talk};
use crate::support::Namespace;
use connscope::source::sockets::diag::State;
use std::net::TcpListener;

/// What `ss` prints of a socket, by the words before the colons.
fn said(line: &str, word: &str) -> Option<String> {
    line.split([' ', '(', ')', ',', '\t'])
        .find_map(|part| part.strip_prefix(word)?.strip_prefix(':').map(str::to_owned))
}

#[test]
fn ss_prints_the_numbers_that_we_read() {
    let Some(namespace) = Namespace::new() else { return };
    let (listener, pairs) = namespace.inside(|| {
        let listener = TcpListener::bind("[::]:4000").unwrap();
        let pairs = ["127.0.0.1:4000", "[::1]:4000"].map(|address| {
            let mut pair = connection(&listener, address);
            talk(&mut pair, 54_321, 12_345);
            pair
        });
        (listener, pairs)
    });
    let printed = namespace.run("ss", &["-tinmoeHO"]);
    let all = namespace.inside(|| dump(&in_state(State::Established)));
    assert_eq!((printed.lines().count(), all.len()), (4, 4), "{printed}");
    for record in all {
        let line = printed
            .lines()
            .find(|line| said(line, "sk") == Some(format!("{:x}", record.cookie)))
            .unwrap_or_else(|| panic!("{record:?} is not in {printed}"));
        // Where something is 0, `ss` has no word for it.
        let number = |word| {
            said(line, word).map_or(0, |text| text.parse().unwrap_or_else(|_| panic!("{word} in {line}")))
        };
        let milliseconds = |micros: u32| (f64::from(micros) / 1000.0).to_string();
        let tcp = record.tcp.unwrap();
        for (word, ours) in [
            ("ino", Some(u64::from(record.inode))),
            ("bytes_sent", tcp.bytes_sent()),
            ("bytes_acked", tcp.bytes_acked()),
            ("bytes_received", tcp.bytes_received()),
            ("segs_out", tcp.segs_out().map(u64::from)),
            ("segs_in", tcp.segs_in().map(u64::from)),
            ("data_segs_out", tcp.data_segs_out().map(u64::from)),
            ("data_segs_in", tcp.data_segs_in().map(u64::from)),
            ("mss", tcp.snd_mss().map(u64::from)),
            ("rcvmss", tcp.rcv_mss().map(u64::from)),
            ("advmss", tcp.advmss().map(u64::from)),
            ("pmtu", tcp.pmtu().map(u64::from)),
            ("cwnd", tcp.snd_cwnd().map(u64::from)),
            ("rcv_space", tcp.rcv_space().map(u64::from)),
            ("delivered", tcp.delivered().map(u64::from)),
            ("snd_wnd", tcp.snd_wnd().map(u64::from)),
        ] {
            assert_eq!(number(word), ours.unwrap(), "{word} in {line}");
        }
        assert_eq!(said(line, "minrtt"), tcp.min_rtt().map(milliseconds), "{line}");
        let rtt = [tcp.rtt(), tcp.rttvar()].map(|micros| milliseconds(micros.unwrap())).join("/");
        assert_eq!(said(line, "rtt"), Some(rtt), "{line}");
        let scales = format!("wscale:{},{} ", tcp.snd_wscale().unwrap(), tcp.rcv_wscale().unwrap());
        assert!(line.contains(&scales), "{scales}in {line}");
        let memory = record.memory.unwrap();
        let (receive, send) = (memory.receive_buffer().unwrap(), memory.send_buffer().unwrap());
        assert!(line.contains(&format!(",rb{receive},")) && line.contains(&format!(",tb{send},")), "{line}");
        assert!(line.contains(&format!(" {} ", record.congestion.unwrap())), "{line}");
    }
    drop((listener, pairs));
}
