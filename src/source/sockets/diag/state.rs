//! The states of a socket.

/// State of a socket, as numbered by the kernel (`include/net/tcp_states.h`). A UDP socket is [`Established`] if it is
/// connected, and [`Close`] otherwise.
///
/// [`Established`]: State::Established
/// [`Close`]: State::Close
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum State {
    /// Connected.
    Established = 1,
    /// SYN sent.
    SynSent = 2,
    /// SYN received and answered.
    SynRecv = 3,
    /// Closed by this end; the peer has not acknowledged the FIN.
    FinWait1 = 4,
    /// Closed by this end; the peer has acknowledged the FIN and has not closed.
    FinWait2 = 5,
    /// Closed by both ends, by this end first; kept for late segments.
    TimeWait = 6,
    /// Not connected: UDP, and TCP sockets that are only bound; in destroy events, destroyed.
    Close = 7,
    /// Closed by the peer and not by this end.
    CloseWait = 8,
    /// Closed by both ends, by the peer first; the peer has not acknowledged the FIN.
    LastAck = 9,
    /// Listening.
    Listen = 10,
    /// Closed by both ends at the same time; the peer has not acknowledged the FIN.
    Closing = 11,
    /// The kernel's state of a connection request before the handshake ends. A response has [`SynRecv`](Self::SynRecv)
    /// instead, whichever of the two was requested.
    NewSynRecv = 12,
    /// Bound to a port and neither connected nor listening. Requested by this number since Linux 6.8; the response has
    /// [`Close`](Self::Close).
    BoundInactive = 13,
}

impl State {
    /// Every state.
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

    /// The state with this number.
    pub fn numbered(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// The bit of the state in the mask of a request.
    pub const fn mask(self) -> u32 {
        1 << self as u8
    }

    /// Bit mask of several states (`idiag_states`).
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
