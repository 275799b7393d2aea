//! The words for states, and the sets of states among them (`scan_state` in iproute2's `misc/ss.c`).

/// The kernel's numbers, `include/net/tcp_states.h`.
const CLOSE: u8 = 7;
const BOUND_INACTIVE: u8 = 13;

/// A connection that is being made is state 12 (`NEW_SYN_RECV`) inside the kernel and 3 in what it reports, and who asks
/// for 3 gets both (`inet_diag_dump_icsk`). They are one state here.
const SYN_RECV: u32 = 1 << 3 | 1 << 12;
const SYN_SENT: u32 = 1 << 2;
const TIME_WAIT: u32 = 1 << 6;
const CLOSED: u32 = 1 << CLOSE;
const LISTENING: u32 = 1 << 10;
const BOUND: u32 = 1 << BOUND_INACTIVE;

/// States 1 to 13.
pub(super) const ALL: u32 = 0x3ffe;

/// Each single state, and what `ss` calls it.
const STATES: [(&str, u32); 12] = [
    ("established", 1 << 1),
    ("syn-sent", SYN_SENT),
    ("syn-recv", SYN_RECV),
    ("fin-wait-1", 1 << 4),
    ("fin-wait-2", 1 << 5),
    ("time-wait", TIME_WAIT),
    ("closed", CLOSED),
    ("close-wait", 1 << 8),
    ("last-ack", 1 << 9),
    ("listening", LISTENING),
    ("closing", 1 << 11),
    ("bound-inactive", BOUND),
];

/// Further words that `ss` takes.
const OTHERS: [(&str, u32); 9] = [
    ("all", ALL),
    ("connected", ALL & !(CLOSED | LISTENING | BOUND)),
    ("synchronized", ALL & !(CLOSED | LISTENING | BOUND | SYN_SENT)),
    ("bucket", SYN_RECV | TIME_WAIT),
    ("big", ALL & !(SYN_RECV | TIME_WAIT)),
    ("close", CLOSED),
    ("unconnected", CLOSED),
    ("syn-rcv", SYN_RECV),
    ("new-syn-recv", SYN_RECV),
];

/// What a word stands for; case does not matter.
pub(super) fn mask(word: &str) -> Option<u32> {
    STATES.iter().chain(&OTHERS).find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, mask)| *mask)
}

/// The words that give a set of states; none for all.
pub(super) fn words(states: u32) -> impl Iterator<Item = &'static str> {
    STATES.into_iter().filter(move |(_, mask)| states != ALL && states & mask != 0).map(|(name, _)| name)
}

/// Whether a state as the kernel reports it is in a set. A TCP socket that is bound and nothing more is dumped where
/// state 13 is asked for, and reported as state 7.
pub(super) fn contains(states: u32, state: u8) -> bool {
    let asked = if state == CLOSE { CLOSED | BOUND } else { 1_u32.checked_shl(state.into()).unwrap_or(0) };
    states & asked != 0
}
