//! The netlink client, without the kernel's help: interrupted dumps, lost parts, refusals, short answers and silence, for
//! both sources that ask over it.

use connscope::metric::label::Reason;
use connscope::netlink::client::ATTEMPTS;
use connscope::netlink::{self, Client, Transport, push_attribute};
use connscope::reading::{SourceError, chain};
use connscope::source::conntrack::fields::{Field, Row, Statistics};
use connscope::source::conntrack::netlink::Socket;
use connscope::source::sockets::diag::{State, TCP};
use connscope::source::sockets::dumper::{Dumper, Query};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::Duration;

const DUMP_INTR: u16 = 0x12;
const MULTI: u16 = 0x02;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const OVERRUN: u16 = 4;

/// A message of an answer: type, flags, payload. It gets the sequence number of the latest request.
type Part = (u16, u16, Vec<u8>);

/// The requests that a kernel got.
type Requests = Rc<RefCell<Vec<Vec<u8>>>>;

/// What the kernel does next.
#[derive(Debug, Clone)]
enum Next {
    /// Sends a datagram.
    Says(Vec<Part>),
    /// Sends one that answers the request before the latest.
    SaysLate(Vec<Part>),
    /// Sends so many bytes of a datagram.
    Cuts(Vec<Part>, usize),
    /// Fails with an error number.
    Fails(i32),
    /// The answer to this request ends here; nothing more is there until the next request.
    Ends,
}
use Next::{Cuts, Ends, Fails, Says, SaysLate};

/// A kernel that does what it was told to.
#[derive(Debug, Default)]
struct Kernel {
    script: Rc<RefCell<VecDeque<Next>>>,
    requests: Requests,
    datagram: Vec<u8>,
    /// A real one refuses a dump while the one before was not read to its end.
    strict: bool,
}

impl Kernel {
    fn sequence(&self) -> u32 {
        let requests = self.requests.borrow();
        u32::from_ne_bytes(requests.last().unwrap()[8..12].try_into().unwrap())
    }

    fn datagram(&mut self, parts: &[Part], sequence: u32) {
        self.datagram.clear();
        for (kind, flags, payload) in parts {
            self.datagram.extend(netlink::request(*kind, *flags, sequence, payload));
            self.datagram.resize(self.datagram.len().next_multiple_of(4), 0);
        }
    }
}

impl Transport for Kernel {
    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        let mut script = self.script.borrow_mut();
        if script.front().is_some_and(|next| matches!(next, Ends)) {
            script.pop_front();
        } else if self.strict && !self.requests.borrow().is_empty() {
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        }
        self.requests.borrow_mut().push(request.to_vec());
        Ok(())
    }

    fn receive(&mut self) -> io::Result<&[u8]> {
        if self.script.borrow().front().is_none_or(|next| matches!(next, Ends)) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let next = self.script.borrow_mut().pop_front().unwrap();
        let sequence = self.sequence();
        match next {
            Says(parts) => self.datagram(&parts, sequence),
            SaysLate(parts) => self.datagram(&parts, sequence - 1),
            Cuts(parts, length) => {
                self.datagram(&parts, sequence);
                self.datagram.truncate(length);
            }
            Fails(number) => return Err(io::Error::from_raw_os_error(number)),
            Ends => {}
        }
        Ok(&self.datagram)
    }

    fn receive_now(&mut self) -> io::Result<&[u8]> {
        self.receive()
    }
}

/// A client of a kernel that does this, and the requests that it gets.
fn client(script: impl IntoIterator<Item = Next>) -> (Client<Kernel>, Requests) {
    let kernel = Kernel {
        script: Rc::new(RefCell::new(script.into_iter().collect())),
        strict: true,
        ..Kernel::default()
    };
    let requests = Rc::clone(&kernel.requests);
    (Client::new(kernel, Duration::from_mins(1)), requests)
}

/// The counters of one CPU, of which `drop` is given.
fn row(cpu: u8, drop: u32, flags: u16) -> Part {
    let mut payload = vec![0, 0, 0, cpu];
    push_attribute(&mut payload, 10, &drop.to_be_bytes()).unwrap();
    (0x0104, flags, payload)
}

/// A TCP socket with this cookie.
fn socket(cookie: u8, flags: u16) -> Part {
    let mut payload = vec![0; 72];
    payload[..2].copy_from_slice(&[2, State::Established as u8]);
    payload[44] = cookie;
    (20, flags, payload)
}

fn done() -> Part {
    (DONE, MULTI, vec![0; 4])
}

fn refusal(number: i32) -> Part {
    (ERROR, 0, [&(-number).to_ne_bytes()[..], &[0; 16]].concat())
}

fn drops(statistics: &Statistics) -> Vec<u64> {
    let drop = |Row { fields, .. }: &Row| {
        let found = fields.iter().find(|(field, _)| *field == Field::named("drop"));
        found.map_or(0, |(_, value)| *value)
    };
    statistics.rows.iter().map(drop).collect()
}

fn counters(script: impl IntoIterator<Item = Next>) -> Result<Vec<u64>, SourceError> {
    Socket::new(client(script).0).statistics().map(|statistics| drops(&statistics))
}

const QUERY: Query<'static> = Query { protocol: TCP, states: u32::MAX, extensions: 0, bytecode: &[] };

fn cookies(script: impl IntoIterator<Item = Next>) -> Result<Vec<u64>, SourceError> {
    let mut cookies = Vec::new();
    Dumper::new(client(script).0).dump(QUERY, &mut |record| cookies.push(record.cookie))?;
    Ok(cookies)
}

#[test]
fn an_interrupted_dump_is_asked_for_again_and_nothing_counts_twice() {
    for torn in [row(0, 1, DUMP_INTR), (OVERRUN, MULTI, vec![])] {
        let script = [
            Says(vec![row(0, 1, MULTI)]),
            Says(vec![torn, row(1, 2, MULTI)]),
            // What follows is of no use, but has to be read.
            Says(vec![row(2, 3, MULTI)]),
            Says(vec![done()]),
            Ends,
            Says(vec![row(0, 10, MULTI), row(1, 20, MULTI)]),
            Says(vec![row(2, 30, MULTI), done()]),
        ];
        assert_eq!(counters(script).unwrap(), [10, 20, 30]);
    }
    let answer = [
        Says(vec![socket(1, MULTI), socket(2, MULTI)]),
        Says(vec![socket(3, DUMP_INTR), done()]),
        Ends,
        Says(vec![socket(2, MULTI), socket(4, MULTI)]),
        Says(vec![socket(1, DUMP_INTR), done()]),
        Ends,
        Says(vec![socket(4, MULTI), socket(1, MULTI), socket(5, MULTI), done()]),
    ];
    assert_eq!(cookies(answer).unwrap(), [1, 2, 4, 5], "each socket once");
}

#[test]
fn a_dump_of_which_the_kernel_lost_a_part_is_asked_for_again() {
    let script = [
        Says(vec![row(0, 1, MULTI)]),
        Fails(libc::ENOBUFS),
        Fails(libc::ENOBUFS),
        Says(vec![row(2, 3, MULTI), done()]),
        Ends,
        Says(vec![row(0, 10, MULTI), row(1, 20, MULTI), done()]),
    ];
    assert_eq!(counters(script).unwrap(), [10, 20]);
}

#[test]
fn a_dump_that_is_interrupted_each_time_is_an_error_that_says_so() {
    let always = (0..ATTEMPTS).flat_map(|_| [Says(vec![row(0, 1, DUMP_INTR), done()]), Ends]);
    let (client, requests) = client(always);
    let mut socket = Socket::new(client);
    let error = socket.statistics().unwrap_err();
    assert_eq!(error.reason(), Reason::Io);
    assert!(chain(&error).ends_with("the dump was interrupted 4 times"), "{}", chain(&error));
    assert_eq!(requests.borrow().len(), 4);
    let mut sequences: Vec<_> = requests.borrow().iter().map(|request| request[8..12].to_vec()).collect();
    sequences.dedup();
    assert_eq!(sequences.len(), 4, "each request has a number of its own");
}

#[test]
fn a_refusal_is_sorted_by_what_to_do_about_it() {
    let conntrack = |number| counters([Says(vec![refusal(number)])]).unwrap_err();
    assert_eq!(conntrack(libc::EPERM).reason(), Reason::Denied);
    assert_eq!(conntrack(libc::EPERM).capability(), Some("CAP_NET_ADMIN"));
    assert_eq!(conntrack(libc::EINVAL).reason(), Reason::Absent, "nf_conntrack_netlink is not loaded");
    assert_eq!(conntrack(libc::ENOMEM).reason(), Reason::Io);
    let sockets = |number| cookies([Says(vec![refusal(number)])]).unwrap_err();
    assert_eq!(sockets(libc::EPERM).reason(), Reason::Denied);
    assert_eq!(sockets(libc::ENOMEM).reason(), Reason::Io);
    // The end of a dump carries what the dump function returned.
    let ends = vec![socket(1, MULTI), (DONE, MULTI, (-libc::ENOMEM).to_ne_bytes().to_vec())];
    assert_eq!(cookies([Says(ends)]).unwrap_err().reason(), Reason::Io);
}

#[test]
fn a_kernel_that_does_not_take_both_families_at_once_is_asked_for_each() {
    for number in [libc::EOPNOTSUPP, libc::EINVAL, libc::ENOENT] {
        let script = [
            Says(vec![refusal(number)]),
            Ends,
            Says(vec![socket(1, MULTI), done()]),
            Ends,
            Says(vec![socket(2, MULTI), done()]),
            Ends,
            // The next dump does not ask for both again. This kernel has no IPv6.
            Says(vec![socket(3, MULTI), done()]),
            Ends,
            Says(vec![refusal(libc::ENOENT)]),
        ];
        let (client, requests) = client(script);
        let mut dumper = Dumper::new(client);
        let mut cookies = Vec::new();
        for _ in 0..2 {
            dumper.dump(QUERY, &mut |record| cookies.push(record.cookie)).unwrap();
        }
        assert_eq!(cookies, [1, 2, 3]);
        let kinds: Vec<u8> = requests.borrow().iter().map(|request| request[4]).collect();
        assert_eq!(kinds, [18, 20, 20, 20, 20]);
    }
    let absent = [Says(vec![refusal(libc::ENOENT)]), Ends, Says(vec![refusal(libc::ENOENT)])];
    assert_eq!(cookies(absent).unwrap_err().reason(), Reason::Absent, "neither way");
}

#[test]
fn a_short_answer_is_an_error_and_the_next_request_is_answered() {
    let whole = vec![row(0, 1, MULTI)];
    let length = 16 + 4 + 8;
    for cut in 1..length {
        let script = [
            Cuts(whole.clone(), cut),
            Says(vec![row(1, 2, MULTI), done()]),
            Ends,
            Says(vec![row(0, 5, MULTI), done()]),
        ];
        let mut socket = Socket::new(client(script).0);
        let error = socket.statistics().unwrap_err();
        assert_eq!(error.reason(), Reason::Parse, "{cut} bytes: {}", chain(&error));
        assert_eq!(drops(&socket.statistics().unwrap()), [5], "after {cut} bytes");
    }
    assert_eq!(counters([Says(vec![done()])]).unwrap_err().reason(), Reason::Parse, "no CPU at all");
}

#[test]
fn silence_is_a_time_out_and_what_comes_late_is_not_taken_for_an_answer() {
    let script = [
        Says(vec![row(0, 1, MULTI)]),
        Ends,
        SaysLate(vec![row(0, 9, MULTI), done()]),
        Says(vec![row(0, 5, MULTI)]),
        SaysLate(vec![refusal(libc::EPERM)]),
        Says(vec![done()]),
    ];
    let mut socket = Socket::new(client(script).0);
    assert_eq!(socket.statistics().unwrap_err().reason(), Reason::Timeout);
    assert_eq!(drops(&socket.statistics().unwrap()), [5]);
}

#[test]
fn an_answer_without_end_is_given_up() {
    let endless = (0..1000).map(|_| Says(vec![socket(1, MULTI)]));
    let kernel = Kernel { script: Rc::new(RefCell::new(endless.collect())), ..Kernel::default() };
    let mut dumper = Dumper::new(Client::new(kernel, Duration::ZERO));
    let mut taken = 0;
    let error = dumper.dump(QUERY, &mut |_| taken += 1).unwrap_err();
    assert_eq!((error.reason(), taken), (Reason::Timeout, 1));
}

#[test]
fn an_answer_that_has_no_end_of_its_own_ends_with_what_was_asked_for() {
    let mut entries = vec![0; 4];
    push_attribute(&mut entries, 1, &7u32.to_be_bytes()).unwrap();
    let script = [Says(vec![(0x0105, MULTI, entries)]), Ends, Says(vec![row(0, 5, MULTI), done()])];
    let mut socket = Socket::new(client(script).0);
    assert_eq!(socket.global().unwrap().entries, Some(7));
    assert_eq!(drops(&socket.statistics().unwrap()), [5]);
}
