//! What the statistics of known drivers mean (pure).
//!
//! Every driver names its statistics as it likes, so there is a table: the names as the driver has them, with the file of the
//! kernel that they are from. A card whose driver is not in it has what the interface counts alone. `*` stands for the number of a
//! queue; the statistics of all queues are added.

use super::labels::ErrorKind::{Missed, NoBuffer, NoMemory, Timeout};
use super::labels::Limit::{BandwidthIn, BandwidthOut, Conntrack, Linklocal, Pps};
use super::labels::{ErrorKind, Limit};
use crate::text::before_zero;

/// Meaning of a driver's statistic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatisticKind {
    /// Packets over a limit of the cloud.
    Exceeded(Limit),
    /// How much is left of a limit of the cloud.
    Available(Limit),
    /// Errors of the card or its driver.
    Error(ErrorKind),
}

/// Statistics by what they mean, each once.
pub type Statistics = Vec<(StatisticKind, u64)>;

/// A driver whose statistics are known.
#[derive(Debug)]
pub struct Driver {
    /// As `ethtool -i` has it.
    pub name: &'static str,
    /// The file of the kernel that has the names.
    pub file: &'static str,
    /// The names, each with what it is.
    pub statistics: &'static [(&'static str, StatisticKind)],
}

use StatisticKind::{Available, Error, Exceeded};

/// The drivers that are known.
pub const DRIVERS: &[Driver] = &[
    Driver {
        name: "ena",
        file: "drivers/net/ethernet/amazon/ena/ena_ethtool.c",
        statistics: &[
            ("conntrack_allowance_exceeded", Exceeded(Conntrack)),
            ("linklocal_allowance_exceeded", Exceeded(Linklocal)),
            ("pps_allowance_exceeded", Exceeded(Pps)),
            ("bw_in_allowance_exceeded", Exceeded(BandwidthIn)),
            ("bw_out_allowance_exceeded", Exceeded(BandwidthOut)),
            ("conntrack_allowance_available", Available(Conntrack)),
            ("tx_timeout", Error(Timeout)),
            ("queue_*_rx_page_alloc_fail", Error(NoMemory)),
            ("queue_*_rx_skb_alloc_fail", Error(NoMemory)),
        ],
    },
    Driver {
        name: "gve",
        file: "drivers/net/ethernet/google/gve/gve_ethtool.c",
        statistics: &[
            ("tx_timeouts", Error(Timeout)),
            ("rx_skb_alloc_fail", Error(NoMemory)),
            ("rx_buf_alloc_fail", Error(NoMemory)),
            ("rx_no_buffers_posted[*]", Error(NoBuffer)),
            ("rx_queue_drop_cnt[*]", Error(Missed)),
        ],
    },
    Driver {
        name: "hv_netvsc",
        file: "drivers/net/hyperv/netvsc_drv.c",
        statistics: &[
            ("tx_no_memory", Error(NoMemory)),
            ("rx_no_memory", Error(NoMemory)),
            ("tx_no_space", Error(NoBuffer)),
        ],
    },
    Driver {
        name: "mana",
        file: "drivers/net/ethernet/microsoft/mana/mana_ethtool.c",
        statistics: &[("hc_rx_discards_no_wqe", Error(NoBuffer))],
    },
    Driver {
        name: "virtio_net",
        file: "drivers/net/virtio_net.c",
        // The sum of all queues since Linux 6.10, before it the queues alone.
        statistics: &[("tx_tx_timeouts", Error(Timeout)), ("tx_queue_*_tx_timeouts", Error(Timeout))],
    },
    Driver {
        name: "mlx5_core",
        file: "drivers/net/ethernet/mellanox/mlx5/core/en_stats.c",
        statistics: &[("rx_out_of_buffer", Error(NoBuffer)), ("rx_discards_phy", Error(Missed))],
    },
    Driver {
        name: "ixgbe",
        file: "drivers/net/ethernet/intel/ixgbe/ixgbe_ethtool.c",
        statistics: &[
            ("rx_missed_errors", Error(Missed)),
            // The first counts on 82598 only, the second on all later cards.
            ("rx_no_buffer_count", Error(NoBuffer)),
            ("rx_no_dma_resources", Error(NoBuffer)),
            ("alloc_rx_page_failed", Error(NoMemory)),
            ("alloc_rx_buff_failed", Error(NoMemory)),
            ("tx_timeout_count", Error(Timeout)),
        ],
    },
    Driver {
        name: "i40e",
        file: "drivers/net/ethernet/intel/i40e/i40e_ethtool.c",
        statistics: &[("port.rx_dropped", Error(Missed)), ("port.tx_timeout", Error(Timeout))],
    },
];

/// The driver of that name.
pub fn known(name: &[u8]) -> Option<&'static Driver> {
    DRIVERS.iter().find(|driver| driver.name.as_bytes() == name)
}

/// The name of a statistic, as the kernel fills fields (`ETH_GSTRING_LEN`); one that is no UTF-8 is empty.
pub fn text(field: &[u8; 32]) -> &str {
    str::from_utf8(before_zero(field)).unwrap_or_default()
}

/// Whether a name is that of the table, in which `*` is a number.
fn is(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, behind)) => {
            let number = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(behind));
            number
                .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
        }
    }
}

/// The numbers that a driver's statistics come to, in the order of the table; those that this version of the driver does not
/// have are missing.
pub fn sums(driver: &Driver, names: &[[u8; 32]], numbers: &[u64]) -> Statistics {
    let mut sums = Statistics::new();
    for (name, number) in names.iter().map(text).zip(numbers) {
        let Some((_, meaning)) = driver.statistics.iter().find(|(pattern, _)| is(pattern, name)) else {
            continue;
        };
        match sums.iter_mut().find(|(known, _)| known == meaning) {
            Some((_, sum)) => *sum = sum.saturating_add(*number),
            None => sums.push((*meaning, *number)),
        }
    }
    sums.sort_unstable();
    sums
}

/// What is reported of a card whose driver is not known: the packets that it missed, as the interface counts them
/// (`rx_missed_errors`). Of known drivers that is not reported: those that count such packets have a statistic of their own.
/// `ena`, `hv_netvsc` and `virtio_net` leave it at 0, `mlx5_core` and newer versions of `mana` have there what
/// they also count as packets without a buffer.
pub fn of_unknown(missed: Option<u64>) -> Statistics {
    missed.map(|count| (Error(Missed), count)).into_iter().collect()
}
