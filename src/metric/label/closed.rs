//! Closed sets of label values: each value with its word, and what it means. Those of one source are in its folder; those of several are here.

/// A closed set of label values: the type, its values with their words, and what they mean.
macro_rules! closed_set {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$doc])* $variant),* }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Value of the label in series.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }
    };
}

closed_set! {
    /// The closed set of values of the label `reason` of an error: what the operator should do about it.
    Reason {
        /// The machine does not have it.
        Absent = "absent",
        /// It exists, but the agent lacks the permission.
        Denied = "denied",
        /// Reading failed.
        Io = "io",
        /// The answer could not be parsed.
        Parse = "parse",
        /// No answer came in time.
        Timeout = "timeout",
        /// The source panicked.
        Panicked = "panicked",
    }
}

closed_set! {
    /// The closed set of values of the label `event` of a TCP connection. `opened` minus `closed` minus
    /// `reset` is the number of open connections.
    Event {
        /// A connection was established.
        Opened = "opened",
        /// It was established and ended in order (FIN).
        Closed = "closed",
        /// It was established and ended by a reset of either end or a time-out.
        Reset = "reset",
        /// It was never established: refused, unreachable or timed out.
        Failed = "failed",
    }
}

pub(crate) use closed_set;
