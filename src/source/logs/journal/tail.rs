//! Following one journal file: the entries that come, and what of their fields matters.
//!
//! Who writes a journal makes an entry, puts it into the array and then raises the number of entries in the header
//! (`journal_file_link_entry()` of systemd), so that as many as the header says can be read at any time. A file is read and
//! never mapped: one that is cut off is an error, and no signal.

use super::object::{self, Compression, DataObject, FormatError, JournalHeader};
use super::unpack::{PACKED, unpack};
use crate::source::logs::frame::LONGEST;
use crate::source::logs::severity::{Severity, of_number};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Bytes that are read of an object at first: the whole of nearly all.
const FIRST: usize = 512;

/// Data of which it is remembered what they are.
const REMEMBERED: usize = 1024;

/// Longest path of a control group or name of a unit.
const NAME: u64 = 4096;

/// Something to read from: a file, or bytes in memory.
pub trait ReadAt {
    /// Reads up to the length of the buffer; less at the end only.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match FileExt::read_at(self, rest, offset.saturating_add(read as u64)) {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }
}

impl ReadAt for &[u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let from = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let count = from.len().min(buffer.len());
        if let (Some(into), Some(from)) = (buffer.get_mut(..count), from.get(..count)) {
            into.copy_from_slice(from);
        }
        Ok(count)
    }
}

/// Contents of one entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// When it was written, in microseconds since 1970.
    pub time: u64,
    /// `_SYSTEMD_CGROUP`: the control group of who wrote it.
    pub group: Option<Arc<str>>,
    /// `_SYSTEMD_UNIT`: the unit of who wrote it.
    pub unit: Option<Arc<str>>,
    /// `PRIORITY`.
    pub priority: Option<Severity>,
    /// Whether an engine wrote it for a container (`CONTAINER_ID_FULL`): it is not a message of the engine.
    pub of_container: bool,
    /// The first 64 KiB of `MESSAGE`.
    pub message: Option<Vec<u8>>,
    /// Bytes of the message that follow.
    pub passed: u64,
    /// Bytes of data that could not be read.
    pub lost: u64,
}

/// What data is, as far as it matters.
#[derive(Debug, Clone)]
enum Field {
    Message,
    Priority(Option<Severity>),
    Group(Arc<str>),
    Unit(Arc<str>),
    Container,
    Other,
}

/// Where the reading of a file is.
#[derive(Debug, Clone, Copy, Default)]
pub struct TailPosition {
    /// The array, and how many entries it has room for; 0 before the first.
    array: u64,
    room: u64,
    /// The next item in it.
    index: u64,
    /// Entries that were read.
    read: u64,
    /// Where the last entry began that was read.
    last: u64,
}

/// A file that is followed.
#[derive(Debug)]
pub struct JournalTail<R> {
    from: R,
    header: JournalHeader,
    position: TailPosition,
    fields: HashMap<u64, Field>,
}

impl<R: ReadAt> JournalTail<R> {
    /// Begins at the first entry.
    pub fn new(from: R) -> Result<Self, FormatError> {
        let header = header(&from)?;
        Ok(Self { from, header, position: TailPosition::default(), fields: HashMap::new() })
    }

    /// The header as it was at the last look.
    pub fn header(&self) -> &JournalHeader {
        &self.header
    }

    /// The file that entries are read from.
    pub fn from(&self) -> &R {
        &self.from
    }

    /// Looks at the header again.
    pub fn read_header(&mut self) -> Result<(), FormatError> {
        self.header = header(&self.from)?;
        Ok(())
    }

    /// Whether there are entries that were not read.
    pub fn more(&self) -> bool {
        self.position.read < self.header.entries
    }

    /// Bytes of the file that were not read, about.
    pub fn lag(&self) -> u64 {
        if self.more() { self.header.tail.saturating_sub(self.position.last) } else { 0 }
    }

    /// Where the reading is.
    pub fn position(&self) -> TailPosition {
        self.position
    }

    /// Goes back to where the reading was.
    pub fn back(&mut self, position: TailPosition) {
        self.position = position;
    }

    /// Passes over all entries there are.
    pub fn pass(&mut self) -> Result<(), FormatError> {
        while self.more() {
            self.arrive()?;
            let here =
                (self.position.room - self.position.index).min(self.header.entries - self.position.read);
            self.position.index += here;
            self.position.read += here;
        }
        self.position.last = self.header.tail;
        Ok(())
    }

    /// The next entry. The outer error ends the file: what follows cannot be found. The inner one is of this entry alone;
    /// it says how many bytes that is.
    pub fn next_entry(&mut self) -> Result<Result<Entry, u64>, FormatError> {
        self.arrive()?;
        let compact = self.header.compact;
        let item = object::item(compact);
        let mut place = [0; 8];
        let at = self
            .position
            .index
            .saturating_mul(item)
            .saturating_add(self.position.array + object::ARRAY as u64);
        read(&self.from, &mut place, at)?;
        let place = object::place(&place, compact).unwrap_or_default();
        self.position.index += 1;
        self.position.read += 1;
        let before = self.position.last;
        self.position.last = before.max(place);
        // An entry that cannot be read takes the room up to where it begins.
        Ok(self.entry(place).map_err(|_| place.saturating_sub(before).clamp(object::ENTRY as u64, PACKED)))
    }

    /// Makes sure that the next entry is in the array that is looked at.
    fn arrive(&mut self) -> Result<(), FormatError> {
        while self.position.index >= self.position.room {
            let next =
                if self.position.array == 0 { self.header.array } else { self.array(self.position.array)?.1 };
            // Arrays are made one after the other, so that a circle cannot be.
            if next <= self.position.array {
                return Err(FormatError::Object("an array of entries"));
            }
            let (room, _) = self.array(next)?;
            self.position = TailPosition { array: next, room, index: 0, ..self.position };
        }
        Ok(())
    }

    fn array(&self, at: u64) -> Result<(u64, u64), FormatError> {
        let mut bytes = [0; object::ARRAY];
        let count = read(&self.from, &mut bytes, at)?;
        object::array(bytes.get(..count).unwrap_or_default(), self.header.compact)
    }

    fn entry(&mut self, at: u64) -> Result<Entry, FormatError> {
        let mut first = [0; 2 * FIRST];
        let count = read(&self.from, &mut first, at)?;
        let first = first.get(..count).unwrap_or_default();
        let size = object::entry(first)?;
        let whole;
        let bytes = if let Some(bytes) = first.get(..size) {
            bytes
        } else {
            whole = self.bytes(at, size)?;
            &whole
        };
        let mut entry = Entry { time: object::time(bytes).unwrap_or_default(), ..Entry::default() };
        let mut unread = 0;
        for at in object::data_of(bytes, self.header.compact) {
            match self.field(at, &mut entry) {
                Ok(Field::Priority(severity)) => entry.priority = severity,
                Ok(Field::Group(group)) => entry.group = Some(group),
                Ok(Field::Unit(unit)) => entry.unit = Some(unit),
                Ok(Field::Container) => entry.of_container = true,
                Ok(_) => {}
                Err(bytes) => unread += bytes,
            }
        }
        if entry.message.is_none() {
            entry.lost = unread;
        }
        Ok(entry)
    }

    /// What data is; the message is put into the entry. The error says how many bytes could not be read.
    fn field(&mut self, at: u64, entry: &mut Entry) -> Result<Field, u64> {
        if let Some(field) = self.fields.get(&at) {
            return Ok(field.clone());
        }
        let mut first = [0; FIRST];
        let count = read(&self.from, &mut first, at).map_err(|_| object::ENTRY as u64)?;
        let first = first.get(..count).unwrap_or_default();
        let data = object::data(first, self.header.compact).map_err(|_| object::ENTRY as u64)?;
        let field = self.told(at, first, data, entry).ok_or(data.length.min(PACKED))?;
        if data.shared && !matches!(field, Field::Message) {
            if self.fields.len() >= REMEMBERED {
                self.fields.clear();
            }
            self.fields.insert(at, field.clone());
        }
        Ok(field)
    }

    fn told(&self, at: u64, first: &[u8], data: DataObject, entry: &mut Entry) -> Option<Field> {
        const MESSAGE: &[u8] = b"MESSAGE=";
        let head = first.get(data.payload..)?;
        let known = data.packed != Compression::No || NAMES.iter().any(|name| head.starts_with(name));
        if !known {
            return Some(Field::Other);
        }
        // As much of the payload as is wanted: of a longer message the beginning.
        let most = MESSAGE.len() + LONGEST;
        let wanted = if data.packed == Compression::No { data.length.min(most as u64) } else { data.length };
        let wanted = usize::try_from(wanted).ok().filter(|wanted| *wanted as u64 <= PACKED)?;
        let rest;
        let payload = if let Some(payload) = head.get(..wanted) {
            payload
        } else {
            rest = self.bytes(at + data.payload as u64, wanted).ok()?;
            &rest
        };
        let (value, mut passed) = unpack(payload, data.packed, most)?;
        passed += if data.packed == Compression::No { data.length - wanted as u64 } else { 0 };
        let (name, value) = value.split_at(value.iter().position(|byte| *byte == b'=')? + 1);
        let text = || {
            let short = passed == 0 && value.len() as u64 <= NAME;
            short.then(|| std::str::from_utf8(value).ok().map(Arc::from)).flatten()
        };
        Some(match name {
            MESSAGE => {
                entry.message = Some(value.to_vec());
                entry.passed = passed;
                Field::Message
            }
            b"PRIORITY=" => Field::Priority(match value {
                [digit @ b'0'..=b'7'] => Some(of_number(u64::from(digit - b'0'))),
                _ => None,
            }),
            b"_SYSTEMD_CGROUP=" => Field::Group(text()?),
            b"_SYSTEMD_UNIT=" => Field::Unit(text()?),
            b"CONTAINER_ID_FULL=" => Field::Container,
            _ => Field::Other,
        })
    }

    fn bytes(&self, at: u64, count: usize) -> Result<Vec<u8>, FormatError> {
        let mut bytes = vec![0; count];
        if read(&self.from, &mut bytes, at)? == count {
            Ok(bytes)
        } else {
            Err(FormatError::Object("cut off"))
        }
    }
}

/// The names of fields that matter.
const NAMES: [&[u8]; 5] =
    [b"MESSAGE=", b"PRIORITY=", b"_SYSTEMD_CGROUP=", b"_SYSTEMD_UNIT=", b"CONTAINER_ID_FULL="];

fn header(from: &impl ReadAt) -> Result<JournalHeader, FormatError> {
    let mut bytes = [0; object::HEADER];
    let count = read(from, &mut bytes, 0)?;
    object::header(bytes.get(..count).unwrap_or_default())
}

fn read(from: &impl ReadAt, buffer: &mut [u8], at: u64) -> Result<usize, FormatError> {
    from.read_at(buffer, at).map_err(|_| FormatError::Object("not readable"))
}

#[cfg(test)]
mod tests;
