//! Reading settings: one text, parsed once into one tree with positions, from which every settings struct is derived.
//!
//! Knows no source and no key.

mod de;
pub mod tree;
mod yaml;

pub use tree::{Error, Node};
pub use yaml::{Limits, document, from_str};
