//! The table as the tests need it.

use connscope::metric::{Metric, Table};
use connscope::{agent, catalog::SOURCES, config::Config, source};
use std::sync::Arc;

/// Every row of the table.
pub(crate) fn rows() -> impl Iterator<Item = &'static Metric> {
    agent::parts().into_iter().flat_map(|part| part.rows)
}

/// The table with the bounds of the default configuration, but for the CPUs and the network namespaces.
pub(crate) fn table(cpus: usize, namespaces: usize) -> Arc<Table> {
    let mut bounds = source::list::bounds(SOURCES, &Config::default().sources);
    bounds.retain(|(set, _)| !set.is(&source::conntrack::metrics::CPU) && !set.is(&source::metrics::NETNS));
    bounds.push((&source::conntrack::metrics::CPU, cpus));
    bounds.push((&source::metrics::NETNS, namespaces));
    bounds.push((&source::metrics::SOURCE, 8)); // a test may have more than there are
    agent::table(&bounds).expect("a table")
}
