//! The source conntrack: its three formats, its counters unwrapped, and the real kernel.

mod kernel;
mod parsers;
mod unwrap;
