//! Closed sets of label values: each value with its word, and what it means. Those of one source are in its folder.

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
        /// It is there, and the agent may not.
        Denied = "denied",
        /// Reading failed.
        Io = "io",
        /// The answer could not be understood.
        Parse = "parse",
        /// No answer came in time.
        Timeout = "timeout",
        /// The source itself broke.
        Panicked = "panicked",
    }
}

pub(crate) use closed_set;
