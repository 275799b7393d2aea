//! Names in the files of a machine: search lists, full names, zones of addresses, other scripts; and name servers that
//! answer what nobody asked.

use super::names::reply;
use super::{answer, fails, first, is_up, listen, settings, value, verdict};
use crate::support::Namespace;
use connscope::source::probes::config::{Family, Kind, NameServer, Record, Target as Settings};
use connscope::source::probes::datagram::Datagrams;
use connscope::source::probes::discovery::dns;
use connscope::source::probes::resolve::files::{Hosts, ResolvConf};
use connscope::source::probes::resolve::message::{Question, RecordData, Response};
use connscope::source::probes::target::Target;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[test]
fn hosts_and_resolv_conf_are_read_as_the_c_library_reads_them() {
    let hosts = Hosts::read(
        "127.0.0.1 localhost # me\n::1 LocalHost ip6\n192.0.2.1 a b\n192.0.2.2 a\nnonsense x\n192.0.2.3 host.docker.internal\n\
         192.0.2.4 bücher.example\n",
    );
    let of = |name: &str, family| hosts.of(name, family).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(of("localhost", Family::Ipv4), ["127.0.0.1"]);
    assert_eq!(of("localhost", Family::Ipv6), ["::1"]);
    assert_eq!(of("a", Family::Ipv4), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(of("host.docker.internal", Family::Ipv4), ["192.0.2.3"]);
    assert_eq!(of("xn--bcher-kva.example", Family::Ipv4), ["192.0.2.4"]);
    assert!(of("x", Family::Ipv4).is_empty());
    let conf = ResolvConf::read(
        "# x\ndomain left.test\nsearch a.test b.test.\nnameserver 192.0.2.1\nnameserver ::1\nnameserver fe80::1%eth0\n\
         nameserver 192.0.2.4\nnameserver nonsense\noptions ndots:2 timeout:3 attempts:9 rotate use-vc\n",
        "node.example",
    );
    let servers: Vec<String> = conf.servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["192.0.2.1:53", "[::1]:53", "[fe80::1%eth0]:53"], "three at most");
    assert_eq!((conf.timeout, conf.attempts, conf.tcp), (Some(Duration::from_secs(3)), 5, true));
    assert_eq!(conf.candidates("x.y"), ["x.y.a.test", "x.y.b.test", "x.y"]);
    assert_eq!(conf.candidates("x.y.z"), ["x.y.z", "x.y.z.a.test", "x.y.z.b.test"]);
    assert_eq!(conf.candidates("x."), ["x"]);
    let nothing = ResolvConf::read("", "");
    assert_eq!(nothing.servers, [NameServer::new(Ipv4Addr::LOCALHOST.into())], "this machine");
    assert_eq!(nothing.candidates("x"), ["x"]);
}

#[test]
fn a_search_list_has_no_most_a_root_and_the_domain_of_the_machine() {
    let conf = |text: &str| ResolvConf::read(text, "node.own.test");
    let domains: Vec<String> = (0..300).map(|n| format!("d{n}.test")).collect();
    let long = conf(&format!("search {}\n", domains.join(" "))).candidates("web");
    assert_eq!((long.len(), long[299].as_str(), long[300].as_str()), (301, "web.d299.test", "web"));
    assert_eq!(conf("").candidates("web"), ["web.own.test", "web"], "where nothing is said");
    assert_eq!(conf("search\n").candidates("web"), ["web.own.test", "web"]);
    assert_eq!(conf("search .\n").candidates("web"), ["web"], "the root alone");
    assert_eq!(conf("search a.test . b.test\n").candidates("web"), ["web.a.test", "web", "web.b.test"]);
    assert_eq!(conf("search a.test a.test\n").candidates("web"), ["web.a.test", "web"], "each once");
    assert_eq!(conf("domain a.test b.test\n").candidates("web"), ["web.a.test", "web"], "a domain is one");
    assert_eq!(conf("search a.test\noptions no-tld-query\n").candidates("web"), ["web.a.test"]);
    assert_eq!(conf("search a.test\noptions ndots:0\n").candidates("web"), ["web", "web.a.test"]);
    assert_eq!(conf("options ndots:300\n").ndots, 15, "the C library's most");
    let name = "n".repeat(250);
    assert_eq!(
        conf("search a.test\n").candidates(&name),
        [name.as_str()],
        "no name is longer than 253 bytes"
    );
    let machine = ResolvConf::read("", "node");
    assert_eq!(machine.candidates("web"), ["web"], "a machine without a domain");
}

#[test]
fn a_name_server_is_an_address_with_a_port_or_a_zone() {
    for (text, shown) in [
        ("192.0.2.1", "192.0.2.1:53"),
        ("192.0.2.1:5353", "192.0.2.1:5353"),
        ("2001:db8::1", "[2001:db8::1]:53"),
        ("[2001:db8::1]:5353", "[2001:db8::1]:5353"),
        ("fe80::53%eth0", "[fe80::53%eth0]:53"),
        ("[fe80::53%3]:5353", "[fe80::53%3]:5353"),
    ] {
        let server = NameServer::parse(text).unwrap();
        assert_eq!(server.to_string(), shown);
        assert_eq!(NameServer::parse(shown), Ok(server), "what is printed is read");
    }
    for wrong in
        ["localhost", "192.0.2.1%eth0", "fe80::1%", "[::1]", "[192.0.2.1]:53", "::1:x", "1.2.3.4:0", ""]
    {
        assert!(NameServer::parse(wrong).is_err(), "{wrong}");
    }
}

/// The bytes of a record behind its name: type, class, time to live, length, data.
fn record(kind: u8, class: u8, data: &[u8]) -> Vec<u8> {
    let length = u8::try_from(data.len()).unwrap();
    [&[0xc0, 12, 0, kind, 0, class, 0, 0, 0, 60, 0, length], data].concat()
}

fn response(question: &Question, records: &[Vec<u8>]) -> Option<Response> {
    let mut bytes = question.bytes().to_vec();
    bytes[2] |= 0x80;
    bytes[7] = u8::try_from(records.len()).unwrap();
    question.response(&[bytes, records.concat()].concat())
}

#[test]
fn one_odd_record_does_not_void_the_others() {
    let question = Question::new(7, "db.example", Record::A).unwrap();
    let good = record(1, 1, &[192, 0, 2, 1]);
    for odd in [
        record(1, 1, &[192, 0, 2]),
        record(1, 1, &[192, 0, 2, 1, 0]),
        record(1, 1, &[]),
        record(1, 3, &[192, 0, 2, 9]),
        record(28, 1, &[1; 16]),
        record(28, 1, &[1; 3]),
        record(5, 1, &[0xc0, 0xff]),
        record(16, 1, &[200, b'x']),
        record(46, 1, &[0]),
        record(41, 1, &[0, 9, 0, 200]),
        record(255, 254, &[1, 2, 3]),
    ] {
        let found = response(&question, &[odd.clone(), good.clone(), odd.clone()]);
        let one = RecordData::Address(IpAddr::from([192, 0, 2, 1]));
        assert_eq!(found, Some(Response::Records(vec![one])), "{odd:?}");
    }
    // What stands behind the answers is not looked at.
    let mut bytes = [question.bytes(), &good, &[0xff; 9]].concat();
    (bytes[2], bytes[7], bytes[9], bytes[11]) = (0x81, 1, 200, 200);
    assert!(matches!(question.response(&bytes), Some(Response::Records(records)) if records.len() == 1));
    let services = Question::new(7, "_x._tcp.example", Record::Srv).unwrap();
    let service = |host: &[u8]| record(33, 1, &[&[0, 0, 0, 0, 0, 80], host].concat());
    let odd = [
        service(b"\x02a/\x00"),
        service(b"\x01\xff\x00"),
        service(b"\x03a.b\x00"),
        service(b"\x40\x00"),
        service(b"\xc0\xff"),
        service(b"\x02a"),
        service(b"\x01a\x00\x00"),
        service(b"\x00"),
        record(33, 1, &[0, 0, 0, 0, 0, 0, 1, b'a', 0]),
        record(33, 1, &[0, 0]),
    ];
    let good = service(b"\x02db\xc0\x14");
    let found = response(&services, &[odd.as_slice(), &[good]].concat());
    let host = "db.example".to_owned();
    assert_eq!(found, Some(Response::Records(vec![RecordData::Service { host, port: 80 }])));
    // A pointer to itself, and two that point to each other.
    let at = u8::try_from(services.bytes().len() + 12 + 6).unwrap();
    assert_eq!(response(&services, &[service(&[0xc0, at])]), Some(Response::Records(Vec::new())));
    assert_eq!(
        response(&services, &[service(&[0xc0, at + 2, 0xc0, at])]),
        Some(Response::Records(Vec::new()))
    );
}

#[test]
fn a_name_that_is_no_name_is_refused_and_a_referral_is_no_answer() {
    let long = "l".repeat(64);
    let longer = ["label"; 43].join(".");
    for name in ["", "a..b", ".a", long.as_str(), longer.as_str()] {
        assert!(Question::new(1, name, Record::A).is_err(), "{name}");
    }
    let question = Question::new(1, "a.example", Record::A).unwrap();
    let mut bytes = question.bytes().to_vec();
    bytes[2] = 0x81;
    assert_eq!(question.response(&bytes), Some(Response::Referral), "no authority, and asks nobody");
    for (place, bit) in [(2, 0x04), (3, 0x80)] {
        let mut other = bytes.clone();
        other[place] |= bit;
        assert_eq!(question.response(&other), Some(Response::Records(Vec::new())), "{place} {bit}");
    }
    bytes[2] |= 0x28; // an update's opcode
    assert_eq!(question.response(&bytes), None);
}

#[test]
fn a_name_in_another_script_is_looked_up_for_every_kind() {
    let Some(namespace) = Namespace::new() else { return };
    let server = answer(&namespace, "127.0.0.1:0", |question| {
        // The test's server knows it by its name in the DNS only.
        let at = question.windows(13).position(|part| part == b"xn--bcher-kva");
        let mut known = [&question[..at? - 1], &[4], b"four", &question[at? + 13..]].concat();
        known = reply(&known)?;
        // In the question, and in front of each record.
        while let Some(end) = known.windows(5).position(|part| part == b"\x04four") {
            known = [&known[..end], &[13], b"xn--bcher-kva", &known[end + 5..]].concat();
        }
        Some(known)
    });
    let port = listen(&namespace, "127.0.0.1:0", drop).port();
    let echo = answer(&namespace, "127.0.0.1:0", |bytes| Some(bytes.to_vec())).port();
    let readings = first(
        &namespace,
        &format!(
            "timeout: 2s
nameservers: ['{server}']
targets:
- {{name: tcp, host: bücher.test, port: {port}}}
- {{name: capitals, host: BÜCHER.test, port: {port}}}
- {{name: each, host: bücher.test, port: {port}, all: true}}
- {{name: udp, kind: udp, host: bücher.test, port: {echo}}}
- {{name: icmp, kind: icmp, host: bücher.test}}
- {{name: tls, kind: tls, host: bücher.test, port: {port}}}
"
        ),
    );
    for name in ["tcp", "capitals", "each", "udp", "icmp"] {
        is_up(&readings, name);
    }
    // The peer hangs up, and is found.
    let (up, why) = verdict(&readings, "tls");
    assert!(up == Some(false) && why.as_deref() != Some("dns_not_found"), "{why:?}");
    let label = [("server.address", "xn--bcher-kva.test")];
    assert_eq!(value(&readings, "probe.up", "tcp", &label), Some(1.0), "as over HTTP");
    let wrong =
        std::panic::catch_unwind(|| settings("targets: [{name: x, host: 'bu\u{308}cher.test', port: 1}]"));
    let why = *wrong.unwrap_err().downcast::<String>().unwrap();
    assert!(why.contains("composed form"), "{why}");
}

#[test]
fn a_name_server_with_a_zone_is_asked() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.run("ip", &["address", "add", "fe80::53/64", "dev", "lo", "nodad"]);
    let server = answer(&namespace, "[fe80::53%1]:0", reply).port();
    let port = listen(&namespace, "127.0.0.1:0", drop).port();
    let up = |server: &str| {
        let target = format!("{{name: x, host: four.test, port: {port}}}");
        first(&namespace, &format!("timeout: 5s\nnameservers: ['{server}']\ntargets: [{target}]\n"))
    };
    is_up(&up(&format!("[fe80::53%lo]:{server}")), "x");
    fails(&up(&format!("[fe80::53%eth77]:{server}")), "x", "dns_timeout");
}

#[test]
fn the_host_of_a_service_is_a_full_name() {
    let settings = settings("");
    let template = Settings { kind: Kind::Tcp, ..Settings::default() };
    let service = RecordData::Service { host: "db.svc.example".to_owned(), port: 70 };
    let made = dns::target(&template, Record::Srv, "_db._tcp.svc.example.", service);
    let target = Target::new(&Arc::new(made), &settings).unwrap();
    assert_eq!(target.route.full("db.svc.example"), "db.svc.example.", "no search list is for it");
    assert_eq!(target.route.full("elsewhere"), "elsewhere", "where a redirect leads");
    let shown = target.labels.iter().find(|(label, _)| label.key() == "server.address").unwrap();
    assert_eq!(&*shown.1, "db.svc.example", "its series are those of the name");
    let made =
        dns::target(&template, Record::A, "a.example", RecordData::Address(Ipv4Addr::LOCALHOST.into()));
    assert_eq!(made.host, "127.0.0.1");
}

#[test]
fn datagrams_without_end_leave_time_for_everything_else() {
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server.local_addr().unwrap()).unwrap();
    socket.set_nonblocking(true).unwrap();
    let peer = socket.local_addr().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let socket = Datagrams::new(socket.into()).unwrap();
        let others = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&others);
        tokio::spawn(async move {
            loop {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
        // There is always one more: receiving never has to wait.
        for _ in 0..1000 {
            server.send_to(b"x", peer).unwrap();
            socket.receive(&mut [0; 8]).await.unwrap();
        }
        assert!(others.load(Ordering::Relaxed) > 0, "nothing else ran");
    });
}

#[test]
fn a_name_server_that_answers_what_nobody_asked_is_asked_over_tcp() {
    let Some(namespace) = Namespace::new() else { return };
    let socket = namespace.inside(|| UdpSocket::bind("127.0.0.1:0")).unwrap();
    let server = socket.local_addr().unwrap();
    let right_ones = Arc::new(AtomicUsize::new(0));
    let right = Arc::clone(&right_ones);
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let mut wrong = buffer[..length].to_vec();
            wrong[0] ^= 0xff;
            wrong[2] |= 0x80;
            for _ in 0..40 {
                let _asked_elsewhere = socket.send_to(&wrong, peer);
            }
        }
    });
    listen(&namespace, &server.to_string(), move |mut stream| {
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut question).unwrap();
        let answer = reply(&question).unwrap();
        stream.write_all(&u16::try_from(answer.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(&answer).unwrap();
        right.fetch_add(1, Ordering::Relaxed);
    });
    let port = listen(&namespace, "127.0.0.1:0", drop).port();
    let target = format!("{{name: x, host: four.test, port: {port}}}");
    let readings =
        first(&namespace, &format!("timeout: 20s\nnameservers: ['{server}']\ntargets: [{target}]\n"));
    is_up(&readings, "x");
    assert!(right_ones.load(Ordering::Relaxed) > 0);
}
