//! The network source: its parsers, the table of drivers, and the real kernel.

mod changing_rules;
mod drop_totals;
mod drops;
mod drops_more;
mod forwarding;
mod interfaces;
mod kernel;
mod parsers;
