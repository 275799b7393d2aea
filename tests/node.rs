//! The source of the node: what the kernel wrote, and what it says now.

mod kernel;
mod recorded;

use std::io::Write;

/// A configuration with the node alone, and more of its section.
fn configuration(more: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    write!(
        file,
        "sources:\n  conntrack: {{enabled: false}}\n  sockets: {{enabled: false}}\n  node: {{enabled: true{more}}}\n"
    )
    .unwrap();
    file
}
