//! The source conntrack: its three formats, a command that does not do its work, its counters unwrapped, and the real kernel.

mod command;
mod fixtures;
mod kernel;
mod netlink;
mod noise;
mod procfs;
mod refusals;
mod unwrap;
