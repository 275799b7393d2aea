//! The table as the tests need it.

use connscope::catalog::{Config, SOURCES};
use connscope::host::Host;
use connscope::metric::{Bounds, Metric, Table};
use connscope::{agent, source};
use std::sync::Arc;

/// Every row of the table.
pub(crate) fn rows() -> impl Iterator<Item = &'static Metric> {
    agent::parts().into_iter().flat_map(|part| part.rows)
}

/// The bounds that a configuration makes of the labels of the sources.
pub(crate) fn bounds(config: &Config) -> Bounds {
    source::list::bounds(SOURCES, &config.sources, &Host::new(&config.inventory))
}

/// The table with the bounds of the default configuration, but for the CPUs and the network namespaces.
pub(crate) fn table(cpus: usize, namespaces: usize) -> Arc<Table> {
    let mut bounds = bounds(&Config::default());
    bounds.retain(|(set, _)| !set.is(&source::conntrack::metrics::CPU) && !set.is(&source::metrics::NETNS));
    bounds.push((&source::conntrack::metrics::CPU, cpus));
    bounds.push((&source::metrics::NETNS, namespaces));
    bounds.push((&source::metrics::SOURCE, 8)); // a test may have more than there are
    Arc::new(Table::of(&agent::parts(), &bounds).expect("a table"))
}
