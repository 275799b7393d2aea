//! The readings of the node, under the names of the conventions and under those of coroot-node-agent.
//!
//! Both are always observed: the exporter of each profile has the instruments of its own names only.

use super::ask::{Interface, Selection};
use super::diskstats::{Direction, Disk};
use super::meminfo::Memory;
use super::metrics;
use super::stat::{MODES, Ticks, seconds};
use crate::metric::{Counter, Label, Labels};
use crate::reading::Readings;
use std::sync::Arc;

/// Modes of CPU time in the words of the conventions, in the order of [`MODES`]: they have one word for both kinds of
/// interrupts.
const CONVENTIONAL: [&str; MODES.len()] =
    ["user", "nice", "system", "idle", "iowait", "interrupt", "interrupt", "steal"];

/// Labels that every series has.
pub(super) struct Observer {
    machine: Arc<str>,
}

/// The classic handles of one direction of a disk.
struct ClassicDisk {
    operations: Counter<u64>,
    bytes: Counter<u64>,
    time: Counter<f64>,
}

const READ: ClassicDisk = ClassicDisk {
    operations: metrics::NODE_CLASSIC_DISK_READS,
    bytes: metrics::NODE_CLASSIC_DISK_READ_BYTES,
    time: metrics::NODE_CLASSIC_DISK_READ_TIME,
};
const WRITE: ClassicDisk = ClassicDisk {
    operations: metrics::NODE_CLASSIC_DISK_WRITES,
    bytes: metrics::NODE_CLASSIC_DISK_WRITTEN_BYTES,
    time: metrics::NODE_CLASSIC_DISK_WRITE_TIME,
};

impl Observer {
    /// For a machine with this id.
    pub(super) fn new(machine: Arc<str>) -> Self {
        Self { machine }
    }

    /// The labels of a classic series that has one of its own.
    fn classic(&self, label: Label, value: &Arc<str>) -> Labels {
        Labels::new(vec![(label, Arc::clone(value)), (Label::ClassicMachineId, Arc::clone(&self.machine))])
    }

    pub(super) fn cpu(&self, ticks: &Ticks, cpus: u64, out: &mut Readings) {
        let mut modes: Vec<(&str, u64)> = Vec::with_capacity(MODES.len());
        for ((mode, word), ticks) in MODES.iter().zip(CONVENTIONAL).zip(*ticks) {
            let labels = self.classic(Label::ClassicMode, &(*mode).into());
            out.observe(metrics::NODE_CLASSIC_CPU_USAGE, labels, seconds(ticks));
            match modes.iter_mut().find(|(known, _)| *known == word) {
                Some((_, sum)) => *sum = sum.saturating_add(ticks),
                None => modes.push((word, ticks)),
            }
        }
        for (mode, ticks) in modes {
            out.observe(metrics::SYSTEM_CPU_TIME, &[(Label::CpuMode, mode.into())], seconds(ticks));
        }
        out.observe(metrics::SYSTEM_CPU_LOGICAL_COUNT, &[], cpus);
        out.observe(metrics::NODE_CLASSIC_CPU_CORES, &self.machine(), cpus);
    }

    fn machine(&self) -> [(Label, Arc<str>); 1] {
        [(Label::ClassicMachineId, Arc::clone(&self.machine))]
    }

    pub(super) fn memory(&self, memory: &Memory, out: &mut Readings) {
        let states = [
            ("used", memory.used()),
            ("free", memory.free),
            ("cached", memory.cached),
            ("buffers", memory.buffers),
        ];
        for (state, bytes) in states {
            out.observe(metrics::SYSTEM_MEMORY_USAGE, &[(Label::MemoryState, state.into())], bytes);
        }
        let machine = self.machine();
        out.observe(metrics::SYSTEM_MEMORY_LIMIT, &[], memory.total);
        out.observe(metrics::NODE_CLASSIC_MEMORY_TOTAL, &machine, memory.total);
        out.observe(metrics::NODE_CLASSIC_MEMORY_FREE, &machine, memory.free);
        out.observe(metrics::NODE_CLASSIC_MEMORY_CACHED, &machine, memory.cached);
        if let Some(available) = memory.available {
            out.observe(metrics::SYSTEM_MEMORY_LINUX_AVAILABLE, &[], available);
            out.observe(metrics::NODE_CLASSIC_MEMORY_AVAILABLE, &machine, available);
        }
    }

    pub(super) fn disks(&self, disks: &Selection<Disk>, out: &mut Readings) {
        for disk in &disks.all {
            let name: Arc<str> = disk.name.as_str().into();
            let labels = Labels::new(vec![(Label::SystemDevice, Arc::clone(&name))]);
            let classic = self.classic(Label::ClassicDevice, &name);
            for (word, direction, theirs) in [("read", &disk.read, READ), ("write", &disk.write, WRITE)] {
                let Direction { operations, bytes, milliseconds } = *direction;
                let labels = labels.with(Label::DiskIoDirection, word);
                out.observe(metrics::SYSTEM_DISK_IO, &labels, bytes);
                out.observe(metrics::SYSTEM_DISK_OPERATIONS, &labels, operations);
                out.observe(metrics::SYSTEM_DISK_OPERATION_TIME, &labels, thousandths(milliseconds));
                out.observe(theirs.operations, &classic, operations);
                out.observe(theirs.bytes, &classic, bytes);
                out.observe(theirs.time, &classic, thousandths(milliseconds));
            }
            out.observe(metrics::SYSTEM_DISK_IO_TIME, &labels, thousandths(disk.busy));
            out.observe(metrics::NODE_CLASSIC_DISK_IO_TIME, &classic, thousandths(disk.busy));
        }
        left_out("disk", disks.left_out, out);
    }

    pub(super) fn interfaces(&self, interfaces: &Selection<Interface>, out: &mut Readings) {
        for Interface { name, link, addresses } in &interfaces.all {
            let name: Arc<str> = name.as_str().into();
            let labels = Labels::new(vec![(Label::InterfaceName, Arc::clone(&name))]);
            let classic = self.classic(Label::ClassicInterface, &name);
            if let Some(statistics) = link.statistics {
                let received = (statistics.rx_bytes, statistics.rx_packets);
                let sent = (statistics.tx_bytes, statistics.tx_packets);
                for (word, (bytes, packets)) in [("receive", received), ("transmit", sent)] {
                    let labels = labels.with(Label::IoDirection, word);
                    out.observe(metrics::SYSTEM_NETWORK_IO, &labels, bytes);
                    out.observe(metrics::SYSTEM_NETWORK_PACKET_COUNT, &labels, packets);
                }
                out.observe(metrics::NODE_CLASSIC_NET_RECEIVED_BYTES, &classic, received.0);
                out.observe(metrics::NODE_CLASSIC_NET_RECEIVED_PACKETS, &classic, received.1);
                out.observe(metrics::NODE_CLASSIC_NET_TRANSMITTED_BYTES, &classic, sent.0);
                out.observe(metrics::NODE_CLASSIC_NET_TRANSMITTED_PACKETS, &classic, sent.1);
            }
            out.observe(metrics::INTERFACE_UP, &labels, u64::from(link.running));
            out.observe(metrics::NODE_CLASSIC_NET_UP, &classic, u64::from(link.running));
            for address in addresses {
                let ip: Arc<str> = address.ip.to_string().into();
                out.observe(metrics::INTERFACE_ADDRESS, labels.with(Label::LocalAddress, Arc::clone(&ip)), 1);
                out.observe(metrics::NODE_CLASSIC_NET_IP, classic.with(Label::ClassicIp, ip), 1);
            }
        }
        left_out("interface", interfaces.left_out, out);
    }
}

fn left_out(key: &str, count: usize, out: &mut Readings) {
    out.observe(metrics::CONNSCOPE_NODE_LEFT_OUT, &[(Label::Key, key.into())], count as u64);
}

/// Milliseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "two hundred thousand years fit")]
fn thousandths(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1000.0
}
