//! `/proc/net/softnet_stat`: a row per online CPU, of hexadecimal words of 32 bits (pure).
//!
//! `softnet_seq_show` in `net/core/net-procfs.c`: packets, drops, `time_squeeze`, and more. The kernel counts for all network
//! namespaces together. The number of the CPU is the 13th word since Linux 5.10; before, rows are those of the online CPUs in
//! order.

/// Column of the number of the CPU.
const CPU: usize = 12;

/// What one CPU counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Number of the CPU; `None` where the kernel does not say.
    pub cpu: Option<u32>,
    /// Packets dropped because its backlog was full; wraps at 2^32.
    pub dropped: u32,
    /// Times that its budget or time was used up; wraps at 2^32.
    pub time_squeeze: u32,
}

/// Why the text could not be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A row of fewer columns than there ever were, or with a word that is no number.
    #[error("row {0} is not one of hexadecimal numbers")]
    Row(usize),
    /// The last row does not end.
    #[error("the text is cut off")]
    CutOff,
}

/// Reads the whole text.
pub fn parse(text: &str) -> Result<Vec<Row>, Malformed> {
    if !text.ends_with('\n') {
        return Err(Malformed::CutOff);
    }
    let row = |(index, line): (usize, &str)| {
        let words: Vec<u32> = line
            .split_ascii_whitespace()
            .map(|word| u32::from_str_radix(word, 16).map_err(|_| Malformed::Row(index)))
            .collect::<Result<_, _>>()?;
        match words.as_slice() {
            [_, dropped, time_squeeze, ..] => {
                Ok(Row { cpu: words.get(CPU).copied(), dropped: *dropped, time_squeeze: *time_squeeze })
            }
            _ => Err(Malformed::Row(index)),
        }
    };
    text.lines().enumerate().map(row).collect()
}
