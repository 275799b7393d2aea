//! Rules that are read while others are added and deleted: each answer is right, or there is none.

use crate::support::Namespace;
use connscope::netlink::{Client, Transport};
use connscope::reading::SourceError;
use connscope::source::network::rules::{self, Rules};
use connscope::sys::netlink::NetlinkSocket;
use std::cell::Cell;
use std::fmt::Write;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Rules that stay, with these comments; each has counted so many packets. Their dump takes many datagrams.
const RULES: u64 = 4000;
const COMMENTS: u64 = 40;

/// The kernel, and how often it was asked.
struct Counted<'a> {
    socket: NetlinkSocket,
    sent: &'a Cell<u32>,
}

impl Transport for Counted<'_> {
    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.sent.set(self.sent.get() + 1);
        Transport::send(&mut self.socket, request)
    }

    fn receive(&mut self) -> io::Result<&[u8]> {
        Transport::receive(&mut self.socket)
    }

    fn receive_now(&mut self) -> io::Result<&[u8]> {
        Transport::receive_now(&mut self.socket)
    }
}

/// Ends the thread that changes rules, also if an assertion fails.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Rule `number` has counted `number` packets before it drops; nothing else comes.
fn fixed() -> String {
    let mut text = "add table inet fixed\nadd chain inet fixed in\n".to_owned();
    for number in 0..RULES {
        writeln!(
            text,
            "add rule inet fixed in udp dport {number} counter packets {number} bytes 0 drop comment \"{}\"",
            number % COMMENTS
        )
        .unwrap();
    }
    text
}

/// Panics unless the rules that stay are all there, each once, with what they counted.
fn assert_right(rules: &Rules) {
    let fixed: Vec<_> = rules.packets.iter().filter(|(rule, _)| rule.table == "fixed").collect();
    assert_eq!(fixed.len() as u64, COMMENTS);
    for (rule, counters) in fixed {
        let comment: u64 = rule.comment.parse().unwrap();
        let mut packets: Vec<u64> = counters.iter().map(|(_, packets)| *packets).collect();
        packets.sort_unstable();
        let expected: Vec<u64> = (0..RULES / COMMENTS).map(|turn| comment + turn * COMMENTS).collect();
        assert_eq!(packets, expected, "{rule:?}");
    }
    assert_eq!(rules.left_out, 0);
}

/// Reads `count` times while rules change in between. How many answers there were, and how often the kernel was asked.
fn read_while_changing(namespace: &Namespace, pause: Duration, count: u32) -> (u32, u32) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends_also_by_a_panic = SetOnDrop(&over);
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for change in
                    ["add rule inet moving in udp dport 9 counter drop", "flush chain inet moving in"]
                {
                    namespace.run("nft", &[change]);
                    std::thread::sleep(pause);
                }
            }
        });
        namespace.inside(|| {
            let socket =
                NetlinkSocket::open(rustix::net::netlink::NETFILTER, Duration::from_millis(400)).unwrap();
            let sent = Cell::new(0);
            let mut client = Client::new(Counted { socket, sent: &sent }, Duration::from_secs(10));
            let mut answers = 0;
            for _ in 0..count {
                let begun = Instant::now();
                match rules::ask(&mut client) {
                    Ok(rules) => {
                        assert_right(&rules);
                        answers += 1;
                    }
                    Err(error @ SourceError::Io { .. }) => {
                        let text = format!("{error:?}");
                        assert!(text.contains("Interrupted"), "{text}");
                    }
                    Err(error) => panic!("{error:?} after {:?}", begun.elapsed()),
                }
                std::thread::sleep(pause / 7);
            }
            (answers, sent.get())
        })
    })
}

#[test]
fn rules_that_change_while_they_are_read_are_asked_for_again_and_no_answer_is_wrong() {
    let Some(namespace) = Namespace::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules");
    std::fs::write(&file, fixed()).unwrap();
    namespace.run("nft", &["-f", file.to_str().unwrap()]);
    namespace.run("nft", &["add table inet moving; add chain inet moving in"]);
    let (answers, asked) = read_while_changing(&namespace, Duration::from_millis(100), 60);
    assert!(answers > 0, "none of 60 was answered");
    assert!((60..=240).contains(&asked), "60 reads, {asked} requests");
    // As fast as nft changes them: most answers are interrupted.
    let (_, asked) = read_while_changing(&namespace, Duration::ZERO, 60);
    assert!((61..=240).contains(&asked), "60 reads, {asked} requests: no answer was interrupted");
}
