//! Block devices by their numbers: what the kernel calls them, and the disk that a partition is on, from the links in
//! `/sys/dev/block`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Name of a block device, and of the directory that its own is in, by the target of its link (pure). For a partition that
/// is its disk: `…/block/sda/sda1`, `…/nvme/nvme0/nvme0n1/nvme0n1p1`.
pub fn parse(target: &str) -> Option<(&str, &str)> {
    let mut names = target.rsplit('/');
    let (name, parent) = (names.next()?, names.next()?);
    (!name.is_empty() && !parent.is_empty()).then_some((name, parent))
}

/// The names of block devices, looked up once a cycle: a number may be another device's later.
#[derive(Debug)]
pub(super) struct Devices {
    links: PathBuf,
    names: HashMap<(u32, u32), Device>,
}

/// What a block device is called.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) name: Arc<str>,
    /// The disk that it is, or is a part of.
    pub(super) disk: Arc<str>,
}

impl Default for Devices {
    fn default() -> Self {
        Self { links: "/sys/dev/block".into(), names: HashMap::new() }
    }
}

impl Devices {
    /// Forgets all names.
    pub(super) fn begin(&mut self) {
        self.names.clear();
    }

    /// What a block device is called; its number where sysfs does not have it.
    pub(super) fn of(&mut self, number: (u32, u32)) -> &Device {
        let Self { links, names } = self;
        names.entry(number).or_insert_with(|| look(links, number))
    }
}

fn look(links: &Path, (major, minor): (u32, u32)) -> Device {
    let number = format!("{major}:{minor}");
    let link = links.join(&number);
    let target = std::fs::read_link(&link).ok();
    let (name, disk) = match target.as_deref().and_then(Path::to_str).and_then(parse) {
        // Only a partition has this file.
        Some((name, disk)) if link.join("partition").exists() => (name, disk),
        Some((name, _)) => (name, name),
        None => (number.as_str(), number.as_str()),
    };
    // A slash in a device's name is `!` in sysfs (`cciss!c0d0`).
    let [name, disk] = [name, disk].map(|name| Arc::from(name.replace('!', "/")));
    Device { name, disk }
}

#[cfg(test)]
mod tests {
    use super::{Devices, parse};

    #[test]
    fn a_device_is_the_last_name_of_its_path_and_its_disk_the_one_before() {
        let partition = "../../devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda/sda1";
        assert_eq!(parse(partition), Some(("sda1", "sda")));
        assert_eq!(
            parse("../../devices/pci0000:00/nvme/nvme0/nvme0n1/nvme0n1p1"),
            Some(("nvme0n1p1", "nvme0n1"))
        );
        for (end, _) in partition.char_indices() {
            let _name_or_not = parse(partition.get(..end).unwrap());
        }
    }

    #[test]
    fn a_partition_is_on_its_disk_and_a_device_without_a_link_goes_by_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for path in ["devices/block/cciss!c0d0/cciss!c0d0p1", "links"] {
            std::fs::create_dir_all(at(path)).unwrap();
        }
        std::fs::write(at("devices/block/cciss!c0d0/cciss!c0d0p1/partition"), "1\n").unwrap();
        std::fs::create_dir_all(at("devices/virtual/block/dm-0/slaves")).unwrap();
        std::os::unix::fs::symlink("../devices/virtual/block/dm-0", at("links/253:0")).unwrap();
        let disk = "../devices/block/cciss!c0d0";
        std::os::unix::fs::symlink(disk, at("links/104:0")).unwrap();
        std::os::unix::fs::symlink(format!("{disk}/cciss!c0d0p1"), at("links/104:1")).unwrap();
        let mut devices = Devices { links: at("links"), ..Devices::default() };
        let mut names = |number| {
            let device = devices.of(number);
            [device.name.to_string(), device.disk.to_string()]
        };
        assert_eq!(names((104, 0)), ["cciss/c0d0", "cciss/c0d0"]);
        assert_eq!(names((104, 1)), ["cciss/c0d0p1", "cciss/c0d0"]);
        // A device mapper is a disk of its own, whatever it is put together from.
        assert_eq!(names((253, 0)), ["dm-0", "dm-0"]);
        assert_eq!(names((9, 1)), ["9:1", "9:1"]);
    }
}
