//! The source of the containers, against real engines and what they have written.

mod accounting;
mod agreement;
mod applications;
mod both;
mod cgroup_files;
mod classic;
mod connections;
mod drop_ins;
mod engines;
mod entries;
mod failures;
mod fallback;
mod immediate;
mod kernel;
mod lab;
mod latency;
mod limits;
mod listening;
mod mounts;
mod names;
mod object;
mod privileges;
mod races;
mod recorded;
mod resources;
mod settings;
mod taskstats;
mod told;
mod totals;
mod translation;
mod volumes;
mod waiting;

use crate::support::{connscope, sample};
use std::io::Write;

/// Configuration files that a test needs while it runs.
fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// A configuration with the containers alone; `inventory` is what the section says.
fn configuration(inventory: &str) -> tempfile::NamedTempFile {
    file(&format!(
        "inventory: {inventory}\n\
         sources: {{conntrack: {{enabled: false}}, sockets: {{enabled: false}}, containers: {{enabled: true}}}}\n"
    ))
}

/// What one cycle says.
fn once(inventory: &str) -> String {
    let file = configuration(inventory);
    let output = connscope(&["once", "--format", "prometheus", "--config", file.path().to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(sample(&text, "connscope_source_up{source=\"containers\"}") == Some(1.0), "{text}");
    text
}

/// The value of a series that has all of these labels.
fn value(text: &str, metric: &str, labels: &[&str]) -> Option<f64> {
    let line = text.lines().find(|line| {
        line.strip_prefix(metric).is_some_and(|rest| rest.starts_with('{'))
            && labels.iter().all(|label| line.contains(label))
    })?;
    line.rsplit(' ').next()?.parse().ok()
}
