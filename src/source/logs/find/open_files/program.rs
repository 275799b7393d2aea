//! By a pass over the files of all tasks in the kernel: `bpf/files.bpf.c`.

use super::{OpenFile, Owners};
use crate::host::bpf::{self, Loader, Programs, include_bytes_aligned};
use crate::reading::SourceError;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The object that `make bpf` makes of `bpf/files.bpf.c`.
static OBJECT: &[u8] = include_bytes_aligned!("../../../../../bpf/files.bpf.o");

/// The iterator.
const PROGRAM: &str = "open_files";

/// Files that one pass finds, at most.
const MAX_FILES: usize = 100_000;

/// The program, which the kernel took.
pub(super) struct Program(Programs);

impl Program {
    /// Loads it, where this process may. The error says why there is none.
    pub(super) fn load() -> Result<Self, SourceError> {
        bpf::permitted()?;
        let mut loader = Loader::new(OBJECT, |_| Vec::new(), &[])?;
        loader.iterator(PROGRAM, "task_file");
        let programs = loader.finish();
        match programs.refused(PROGRAM) {
            Some(error) => Err(error.again("finding open files (Linux 5.12)")),
            None => Ok(Self(programs)),
        }
    }

    /// What is open now, each inode once.
    pub(super) fn pass(&mut self, owners: &mut Owners<'_>) -> Result<Vec<OpenFile>, SourceError> {
        let (mut records, mut seen, mut found) = (Records::default(), HashSet::new(), Vec::new());
        self.0.pass(PROGRAM, |piece| {
            records.push(piece, |record| {
                if found.len() >= MAX_FILES || seen.contains(&(record.device, record.inode)) {
                    return;
                }
                let container = owners.of_group(record.group, record.pid);
                if let Some(container) = container.filter(|_| super::is_log(&record.path)) {
                    seen.insert((record.device, record.inode));
                    let Record { pid, descriptor, inode, path, .. } = record;
                    found.push(OpenFile { container, pid, descriptor, inode, path });
                }
            });
        })?;
        Ok(found)
    }
}

/// `struct open_file`, without the path.
const HEADER: usize = 32;

/// A descriptor that a task has, as the kernel tells it.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    group: u64,
    inode: u64,
    device: u32,
    pid: u32,
    descriptor: u32,
    path: PathBuf,
}

/// Records from pieces (pure).
#[derive(Default)]
struct Records(Vec<u8>);

impl Records {
    /// Takes the next piece, and gives the records that are complete.
    fn push(&mut self, piece: &[u8], mut take: impl FnMut(Record)) {
        self.0.extend_from_slice(piece);
        let mut rest = &*self.0;
        while let Some((record, after)) = parse(rest) {
            rest = after;
            take(record);
        }
        let kept = rest.len();
        self.0.drain(..self.0.len() - kept);
    }
}

fn parse(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
    let wide = |offset: usize| Some(u64::from_ne_bytes(*header.get(offset..)?.first_chunk()?));
    let number = |offset: usize| Some(u32::from_ne_bytes(*header.get(offset..)?.first_chunk()?));
    let length = usize::try_from(number(28)?).ok()?;
    let (path, after) = rest.split_at_checked(length)?;
    let path = path.strip_suffix(b"\0").unwrap_or(path);
    let record = Record {
        group: wide(0)?,
        inode: wide(8)?,
        device: number(16)?,
        pid: number(20)?,
        descriptor: number(24)?,
        path: OsStr::from_bytes(path).into(),
    };
    Some((record, after))
}

#[cfg(test)]
mod tests {
    use super::{Record, Records};

    fn bytes(pid: u32, path: &str) -> Vec<u8> {
        let mut bytes = [7_u64.to_ne_bytes(), 8_u64.to_ne_bytes()].concat();
        for number in [9, pid, 3, u32::try_from(path.len()).unwrap() + 1] {
            bytes.extend_from_slice(&number.to_ne_bytes());
        }
        bytes.extend_from_slice(path.as_bytes());
        bytes.push(0);
        bytes
    }

    #[test]
    fn records_may_come_in_any_pieces() {
        let record =
            |pid, path: &str| Record { group: 7, inode: 8, device: 9, pid, descriptor: 3, path: path.into() };
        let all = [bytes(1, "/var/log/a.log"), bytes(2, "/var/log/b")].concat();
        for length in 1..all.len() {
            let (mut records, mut found) = (Records::default(), Vec::new());
            for piece in all.chunks(length) {
                records.push(piece, |record| found.push(record));
            }
            assert_eq!(found, [record(1, "/var/log/a.log"), record(2, "/var/log/b")]);
            assert!(records.0.is_empty());
        }
    }
}
