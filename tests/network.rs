//! The network source: its parsers, the table of drivers, and the real kernel.

mod kernel;
mod parsers;
