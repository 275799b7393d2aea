//! The JSON Schema of the configuration file, for editors and other programs.
//!
//! It is made from the settings by a test of [`catalog`](crate::catalog) and embedded as text: what makes it is not in the program.

/// The schema: a JSON text that ends with a line break.
pub const SCHEMA: &str = include_str!("schema.json");
