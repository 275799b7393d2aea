//! Connections that wait to be accepted: how long they have, and which their clients gave up.

use super::owners::Holder;
use super::{INCOMING, Numbers, Probe, listener};
use crate::support::Namespace;
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseport};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};
use rustix::thread::Uid;
use std::net::{SocketAddrV4, SocketAddrV6, TcpStream};
use std::time::{Duration, Instant};

const LISTENING: [&str; 2] = ["server.port=4000", INCOMING];

/// What the kernel's milliseconds and a timer tick may differ from this test's clock.
const TICK: f64 = 0.02;

fn oldest(numbers: &Numbers) -> f64 {
    numbers.sum("tcp.accept.oldest", &LISTENING)
}

fn abandoned(numbers: &Numbers) -> f64 {
    numbers.sum("tcp.accept.abandoned", &LISTENING)
}

/// How often somebody was found waiting, and for how long together.
fn waits(numbers: &Numbers) -> (f64, f64) {
    (numbers.sum("tcp.accept.wait.count", &LISTENING), numbers.sum("tcp.accept.wait.sum", &LISTENING))
}

#[test]
fn the_age_of_who_waits_is_since_the_handshake_and_ends_with_accept() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let mut probe = Probe::at(&namespace, "{}");
        assert_eq!(oldest(&probe.read()), 0.0, "nobody waits");
        let before = Instant::now();
        let mut client = TcpStream::connect("127.0.0.1:4000").unwrap();
        let made = Instant::now();
        // What the client sends does not make it younger.
        std::io::Write::write_all(&mut client, b"hello?").unwrap();
        let mut sum = 0.0;
        for (read, seconds) in [1, 2, 4].into_iter().enumerate() {
            std::thread::sleep(Duration::from_secs(seconds).saturating_sub(made.elapsed()));
            let least = made.elapsed().as_secs_f64() - TICK;
            let numbers = probe.read();
            let most = before.elapsed().as_secs_f64() + TICK;
            let age = oldest(&numbers);
            assert!((least..=most).contains(&age), "{age} is not in {least}..={most}");
            sum += age;
            let (count, together) = waits(&numbers);
            assert_eq!(count, [1.0, 2.0, 3.0][read]);
            assert!((together - sum).abs() < 1e-6, "{together} {sum}");
        }
        let accepted = listener.accept().unwrap();
        let numbers = probe.read();
        assert_eq!((oldest(&numbers), waits(&numbers).0, abandoned(&numbers)), (0.0, 3.0, 0.0));
        drop((accepted, client));
    });
}

#[test]
fn a_client_that_gives_up_before_it_is_accepted_is_counted_once() {
    for family in ["127.0.0.1:4000", "[::1]:4000"] {
        let Some(namespace) = Namespace::new() else { return };
        namespace.inside(|| {
            let listener = listener(family);
            let mut probe = Probe::at(&namespace, "{}");
            drop([(); 2].map(|()| TcpStream::connect(family).unwrap()));
            let patient = TcpStream::connect(family).unwrap();
            probe.until("both are seen", |numbers| abandoned(numbers) == 2.0);
            assert_eq!(abandoned(&probe.read()), 2.0, "{family}: counted once");
            let accepted = [(); 3].map(|()| listener.accept().unwrap());
            let numbers = probe.read();
            assert_eq!((abandoned(&numbers), oldest(&numbers)), (2.0, 0.0), "{family}");
            // One that was accepted and has not been closed here is nobody's loss.
            drop(patient);
            let numbers = probe.until("all are there", |numbers| numbers.state("close_wait", &[]) == 3.0);
            assert_eq!(abandoned(&numbers), 2.0, "{family}");
            drop((accepted, listener));
        });
    }
}

#[test]
fn who_waits_belongs_to_the_process_that_listens() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let _listener = listener("127.0.0.1:4000");
        let mut probe = Probe::at(&namespace, "{group_by: [process]}");
        let _client = TcpStream::connect("127.0.0.1:4000").unwrap();
        let numbers = probe.until("it waits", |numbers| numbers.sum("tcp.accept.oldest", &[]) > 0.0);
        let names = numbers.values("tcp.accept.oldest", "process.executable.name");
        assert_eq!(names, numbers.values("tcp.listen.queue.usage", "process.executable.name"));
        assert_eq!(names.len(), 1);
        assert_ne!(names[0], "~unknown");
    });
}

#[test]
fn who_waits_at_a_listener_of_one_family_does_not_make_the_other_slow() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let v4 = listener("0.0.0.0:4000");
        let v6 = socket_with(AddressFamily::INET6, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        set_ipv6_v6only(&v6, true).unwrap();
        bind(&v6, &"[::]:4000".parse::<SocketAddrV6>().unwrap()).unwrap();
        listen(&v6, 16).unwrap();
        let mut probe = Probe::at(&namespace, "{group_by: [direction, service_port, family]}");
        let _first = TcpStream::connect("127.0.0.1:4000").unwrap();
        std::thread::sleep(Duration::from_millis(200));
        let _second = TcpStream::connect("[::1]:4000").unwrap();
        let numbers = probe.read();
        let oldest = |family: &str| {
            numbers
                .sum("tcp.accept.oldest", &["server.port=4000", INCOMING, &format!("network.type={family}")])
        };
        assert!(oldest("ipv4") >= 0.2 - TICK, "{numbers:#?}");
        assert!(oldest("ipv6") < oldest("ipv4") - 0.1, "{numbers:#?}");
        drop(v4);
    });
}

#[test]
fn who_waits_stays_with_its_listener_when_another_process_on_the_port_ends() {
    // Another address, and the same one (`SO_REUSEPORT`).
    for other in ["127.0.0.2:4000", "127.0.0.1:4000"] {
        let Some(namespace) = Namespace::new() else { return };
        namespace.inside(|| {
            let shared = |address: &str| {
                let socket =
                    socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
                set_socket_reuseport(&socket, true).unwrap();
                bind(&socket, &address.parse::<SocketAddrV4>().unwrap()).unwrap();
                listen(&socket, 16).unwrap();
                socket
            };
            let _stays = Holder::new("hello-stays", shared("127.0.0.1:4000"));
            let mut probe = Probe::at(&namespace, "{group_by: [process], process_budget: 10s}");
            let name = "process.executable.name=hello-stays";
            let goes = Holder::new("hello-goes", shared(other));
            let numbers = probe.read();
            assert_eq!(
                numbers.values("tcp.accept.oldest", "process.executable.name").len(),
                2,
                "{numbers:#?}"
            );
            drop(goes);
            let _client = TcpStream::connect("127.0.0.1:4000").unwrap();
            let oldest = |numbers: &Numbers| numbers.sum("tcp.accept.oldest", &[name]);
            probe.until(other, |numbers| oldest(numbers) > 0.0);
        });
    }
}

#[test]
fn who_waits_belongs_to_the_user_who_accepts() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        let mut probe = Probe::at(&namespace, "{group_by: [uid, direction]}");
        let _client = TcpStream::connect("127.0.0.1:4000").unwrap();
        let open = |numbers: &Numbers, labels: &[&str]| numbers.sum("tcp.open_connections", labels);
        let numbers = probe.read();
        assert_eq!(open(&numbers, &[INCOMING]), 0.0, "nobody has accepted it: {numbers:#?}");
        assert_eq!(numbers.sum("tcp.accept.wait.count", &["user.id=0"]), 1.0, "{numbers:#?}");
        // Of this thread alone, which ends here.
        let accepted = namespace.inside(|| {
            let nobody = 65_534;
            rustix::thread::set_thread_res_uid(
                Uid::from_raw(nobody),
                Uid::from_raw(nobody),
                Uid::from_raw(nobody),
            )
            .unwrap();
            listener.accept().unwrap()
        });
        let numbers = probe.read();
        assert_eq!(open(&numbers, &[INCOMING, "user.id=65534"]), 1.0, "{numbers:#?}");
        assert_eq!(open(&numbers, &[INCOMING]), 1.0, "{numbers:#?}");
        drop(accepted);
    });
}

#[test]
fn what_clients_gave_up_before_the_agent_is_not_counted() {
    let Some(namespace) = Namespace::new() else { return };
    namespace.inside(|| {
        let listener = listener("127.0.0.1:4000");
        drop(TcpStream::connect("127.0.0.1:4000").unwrap());
        let halves = TcpStream::connect("127.0.0.1:4000").unwrap();
        let mut probe = Probe::new("{}");
        let numbers = probe.read();
        assert_eq!((abandoned(&numbers), waits(&numbers).0), (0.0, 2.0), "they wait all the same");
        // A client that only sends no more looks the same, and still waits.
        halves.shutdown(std::net::Shutdown::Write).unwrap();
        probe.until("it is seen", |numbers| abandoned(numbers) == 1.0);
        // One that resets is in no dump.
        super::abort(TcpStream::connect("127.0.0.1:4000").unwrap());
        assert_eq!(abandoned(&probe.read()), 1.0);
        drop((halves, listener));
    });
}
