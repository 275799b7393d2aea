//! The network source: its parsers, the table of drivers, and the real kernel.

mod changing_rules;
mod drop_names;
mod drop_totals;
mod drops;
mod drops_failing;
mod drops_more;
mod drops_packets;
mod forwarding;
mod interfaces;
mod kernel;
mod parsers;
