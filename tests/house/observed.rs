//! Every row of the table is observed by somebody.

use super::layers::sources;
use super::syntax::Source;
use std::collections::BTreeSet;

/// The handles that no file names but the `metrics!` that makes them.
fn unobserved(sources: &[Source]) -> Vec<String> {
    let named: BTreeSet<&String> =
        sources.iter().flat_map(|source| &source.paths).filter_map(|path| path.last()).collect();
    let made = sources.iter().flat_map(|source| source.handles.iter().map(move |handle| (source, handle)));
    made.filter(|(_, handle)| !named.contains(handle))
        .map(|(source, handle)| format!("src/{}: {handle}", source.file))
        .collect()
}

#[test]
fn every_metric_is_observed() {
    let sources = sources();
    let handles: Vec<&String> = sources.iter().flat_map(|source| &source.handles).collect();
    let rows = crate::support::table::rows().count();
    assert_eq!(handles.len(), rows, "the handles that the sources make, and the rows of the table");
    let names: BTreeSet<&String> = handles.into_iter().collect();
    assert_eq!(names.len(), rows, "a handle has a name of its own, by which it is looked for");
    let unobserved = unobserved(&sources);
    assert!(
        unobserved.is_empty(),
        "{unobserved:#?}: nothing in src names these handles, so the metrics are documented and never reported: observe \
         them where their source reads them, or take their rows away"
    );
}

#[test]
fn a_metric_that_nobody_observes_is_found() {
    let rows = "crate::metrics! {
        /// One.
        ONE: Gauge<f64> = \"a.one\" in \"1\", by [A, B];
        /// Two.
        TWO: Counter<u64> = \"a.two\" in \"{packet}\", classic \"two\" \"Two; more\";
    }";
    let parsed = |observer: &str| [Source::parse("a/metrics.rs", rows), Source::parse("a.rs", observer)];
    let found = |observer: &str| unobserved(&parsed(observer));
    assert_eq!(found("fn f() {}"), ["src/a/metrics.rs: ONE", "src/a/metrics.rs: TWO"]);
    assert_eq!(found("fn f() { out.observe(metrics::ONE, &[], 1); }"), ["src/a/metrics.rs: TWO"]);
    assert_eq!(
        found("use super::metrics::TWO;\nconst ROWS: &[Row] = &[row(TWO)];"),
        ["src/a/metrics.rs: ONE"]
    );
    assert_eq!(found("/// [`metrics::ONE`] and `TWO`\nfn one() -> &str { \"ONE\" }").len(), 2);
}
