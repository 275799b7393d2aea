//! The one file that names the sources. Adding a source is adding its folder and a line here.

use crate::config::Config;
use crate::metric::{Bounds, Part};
use crate::source::{self, SourceSpec, conntrack, probes, sockets};

/// Every source there is.
pub const SOURCES: &[SourceSpec] = &[conntrack::SPEC, sockets::SPEC, probes::SPEC];

/// The parts of the table that the sources have, and what is said of each of them.
pub fn parts() -> impl Iterator<Item = &'static Part> {
    SOURCES.iter().map(|spec| spec.part).chain([&source::metrics::PART])
}

/// What this configuration makes of the bounds of the sources' labels.
pub fn bounds(config: &Config) -> Bounds {
    let mut bounds: Bounds = SOURCES.iter().flat_map(|spec| (spec.bounds)(config)).collect();
    bounds.push((&source::metrics::SOURCE, SOURCES.len()));
    bounds
}
