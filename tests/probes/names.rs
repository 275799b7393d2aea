//! Names: what a name server says, what it does not say, and which of the addresses is probed.

use super::{answer, fails, first, is_up, listen, name_server, read, settings, value};
use crate::support::{Namespace, eventually};
use connscope::source::probes::Probes;
use connscope::stop::Stop;
use simple_dns::rdata::{A, AAAA, RData, SRV};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What the test's name server says to a question.
pub(crate) fn reply(question: &[u8]) -> Option<Vec<u8>> {
    name_server::respond(question, |asked, reply| {
        let QTYPE::TYPE(kind) = asked.qtype else { return None };
        let data = |data| ResourceRecord::new(asked.qname.clone(), CLASS::IN, 60, data);
        let ipv4 = |bits| data(RData::A(A { address: bits }));
        let loopback = Ipv4Addr::LOCALHOST.to_bits();
        match (asked.qname.to_string().as_str(), kind) {
            ("slow.test", _) => return None,
            ("broken.test", _) => *reply.rcode_mut() = RCODE::ServerFailure,
            ("four.test" | "both.test" | "short.search.test", TYPE::A) => reply.answers.push(ipv4(loopback)),
            ("six.test" | "both.test", TYPE::AAAA) => {
                reply.answers.push(data(RData::AAAA(AAAA { address: Ipv6Addr::LOCALHOST.to_bits() })));
            }
            ("many.test", TYPE::A) => reply.answers.extend((1..=3).map(|n| ipv4(loopback + n))),
            ("long.test", TYPE::A) => reply.set_flags(PacketFlag::TRUNCATION),
            ("_x._tcp.test", TYPE::SRV) => {
                for port in [1001, 1002] {
                    let target = Name::new_unchecked("four.test");
                    reply.answers.push(data(RData::SRV(SRV { priority: 0, weight: 0, port, target })));
                }
            }
            ("four.test" | "six.test" | "both.test" | "many.test" | "long.test" | "_x._tcp.test", _) => {}
            _ => *reply.rcode_mut() = RCODE::NameError,
        }
        Some(())
    })
}

/// A name server inside.
pub(crate) fn server(namespace: &Namespace) -> SocketAddr {
    answer(namespace, "127.0.0.1:0", reply)
}

#[test]
fn a_name_that_is_not_there_is_told_from_a_server_that_is_not() {
    let Some(namespace) = Namespace::new() else { return };
    let server = server(&namespace);
    let port = listen(&namespace, "127.0.0.1:0", drop).port();
    let target = |name: &str, more: &str| format!("- {{name: {name}, host: {name}, port: {port}{more}}}\n");
    let targets: String = ["four.test", "slow.test", "broken.test", "missing.test", "localhost", "six.test"]
        .map(|name| target(name, if name == "six.test" { ", kind: tcp4" } else { "" }))
        .concat();
    let readings = first(&namespace, &format!("timeout: 2s\nnameservers: ['{server}']\ntargets:\n{targets}"));
    is_up(&readings, "four.test");
    is_up(&readings, "localhost");
    fails(&readings, "slow.test", "dns_timeout");
    fails(&readings, "missing.test", "dns_not_found");
    fails(&readings, "six.test", "dns_not_found");
    fails(&readings, "broken.test", "_OTHER");
    // One that is not there at all, and says so at once.
    let readings = first(
        &namespace,
        &format!("timeout: 2s\nnameservers: ['127.0.0.1:1']\ntargets:\n{}", target("four.test", "")),
    );
    fails(&readings, "four.test", "dns_timeout");
    // The next one is asked where the first is silent or refuses.
    let silent = answer(&namespace, "127.0.0.1:0", |_| None);
    let nonsense = answer(&namespace, "127.0.0.1:0", |_| Some(vec![1, 2, 3]));
    let readings = first(
        &namespace,
        &format!(
            "timeout: 20s\nnameservers: ['127.0.0.1:1', '{silent}', '{nonsense}', '{server}']\ntargets:\n{}",
            target("four.test", "")
        ),
    );
    is_up(&readings, "four.test");
}

#[test]
fn an_answer_to_another_question_is_passed_over() {
    let Some(namespace) = Namespace::new() else { return };
    let port = listen(&namespace, "127.0.0.1:0", drop).port();
    let server = namespace.inside(|| std::net::UdpSocket::bind("127.0.0.1:0")).unwrap();
    let place = server.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, peer)) = server.recv_from(&mut buffer) {
            let asked = &buffer[..length];
            // With the right id: of a name that has no such host, and without a question. Then the answer.
            let at = asked.windows(4).position(|part| part == b"four").unwrap();
            let mut forged = asked.to_vec();
            forged[at..at + 4].copy_from_slice(b"five");
            forged[2] |= 0x80;
            forged[3] = 3; // NXDOMAIN
            let mut bare = forged[..12].to_vec();
            bare[5] = 0;
            for bytes in [forged, bare, reply(asked).unwrap()] {
                server.send_to(&bytes, peer).unwrap();
            }
        }
    });
    let target = format!("{{name: x, host: four.test, port: {port}}}");
    let readings = first(&namespace, &format!("nameservers: ['{place}']\ntargets: [{target}]"));
    is_up(&readings, "x");
}

#[test]
fn a_long_answer_is_asked_for_over_tcp() {
    use std::io::{Read, Write};
    let Some(namespace) = Namespace::new() else { return };
    let server = server(&namespace);
    let place = listen(&namespace, &server.to_string(), |mut stream| {
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut question).unwrap();
        let mut answer = reply(&question).unwrap();
        // What did not go into a datagram: the same question, answered as four.test's.
        let mut packet = Packet::parse(&answer).unwrap();
        packet.remove_flags(PacketFlag::TRUNCATION);
        let data = RData::A(A { address: Ipv4Addr::LOCALHOST.to_bits() });
        packet.answers.push(ResourceRecord::new(Name::new_unchecked("long.test"), CLASS::IN, 60, data));
        answer = packet.build_bytes_vec().unwrap();
        stream.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(&answer).unwrap();
    });
    assert_eq!(place, server);
    let port = listen(&namespace, "127.0.0.1:0", drop).port();
    let readings = first(
        &namespace,
        &format!("nameservers: ['{server}']\ntargets: [{{name: x, host: long.test, port: {port}}}]"),
    );
    is_up(&readings, "x");
}

#[test]
fn one_address_is_probed_and_half_up_is_not_up() {
    let Some(namespace) = Namespace::new() else { return };
    let server = server(&namespace);
    // Only IPv4 listens.
    let port = listen(&namespace, "127.0.0.1:0", drop).port();
    let readings = first(
        &namespace,
        &format!(
            "nameservers: ['{server}']
targets:
- {{name: four first, host: both.test, port: {port}}}
- {{name: six first, host: both.test, port: {port}, prefer: ipv6}}
- {{name: fallen back, host: four.test, port: {port}, prefer: ipv6}}
- {{name: not fallen back, host: four.test, port: {port}, prefer: ipv6, fallback: false}}
- {{name: each, host: both.test, port: {port}, all: true}}
- {{name: many, host: many.test, port: {port}, all: true}}
"
        ),
    );
    is_up(&readings, "four first");
    fails(&readings, "six first", "connection_refused");
    is_up(&readings, "fallen back");
    assert_eq!(value(&readings, "probe.up", "fallen back", &[("network.type", "ipv4")]), Some(1.0));
    fails(&readings, "not fallen back", "dns_not_found");
    let of = |name: &str, peer: &str| value(&readings, "probe.up", name, &[("network.peer.address", peer)]);
    assert_eq!((of("each", "127.0.0.1"), of("each", "::1")), (Some(1.0), Some(0.0)));
    assert_eq!(value(&readings, "probe.connection_status", "each", &[]), Some(0.0), "half up");
    for peer in ["127.0.0.2", "127.0.0.3", "127.0.0.4"] {
        assert_eq!(of("many", peer), Some(0.0), "{peer}");
    }
}

#[test]
fn every_address_of_a_page_is_asked_and_a_redirect_leads_where_it_leads() {
    let Some(namespace) = Namespace::new() else { return };
    let server = server(&namespace);
    // Only IPv4 listens; the page is another host's, which has no other address.
    let port = listen(&namespace, "127.0.0.1:0", |mut stream| {
        let mut head = [0; 1024];
        let length = stream.read(&mut head).unwrap_or(0);
        let port = stream.local_addr().unwrap().port();
        let answer = if head[..length].starts_with(b"GET /ok ") {
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned()
        } else {
            format!("HTTP/1.1 302 Found\r\nLocation: http://four.test:{port}/ok\r\nContent-Length: 0\r\n\r\n")
        };
        let _gone = stream.write_all(answer.as_bytes());
    })
    .port();
    let target = format!("{{name: page, kind: http, url: 'http://both.test:{port}/', all: true}}");
    let readings = first(&namespace, &format!("nameservers: ['{server}']\ntargets: [{target}]\n"));
    let of = |peer: &str| value(&readings, "probe.up", "page", &[("network.peer.address", peer)]);
    assert_eq!((of("127.0.0.1"), of("::1")), (Some(1.0), Some(0.0)));
}

/// A server that says that it failed (SERVFAIL).
fn failed(question: &[u8]) -> Vec<u8> {
    let mut bytes = question.to_vec();
    bytes[2] |= 0x80;
    bytes[3] = 2;
    bytes
}

/// A name server that is silent about IPv6 and takes its time over IPv4.
fn half_silent(namespace: &Namespace) -> SocketAddr {
    answer(namespace, "127.0.0.1:0", |question| {
        let packet = Packet::parse(question).ok()?;
        std::thread::sleep(Duration::from_millis(50));
        let six = packet.questions.first()?.qtype == QTYPE::TYPE(TYPE::AAAA);
        if six { None } else { reply(question) }
    })
}

#[test]
fn a_family_that_nobody_tells_of_does_not_hold_the_other_up() {
    let Some(namespace) = Namespace::new() else { return };
    let server = half_silent(&namespace);
    let port = listen(&namespace, "127.0.0.1:0", drop).port();
    let targets = format!("[{{name: x, host: both.test, port: {port}, all: true}}]");
    let readings =
        first(&namespace, &format!("timeout: 2s\nnameservers: ['{server}']\ntargets: {targets}\n"));
    assert_eq!(value(&readings, "probe.up", "x", &[("network.peer.address", "127.0.0.1")]), Some(1.0));
}

#[test]
fn what_a_server_cannot_say_of_one_family_is_no_reason_against_the_other() {
    let Some(namespace) = Namespace::new() else { return };
    let server = answer(&namespace, "127.0.0.1:0", |question| {
        let packet = Packet::parse(question).ok()?;
        if packet.questions.first()?.qtype != QTYPE::TYPE(TYPE::AAAA) {
            return reply(question);
        }
        Some(failed(question))
    });
    let port = listen(&namespace, "127.0.0.1:0", drop).port();
    let target = |name: &str, more: &str| {
        format!("- {{name: {name}, host: both.test, port: {port}, prefer: ipv6{more}}}\n")
    };
    let targets = [target("falls back", ""), target("does not", ", fallback: false")].concat();
    let readings = first(&namespace, &format!("nameservers: ['{server}']\ntargets:\n{targets}"));
    is_up(&readings, "falls back");
    fails(&readings, "does not", "_OTHER");
}

#[test]
fn one_echo_is_enough_whatever_comes_of_the_others() {
    let Some(namespace) = Namespace::new() else { return };
    let server = half_silent(&namespace);
    super::nft(
        &namespace,
        "add rule inet p i ip daddr 127.0.0.1 icmp type echo-request icmp sequence 1 drop; \
         add rule inet p i ip daddr 127.0.0.9 icmp type echo-request icmp sequence 0 reject with icmp host-unreachable",
    );
    let readings = first(
        &namespace,
        &format!(
            "timeout: 2s
nameservers: ['{server}']
targets:
- {{name: one lost, kind: icmp, host: four.test, all: true, icmp: {{count: 3}}}}
- {{name: one refused, kind: icmp, host: 127.0.0.9, icmp: {{count: 3}}}}
"
        ),
    );
    for name in ["one lost", "one refused"] {
        is_up(&readings, name);
        let loss = value(&readings, "probe.icmp.loss", name, &[]).unwrap();
        assert!((loss - 1.0 / 3.0).abs() < 1e-9, "{name}: {loss}");
    }
}

#[test]
fn an_address_stays_while_its_family_is_not_told() {
    let Some(namespace) = Namespace::new() else { return };
    let broken = Arc::new(AtomicUsize::new(0));
    let now = Arc::clone(&broken);
    let server = answer(&namespace, "127.0.0.1:0", move |question| {
        let mut bytes = reply(question)?;
        let packet = Packet::parse(question).ok()?;
        let six = packet.questions.first()?.qtype == QTYPE::TYPE(TYPE::AAAA);
        if six && now.load(Ordering::Relaxed) > 0 {
            now.fetch_add(1, Ordering::Relaxed);
            bytes = failed(question);
        }
        Some(bytes)
    });
    let settings = settings(&format!(
        "interval: 100ms\nnameservers: ['{server}']\ntargets: [{{name: x, host: both.test, port: 1, all: true}}]"
    ));
    let stop = Stop::new().unwrap();
    let mut source = namespace.inside(|| Probes::start(&settings, &stop)).unwrap();
    let of = [("network.peer.address", "::1"), ("outcome", "failure")];
    let mut runs = || value(&read(&mut source), "probe.runs", "x", &of);
    eventually("it is probed", || runs() > Some(1.0));
    let before = runs();
    broken.store(1, Ordering::Relaxed);
    eventually("its family is not told any more", || broken.load(Ordering::Relaxed) > 5);
    eventually("it is probed on, and goes on from where it was", || runs() > before);
}
