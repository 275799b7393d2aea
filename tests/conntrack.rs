//! The source conntrack: its three formats, a command that does not do its work, its counters unwrapped, and the real kernel.

mod command;
mod entries;
mod entry;
mod events;
mod fixtures;
mod kernel;
mod limits;
mod netlink;
mod noise;
mod procfs;
mod ranked;
mod refusals;
mod traffic;
mod unwrap;
mod values;
