//! Connections that wait to be accepted: how long they have, and which their clients gave up.

use super::{INCOMING, Numbers, Probe, listener};
use crate::support::Namespace;
use std::net::TcpStream;
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
