//! The programs that count dropped packets, and their maps: `bpf/drops.bpf.c`.

use super::ports::Ports;
use super::record::{KEY, Key, Kind};
use super::words::ReasonNames;
use crate::host::bpf::{
    self, Loader, Numbers, PerCpuMap, PerCpuNumbers, Programs, Tracer, include_bytes_aligned,
};
use crate::metric::label::Reason;
use crate::reading::SourceError;

static OBJECT: &[u8] = include_bytes_aligned!("../../../../bpf/drops.bpf.o");

/// Entries of the map `counts`.
const ENTRIES: u64 = 4096;
/// Places in the map `numbers`.
const USED: u32 = 0;
const NO_ROOM: u32 = 1;

/// The program that drops cannot be counted without.
pub const DROP: &str = "drop";
/// The programs for resets.
pub const RESET: &str = "send_reset";
/// See [`RESET`].
pub const RESET_RECEIVED: &str = "receive_reset";
/// The program for errors of ICMP; the tracepoint is there since Linux 6.10.
pub const ICMP: &str = "send_icmp";

/// The programs by their names, each with those that are tried in turn, and their tracepoint.
const PROGRAMS: [(&str, &[&str], &str); 4] = [
    (DROP, &[DROP, "drop_before"], "kfree_skb"),
    (RESET, &[RESET, "send_reset_before"], "tcp_send_reset"),
    (RESET_RECEIVED, &[RESET_RECEIVED], "tcp_receive_reset"),
    (ICMP, &[ICMP], "icmp_send"),
];

/// Attaches these programs.
fn attach(tracer: &mut Tracer<'_>, words: &mut ReasonNames, wanted: impl Fn(&str) -> bool) {
    for (name, programs, tracepoint) in PROGRAMS.into_iter().filter(|(name, ..)| wanted(name)) {
        let place = tracer.trace_any(name, programs, tracepoint);
        if name == RESET && place == Some(1) {
            words.without_resets();
        }
    }
}

fn is_for_now(refused: Option<&SourceError>) -> bool {
    refused.is_some_and(|error| error.reason() == Reason::Io)
}

/// Rates up to which packets are counted individually.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Packets on one CPU in 67 ms (2^26 ns) that are all looked at; above it one in 2^n is.
    pub window: u32,
    /// Entries in the kernel that have a port.
    pub ports: u32,
}

impl Default for Limits {
    /// 122,000 packets a second on a CPU, which take 2 % of it.
    fn default() -> Self {
        Self { window: 8192, ports: 3072 }
    }
}

/// The loaded programs.
pub struct Kernel {
    programs: Programs,
    counts: PerCpuMap<KEY>,
    numbers: Numbers,
    named: Numbers,
    skipped: PerCpuNumbers,
    ports: Ports,
    /// The names of reasons.
    pub words: ReasonNames,
}

impl Kernel {
    /// Loads and attaches the programs. Those that this kernel does not take are in [`Self::refused`].
    ///
    /// # Errors
    ///
    /// A capability is missing, or the kernel has no BTF or no reasons.
    pub fn load(limits: Limits) -> Result<Self, SourceError> {
        bpf::permitted()?;
        let [drops, subsystems, resets] =
            bpf::enumerations(["skb_drop_reason", "skb_drop_reason_subsys", "sk_rst_reason"])?;
        let mut words = ReasonNames::new(&drops, &subsystems, &resets);
        let Some(not_specified) = words.not_specified() else {
            let cause = "the kernel gives no reasons (enum skb_drop_reason, Linux 5.17)";
            return Err(SourceError::absent("counting dropped packets by reason", cause));
        };
        let globals = |_| {
            vec![
                ("not_specified", not_specified),
                ("window_limit", limits.window),
                ("port_limit", limits.ports),
            ]
        };
        let mut loader = Loader::new(OBJECT, globals, &[])?;
        let (counts, numbers) = (loader.per_cpu_map("counts")?, loader.numbers("numbers")?);
        let (named, skipped) = (loader.numbers("named_ports")?, loader.per_cpu_numbers("skipped")?);
        attach(&mut loader.tracer(), &mut words, |_| true);
        let programs = loader.finish();
        Ok(Self { programs, counts, numbers, named, skipped, ports: Ports::default(), words })
    }

    /// The error with which the kernel refused a program; `None` if it accepted it.
    pub fn refused(&self, program: &str) -> Option<&SourceError> {
        self.programs.refused(program)
    }

    /// An error for which something is missing that this kernel could give, or drops.
    pub fn incomplete(&self) -> Option<&SourceError> {
        let failed = |program: &&str| {
            self.refused(program).filter(|error| *program == DROP || error.reason() != Reason::Absent)
        };
        PROGRAMS.iter().map(|(name, ..)| *name).find_map(|program| failed(&program))
    }

    /// Whether a program was refused for want of memory or the like, which may be there later.
    pub fn may_be_retried(&self) -> bool {
        PROGRAMS.iter().any(|(program, ..)| is_for_now(self.refused(program)))
    }

    /// Loads such programs once more. The numbers of the others go on.
    ///
    /// # Errors
    ///
    /// The kernel's types cannot be read.
    pub fn retry(&mut self) -> Result<(), SourceError> {
        let Self { programs, words, .. } = self;
        let wanted = PROGRAMS.map(|(program, ..)| (program, is_for_now(programs.refused(program))));
        programs.retry(OBJECT, |tracer| attach(tracer, words, |program| wanted.contains(&(program, true))))
    }

    /// Has the kernel tell these ports apart.
    pub fn name_ports(&mut self, ports: Ports) {
        for (place, bits) in ports.changed(&self.ports) {
            self.named.set(place, bits);
        }
        self.ports = ports;
    }

    /// Everything that was counted since the programs were loaded.
    ///
    /// # Errors
    ///
    /// The kernel refuses to read the map.
    pub fn counts(&self, mut take: impl FnMut(Key, u64)) -> Result<(), SourceError> {
        self.counts.sums(|key, packets| {
            if let Some(key) = Key::parse(key) {
                take(key, packets);
            }
        })
    }

    /// Removes an entry; its latest number, if it was there.
    pub fn forget(&mut self, key: Key) -> Option<u64> {
        self.counts.remove(&key.bytes())
    }

    /// Says how many entries there are: the kernel counts those that come, and not those that are forgotten.
    pub fn set_used(&mut self, used: usize) {
        self.numbers.set(USED, u64::try_from(used).unwrap_or(ENTRIES));
    }

    /// Packets of a kind that were not looked at individually.
    pub fn skipped(&self, kind: Kind) -> u64 {
        self.skipped.get(kind.number().into())
    }

    /// Packets that were not counted: the map was full, or the program was running on that CPU already.
    pub fn lost(&self) -> u64 {
        self.numbers.get(NO_ROOM) + self.programs.interrupted()
    }
}
