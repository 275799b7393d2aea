//! The states of a socket.

/// State of a socket, by the kernel's numbers (`include/net/tcp_states.h`). A UDP socket is [`Established`] where it is
/// connected, and otherwise [`Close`].
///
/// [`Established`]: State::Established
/// [`Close`]: State::Close
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum State {
    /// Open.
    Established = 1,
    /// A SYN is on its way.
    SynSent = 2,
    /// A SYN came and was answered.
    SynRecv = 3,
    /// Closed here, and the peer has not acknowledged it.
    FinWait1 = 4,
    /// Closed here; the peer has acknowledged it and not closed.
    FinWait2 = 5,
    /// Closed by both, here first; kept for late segments.
    TimeWait = 6,
    /// Not connected: of UDP, and of TCP what is bound and nothing else; in destroy events, gone.
    Close = 7,
    /// Closed by the peer and not here.
    CloseWait = 8,
    /// Closed by both, by the peer first, and it has not acknowledged it.
    LastAck = 9,
    /// Waits for connections.
    Listen = 10,
    /// Closed by both at the same time, and the peer has not acknowledged it.
    Closing = 11,
    /// What the kernel has instead of [`SynRecv`](Self::SynRecv). The answer calls it `SynRecv`, by
    /// whichever of the two it was asked for.
    NewSynRecv = 12,
    /// Bound to a port and neither connected nor listening. Asked for by this number since 6.8; the answer calls it
    /// [`Close`](Self::Close).
    BoundInactive = 13,
}

impl State {
    /// Each state.
    pub const ALL: [Self; 13] = [
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::Close,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::Closing,
        Self::NewSynRecv,
        Self::BoundInactive,
    ];

    /// The state of this number.
    pub fn numbered(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// Its bit in the mask of states that a request asks for.
    pub const fn mask(self) -> u32 {
        1 << self as u8
    }

    /// Bit mask of several states, as `idiag_states` has it.
    pub fn masks(states: &[Self]) -> u32 {
        states.iter().fold(0, |masks, state| masks | state.mask())
    }

    /// The value of `network.connection.state`. The semantic conventions have none for
    /// [`BoundInactive`](Self::BoundInactive).
    pub const fn word(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::SynSent => "syn_sent",
            Self::SynRecv | Self::NewSynRecv => "syn_received",
            Self::FinWait1 => "fin_wait_1",
            Self::FinWait2 => "fin_wait_2",
            Self::TimeWait => "time_wait",
            Self::Close => "closed",
            Self::CloseWait => "close_wait",
            Self::LastAck => "last_ack",
            Self::Listen => "listen",
            Self::Closing => "closing",
            Self::BoundInactive => "bound_inactive",
        }
    }
}
