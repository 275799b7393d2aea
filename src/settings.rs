//! Reading settings: one text, parsed once into one tree with positions, from which every settings struct is derived; and
//! the single values of settings: what they look like and what range they have.
//!
//! Knows no source and no key.

mod de;
pub mod headers;
mod located;
pub mod network;
pub mod tree;
pub mod values;
mod yaml;

pub use located::Located;
pub use tree::{Error, Node};
pub use yaml::{Limits, document, from_str, parse};
