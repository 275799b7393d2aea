//! What is said of every source: whether it answered, how long it took, and which of its network namespaces were read.

use crate::metric::label::Reason;
use crate::metric::{Label, LabelSet};

/// Name of a source: its key under `sources`.
pub static SOURCE: LabelSet = LabelSet::configured(&[Label::Source], "number of sources");

/// A network namespace that was read. Of several sources that read namespaces, the largest bound holds.
pub static NETNS: LabelSet =
    LabelSet::configured(&[Label::Netns], "network namespaces read at once, 512 with `all`");

/// `transmit` or `receive`.
pub static IO_DIRECTION: LabelSet = LabelSet::fixed(&[Label::IoDirection], 2);

/// Class of the error, as `SourceError::reason` gives it.
pub static REASON: LabelSet = LabelSet::fixed(&[Label::Reason], Reason::ALL.len());

crate::metrics! {
    /// 1 if a configured network namespace was read in this cycle, 0 if not.
    CONNSCOPE_NETNS_UP: Gauge<u64> = "connscope.netns.up" in "", by [NETNS, SOURCE], history [low_is_bad];
    /// Network namespaces not read because there are more than the limit.
    CONNSCOPE_NETNS_LEFT_OUT: Gauge<u64> = "connscope.netns.left_out" in "{namespace}", by [SOURCE];
    /// Network namespaces in which the source keeps a socket open; a deleted namespace exists until that socket is closed, within 10 s.
    CONNSCOPE_NETNS_OPEN: Gauge<u64> = "connscope.netns.open" in "{namespace}", by [SOURCE];
    /// 1 if the source answered in this cycle, 0 if it failed or was late.
    CONNSCOPE_SOURCE_UP: Gauge<u64> = "connscope.source.up" in "", by [SOURCE], history [low_is_bad];
    /// Time the source took in this cycle.
    CONNSCOPE_SOURCE_DURATION: Gauge<f64> = "connscope.source.duration" in "s", by [SOURCE];
    /// Errors of a source, complete or partial, by reason.
    CONNSCOPE_SOURCE_ERRORS: Counter<u64> = "connscope.source.errors" in "{error}", by [REASON, SOURCE], history [from_zero];
    /// Readings over the limit: not reported because their metric had reached its limit of series.
    CONNSCOPE_READINGS_LEFT_OUT: Counter<u64> = "connscope.readings.left_out" in "{reading}";
}
