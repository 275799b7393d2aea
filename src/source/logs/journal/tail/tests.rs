//! Journals that no journald of this machine writes: other compressions, corrupt ones.

use super::{Entry, JournalTail};
use crate::source::logs::severity::Severity;
use proptest::prelude::*;

/// A file with 64-bit offsets, whose arrays of entries have room for two.
struct Journal {
    bytes: Vec<u8>,
    arrays: Vec<usize>,
    entries: u64,
}

impl Journal {
    fn new() -> Self {
        let mut bytes = vec![0; 264];
        bytes[..8].copy_from_slice(b"LPKSHHRH");
        Self { bytes, arrays: Vec::new(), entries: 0 }
    }

    fn put(&mut self, at: usize, number: usize) {
        self.bytes[at..at + 8].copy_from_slice(&(number as u64).to_le_bytes());
    }

    fn object(&mut self, kind: u8, flags: u8, head: usize, rest: &[u8]) -> usize {
        let at = self.bytes.len();
        self.bytes.resize(at + head, 0);
        self.bytes.extend_from_slice(rest);
        self.bytes[at] = kind;
        self.bytes[at + 1] = flags;
        self.put(at + 8, head + rest.len());
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        self.put(136, at);
        at
    }

    fn data(&mut self, flags: u8, payload: &[u8]) -> usize {
        self.object(1, flags, 64, payload)
    }

    fn entry(&mut self, data: &[usize]) -> usize {
        let items: Vec<u8> = data.iter().flat_map(|at| [*at as u64, 0]).flat_map(u64::to_le_bytes).collect();
        let at = self.object(3, 0, 64, &items);
        let index = usize::try_from(self.entries % 2).unwrap();
        if index == 0 {
            let array = self.object(6, 0, 24, &[0; 16]);
            match self.arrays.last() {
                Some(last) => self.put(last + 16, array),
                None => self.put(176, array),
            }
            self.arrays.push(array);
        }
        self.put(self.arrays.last().unwrap() + 24 + index * 8, at);
        self.entries += 1;
        self.put(152, usize::try_from(self.entries).unwrap());
        at
    }

    fn entries(&self) -> Vec<Result<Entry, u64>> {
        read(&self.bytes).unwrap_or_default()
    }
}

fn read(bytes: &[u8]) -> Option<Vec<Result<Entry, u64>>> {
    let mut tail = JournalTail::new(bytes).ok()?;
    let mut found = Vec::new();
    while tail.more() {
        found.push(tail.next_entry().ok()?);
    }
    Some(found)
}

/// A block of LZ4 that is all literals, after the size, as systemd writes it.
fn lz4(payload: &[u8]) -> Vec<u8> {
    assert!((15..15 + 255).contains(&payload.len()));
    let mut packed = (payload.len() as u64).to_le_bytes().to_vec();
    packed.extend([0xf0, u8::try_from(payload.len() - 15).unwrap()]);
    packed.extend_from_slice(payload);
    packed
}

#[test]
fn data_is_read_in_each_way_that_it_may_be_compressed() {
    let mut journal = Journal::new();
    let group = journal.data(0, b"_SYSTEMD_CGROUP=/system.slice/web.service");
    let priority = journal.data(0, b"PRIORITY=3");
    let text = b"MESSAGE=order 1 failed: no connection";
    for (flags, payload) in [(0, text.to_vec()), (2, lz4(text)), (4, zstd::encode_all(&text[..], 0).unwrap())]
    {
        let message = journal.data(flags, &payload);
        journal.entry(&[group, priority, message]);
    }
    for entry in journal.entries() {
        let entry = entry.unwrap();
        assert_eq!(entry.message.as_deref(), Some(&text[8..]));
        assert_eq!(entry.group.as_deref(), Some("/system.slice/web.service"));
        assert_eq!((entry.priority, entry.lost, entry.passed), (Some(Severity::Error), 0, 0));
    }
    assert_eq!(journal.entries().len(), 3);
}

#[test]
fn what_is_compressed_in_another_way_is_lost_and_the_next_entry_is_read() {
    let mut journal = Journal::new();
    let broken: [(u8, &[u8]); 4] =
        [(1, b"by XZ"), (2, b"\xff\xff\xff\xff\xff\xff\xff\xff"), (4, b"no frame of zstd"), (6, b"both")];
    for (flags, payload) in broken {
        let message = journal.data(flags, payload);
        journal.entry(&[message]);
        let message = journal.data(0, b"MESSAGE=next");
        journal.entry(&[message]);
        let [.., lost, next] = &journal.entries()[..] else { panic!("{flags}") };
        assert_eq!(lost.as_ref().unwrap().lost, payload.len() as u64);
        assert_eq!(next.as_ref().unwrap().message.as_deref(), Some(&b"next"[..]));
    }
}

#[test]
fn of_a_message_of_any_length_the_beginning_is_kept_and_the_rest_counted() {
    let long = [&b"MESSAGE="[..], &vec![b'x'; 300_000]].concat();
    let mut journal = Journal::new();
    for (flags, payload) in [(0, long.clone()), (4, zstd::encode_all(&long[..], 0).unwrap())] {
        let message = journal.data(flags, &payload);
        journal.entry(&[message]);
        let entry = journal.entries().pop().unwrap().unwrap();
        assert_eq!((entry.message.unwrap().len(), entry.passed), (65_536, 300_000 - 65_536));
    }
}

#[test]
fn an_entry_that_is_corrupt_is_lost_alone_and_an_array_that_is_ends_the_file() {
    let mut journal = Journal::new();
    let message = journal.data(0, b"MESSAGE=x");
    let entries: Vec<usize> = (0..4).map(|_| journal.entry(&[message])).collect();
    journal.bytes[entries[1]] = 0;
    let kinds: Vec<bool> = journal.entries().iter().map(Result::is_ok).collect();
    assert_eq!(kinds, [true, false, true, true]);
    // A circle of arrays is none that goes on for ever.
    journal.put(journal.arrays[1] + 16, journal.arrays[0]);
    journal.put(152, 1_000_000);
    assert_eq!(read(&journal.bytes), None);
    let mut tail = JournalTail::new(&journal.bytes[..]).unwrap();
    assert!(tail.pass().is_err());
}

#[test]
fn what_is_there_is_passed_over() {
    let mut journal = Journal::new();
    let message = journal.data(0, b"MESSAGE=x");
    for count in 0..7 {
        let mut tail = JournalTail::new(&journal.bytes[..]).unwrap();
        tail.pass().unwrap();
        assert_eq!((tail.more(), tail.lag()), (false, 0), "{count}");
        let position = tail.position();
        let mut longer = Journal { bytes: journal.bytes.clone(), arrays: journal.arrays.clone(), ..journal };
        longer.entry(&[message]);
        let mut tail = JournalTail::new(&longer.bytes[..]).unwrap();
        tail.back(position);
        assert!(tail.more() && tail.next_entry().unwrap().is_ok() && !tail.more());
        journal = longer;
    }
}

proptest! {
    #[test]
    fn a_journal_with_any_bytes_in_it_is_read_or_refused(
        changes in proptest::collection::vec((0usize..2000, any::<u8>()), 1..12),
        cut in 0usize..2000,
    ) {
        let mut journal = Journal::new();
        let priority = journal.data(0, b"PRIORITY=3");
        for number in 0..6 {
            let message = journal.data(2 * (number % 2), &lz4(format!("MESSAGE=order {number} failed").as_bytes()));
            journal.entry(&[priority, message]);
        }
        // As many as the number says are looked for.
        journal.bytes[155..160].fill(0);
        for (at, byte) in changes {
            let at = at % journal.bytes.len();
            if !(154..160).contains(&at) {
                journal.bytes[at] = byte;
            }
        }
        journal.bytes.truncate(journal.bytes.len().saturating_sub(cut % 600));
        read(&journal.bytes);
        if let Ok(mut tail) = JournalTail::new(&journal.bytes[..]) {
            let _passed_or_not = tail.pass();
        }
    }
}
