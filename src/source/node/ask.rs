//! Reads the files and asks the kernel; which disks and interfaces are wanted.

use super::addresses::{self, Address};
use super::diskstats::{self, Disk, DiskTotals};
use super::meminfo::{self, Memory};
use super::metrics::{MOST_ADDRESSES, MOST_DISKS, MOST_INTERFACES};
use super::stat::{self, Stat};
use super::text::Malformed;
use super::wanted::Wanted;
use crate::netlink::{self, Client, Link, RequestError};
use crate::reading::SourceError;
use crate::text::bounded_unique_bytes;
use std::collections::HashMap;
use std::path::Path;

pub(super) const STAT: &str = "/proc/stat";
pub(super) const MEMINFO: &str = "/proc/meminfo";
pub(super) const UPTIME: &str = "/proc/uptime";
pub(super) const DISKSTATS: &str = "/proc/diskstats";
pub(super) const BLOCK: &str = "/sys/block";

/// Most that is read of a file: the lines of 8192 CPUs, or of 20,000 disks and partitions.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Most bytes of the name of an interface; the kernel's have fewer (`IFNAMSIZ`).
const LONGEST_NAME: usize = 64;

/// Reads a file, and parses it.
fn read<T>(path: &str, parse: impl FnOnce(&str) -> Result<T, Malformed>) -> Result<T, SourceError> {
    let doing = || format!("reading {path}");
    let text = crate::sys::read_limited(path, MAX_FILE_BYTES)
        .map_err(|cause| SourceError::from_io(doing(), "the permission to read it", cause))?;
    parse(&text).map_err(|cause| SourceError::parse(doing(), cause))
}

pub(super) fn stat() -> Result<Stat, SourceError> {
    read(STAT, stat::parse)
}

pub(super) fn memory() -> Result<Memory, SourceError> {
    read(MEMINFO, meminfo::parse)
}

pub(super) fn uptime() -> Result<f64, SourceError> {
    read(UPTIME, stat::uptime)
}

/// What was chosen, and how many more there are.
#[derive(Debug, Default)]
pub(super) struct Selection<T> {
    pub(super) all: Vec<T>,
    pub(super) left_out: usize,
    /// What is to be logged of names that are not there.
    pub(super) missing: Option<String>,
}

impl<T> Selection<T> {
    fn new(mut all: Vec<T>, most: usize, missing: Option<String>) -> Self {
        let left_out = all.len().saturating_sub(most);
        all.truncate(most);
        Self { all, left_out, missing }
    }
}

/// The disks, and what is remembered of each.
#[derive(Debug)]
pub(super) struct Disks {
    pub(super) wanted: Wanted,
    known: HashMap<String, KnownDisk>,
}

#[derive(Debug)]
struct KnownDisk {
    device: (u64, u64),
    wanted: bool,
    totals: DiskTotals,
}

impl Disks {
    /// Those with these names; all that are real where there is none.
    pub(super) fn new(wanted: &[String]) -> Self {
        Self { wanted: Wanted::new("disks", wanted), known: HashMap::new() }
    }

    /// Reads the file, and unwraps what is wanted of it.
    pub(super) fn read(&mut self) -> Result<Selection<Disk>, SourceError> {
        let mut disks = read(DISKSTATS, diskstats::parse)?;
        let Self { wanted: names, known } = self;
        let missing = names.missing(disks.iter().map(|disk| disk.name.as_str()));
        // What has gone may come back as another disk.
        known.retain(|name, disk| disks.iter().any(|now| now.name == *name && now.device == disk.device));
        disks.retain_mut(|disk| {
            let known = known.entry(disk.name.clone()).or_insert_with(|| KnownDisk {
                device: disk.device,
                wanted: is_wanted(names, &disk.name),
                totals: DiskTotals::default(),
            });
            if known.wanted {
                known.totals.unwrap(disk);
            }
            known.wanted
        });
        Ok(Selection::new(disks, MOST_DISKS, missing))
    }
}

fn is_wanted(names: &Wanted, disk: &str) -> bool {
    if names.is_empty() { is_real(Path::new(BLOCK), disk) } else { names.has(disk) }
}

/// Whether a disk has a device behind it, or is put together from such (device mapper, md). Partitions, loop devices and
/// memory (zram, ram) have and are not. A slash in a name is `!` in sysfs.
fn is_real(block: &Path, disk: &str) -> bool {
    let directory = block.join(disk.replace('/', "!"));
    ["device", "dm", "md"].iter().any(|entry| directory.join(entry).exists())
}

/// An interface with its addresses.
#[derive(Debug)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) link: Link,
    pub(super) addresses: Vec<Address>,
}

/// Asks for the network interfaces of the agent's network namespace.
#[derive(Debug)]
pub(super) struct Interfaces {
    pub(super) wanted: Wanted,
    client: Option<Client>,
}

impl Interfaces {
    /// Those with these names; all that are the machine's own where there is none.
    pub(super) fn new(wanted: &[String]) -> Self {
        Self { wanted: Wanted::new("interfaces", wanted), client: None }
    }

    /// Asks for interfaces and addresses. After an error the socket is opened again the next time.
    pub(super) fn read(&mut self) -> Result<Selection<Interface>, SourceError> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => Client::open(None, "route")?,
        };
        let failed = |error: RequestError| {
            error.into_source("asking the kernel for network interfaces".to_owned(), &[])
        };
        let links = client.rows(netlink::links_request, netlink::parse_links).map_err(failed)?;
        let addresses = client.rows(addresses::request, addresses::parse).map_err(failed)?;
        self.client = Some(client);
        let mut room = MOST_ADDRESSES;
        let mut interfaces: Vec<Interface> = Vec::new();
        for link in links {
            let name = bounded_unique_bytes(&link.name, LONGEST_NAME);
            let own = || addresses.iter().filter(|address| address.index == link.index);
            if self.wants(&link, &name, own().next().is_some()) {
                let own: Vec<Address> = own().copied().take(room).collect();
                room -= own.len();
                interfaces.push(Interface { name, link, addresses: own });
            }
        }
        // What is wanted is all that was taken.
        let missing = self.wanted.missing(interfaces.iter().map(|interface| interface.name.as_str()));
        Ok(Selection::new(interfaces, MOST_INTERFACES, missing))
    }

    /// The end of a veth pair that leads into a container has no address; that of a machine which is a container has.
    fn wants(&self, link: &Link, name: &str, has_address: bool) -> bool {
        if self.wanted.is_empty() {
            !link.loopback && (!link.other_netns || has_address)
        } else {
            self.wanted.has(name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_real;

    #[test]
    fn real_disks_have_a_device_or_are_put_together_from_disks() {
        let root = tempfile::tempdir().unwrap();
        for entry in ["sda/device", "dm-0/dm", "md0/md", "cciss!c0d0/device", "loop0/queue", "zram0/queue"] {
            std::fs::create_dir_all(root.path().join(entry)).unwrap();
        }
        let real = |disk| is_real(root.path(), disk);
        assert!(["sda", "dm-0", "md0", "cciss/c0d0"].into_iter().all(real));
        assert!(!["sda1", "loop0", "zram0", "gone", ".."].into_iter().any(real));
    }
}
