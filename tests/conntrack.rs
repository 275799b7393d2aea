//! The source conntrack: its three formats, its counters unwrapped, and the real kernel.

mod command;
mod fixtures;
mod kernel;
mod netlink;
mod noise;
mod procfs;
mod unwrap;
