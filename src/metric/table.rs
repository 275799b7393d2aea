//! THE TABLE: every metric the agent can report, written once, by whoever reports it.
//!
//! Each source has a part of the table in its folder ([`metrics!`](crate::metrics)), and so have the exporter and the
//! agent itself. A [`Table`] is put together from parts and from the bounds that the configuration makes of their label
//! sets. Instruments, Prometheus names, METRICS.md and `connscope metrics` are read from it.

use super::{Bound, Bounds, LabelSet, Metric};
use std::fmt;

/// A part of the table: the rows of one source, of the exporter or of the agent itself.
pub struct Part {
    /// Its rows, in the order they are written.
    pub rows: &'static [Metric],
}

impl fmt::Debug for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A row knows its part: to show the rows in full would not end.
        formatter.debug_list().entries(self.rows.iter().map(|metric| metric.name)).finish()
    }
}

/// Parts put together, with the number of series that each row may have.
#[derive(Debug)]
pub struct Table {
    /// Each part with the position of its first row.
    parts: Vec<(&'static Part, usize)>,
    rows: Vec<&'static Metric>,
    limits: Vec<usize>,
}

/// Why the table cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// No bound is set for a set of labels.
    #[error("{metric}: no bound is set for its labels {labels}: {meaning}")]
    Unbounded {
        /// Name of the metric whose row it is.
        metric: &'static str,
        /// Keys of the set.
        labels: String,
        /// Description of the bound, as METRICS.md has it.
        meaning: &'static str,
    },
    /// Two rows have one name.
    #[error("{metric} is in the table twice")]
    Twice {
        /// Name of the metric that occurs twice.
        metric: &'static str,
    },
}

impl Table {
    /// Puts parts together. `bounds` are those of their configured label sets; a bound that nobody says is an error.
    pub fn of(parts: &[&'static Part], bounds: &Bounds) -> Result<Self, TableError> {
        let mut table = Self { parts: Vec::new(), rows: Vec::new(), limits: Vec::new() };
        for part in parts {
            table.parts.push((part, table.rows.len()));
            for metric in part.rows {
                if table.rows.iter().any(|known| known.name == metric.name) {
                    return Err(TableError::Twice { metric: metric.name });
                }
                table.limits.push(limit(metric, bounds)?);
                table.rows.push(metric);
            }
        }
        Ok(table)
    }

    /// Every row, by position.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &'static Metric> {
        self.rows.iter().copied()
    }

    /// Position of a row; `None` where its part is not in the table.
    pub fn index(&self, metric: &Metric) -> Option<usize> {
        let (_, base) = self.parts.iter().find(|(part, _)| std::ptr::eq(*part, metric.part))?;
        Some(base + metric.row)
    }

    /// Series that the row may have at most: the product of the bounds of its label sets. 0 where its part is not in the
    /// table.
    pub fn limit(&self, metric: &Metric) -> usize {
        self.index(metric).and_then(|index| self.limits.get(index)).copied().unwrap_or_default()
    }
}

fn limit(metric: &Metric, bounds: &Bounds) -> Result<usize, TableError> {
    let mut product = 1usize;
    for set in metric.sets {
        product = product.saturating_mul(values(metric, set, bounds)?.max(1));
    }
    Ok(metric.sets.iter().map(|set| set.least).fold(product, usize::max))
}

fn values(metric: &Metric, set: &'static LabelSet, bounds: &Bounds) -> Result<usize, TableError> {
    let said = bounds.iter().filter(|(known, _)| known.is(set)).map(|(_, bound)| *bound);
    match set.bound {
        Bound::Fixed(values) => Ok(values),
        Bound::Configured(meaning) => said.max().ok_or_else(|| TableError::Unbounded {
            metric: metric.name,
            labels: set.keys.iter().map(|label| label.key()).collect::<Vec<_>>().join(", "),
            meaning,
        }),
    }
}

/// A part of [the table](Table): its rows, and a typed handle for each.
///
/// A row reads: one sentence, the handle and its kind, the OpenTelemetry name, the UCUM unit, its label sets, how the history
/// takes it ([`Recording`](crate::metric::Recording)) and, where an exporter that connscope replaces has the same number, the
/// name and help it prints. The sentence becomes the rustdoc of
/// the handle, the OpenTelemetry description, `# HELP` and the entry in METRICS.md.
///
/// The kind is in the type of the handle, so that a gauge cannot be observed as a counter:
///
/// ```
/// use connscope::reading::Readings;
///
/// connscope::metrics! {
///     /// Requests that were answered.
///     ANSWERED: Counter<u64> = "sample.answered" in "{request}";
///     /// Fraction of the queue that is in use.
///     QUEUE: Gauge<f64> = "sample.queue" in "1";
/// }
/// Readings::default().observe(QUEUE, &[], 0.5);
/// ```
///
/// ```compile_fail,E0308
/// use connscope::metric::Counter;
///
/// connscope::metrics! {
///     /// Fraction of the queue that is in use.
///     QUEUE: Gauge<f64> = "sample.queue" in "1";
/// }
/// fn count(_: Counter<f64>) {}
/// count(QUEUE);
/// ```
#[macro_export]
macro_rules! metrics {
    ($(
        #[doc = $description:literal]
        $handle:ident: $kind:ident $(<$number:ident>)? = $name:literal in $unit:literal
            $(, by [$($set:ident),*])?
            $(, buckets $buckets:ident)?
            $(, history [$($recording:ident $($label:ident)?),*])?
            $(, classic $classic:literal $help:literal)?
            $(, only classic $only:literal $only_help:literal)?;
    )*) => {
        /// Positions of the rows in their part, by the name of the handle.
        #[allow(non_camel_case_types, reason = "named as the handle; not `expect`: a part may have no handle with an underscore")]
        #[derive(Clone, Copy)]
        enum Row { $($handle),* }

        static ROWS: [$crate::metric::Metric; [$($name),*].len()] = [$({
            let (kind, number) = <$crate::metric::$kind $(<$number>)?>::KIND;
            let classic: &[$crate::metric::Classic] = &[
                $($crate::metric::Classic { name: $classic, help: $help },)?
                $($crate::metric::Classic { name: $only, help: $only_help },)?
            ];
            let only: &[&str] = &[$($only)?];
            let boundaries: &[&[f64]] = &[$($buckets)?];
            $crate::metric::Metric {
                part: &PART,
                row: Row::$handle as usize,
                name: $name,
                kind,
                number,
                unit: $unit,
                sets: &[$($(&$set),*)?],
                description: $description.trim_ascii(),
                classic: match classic { [classic, ..] => Some(*classic), [] => None },
                only_classic: !only.is_empty(),
                boundaries: match boundaries { [boundaries, ..] => boundaries, [] => &[] },
                recording: $crate::metric::Recording::of(kind)$($(.$recording($($crate::metric::Label::$label)?))*)?,
            }
        }),*];

        /// The source's part of the table.
        pub static PART: $crate::metric::Part = $crate::metric::Part { rows: &ROWS };

        $(
            #[doc = $description]
            #[allow(clippy::doc_markdown, reason = "also # HELP, without backquotes; not `expect`: few rows have a word like that")]
            #[expect(clippy::indexing_slicing, reason = "a constant: a position beyond the rows does not compile")]
            pub const $handle: $crate::metric::$kind $(<$number>)? =
                <$crate::metric::$kind $(<$number>)?>::of(&ROWS[Row::$handle as usize]);
        )*
    };
}
