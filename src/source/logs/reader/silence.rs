//! Logs that nothing is written to: they are not asked for their size four times a second, which would be most of what an
//! idle agent does, but watched until the next write.

use super::log::FollowedLog;
use crate::source::logs::watch::Watch;
use std::sync::atomic::Ordering;

/// Looks at a log, four a second, in which there was nothing, before it is watched.
const SILENT: u32 = 8;

/// One look of so many is made all the same: a write by another machine (NFS), or to the lower file of an overlay, is not
/// told.
const EVERY: u64 = 8;

impl FollowedLog {
    /// Whether it need not be looked at now. `number` is that of the look, `place` is another one for each log, so that they
    /// are not all looked at at once.
    pub(super) fn is_silent(&self, number: u64, place: u64) -> bool {
        let is_due = number.wrapping_add(place).is_multiple_of(EVERY);
        // After it is watched it is looked at once more: it may have been written to before.
        let watched = self.awake.as_ref().filter(|_| self.silent > SILENT + 1);
        !is_due && watched.is_some_and(|awake| !awake.load(Ordering::Relaxed))
    }

    /// Watches it once it has been silent for long, and again after something happened to it.
    pub(super) fn watch(&mut self, watch: &Watch) {
        let awake = self.awake.as_ref();
        if awake.is_some_and(|awake| awake.load(Ordering::Relaxed)) {
            self.awake = None;
            self.silent = 0;
        }
        if self.silent < SILENT || self.awake.is_some() || self.streams.is_open() || self.error.is_some() {
            return;
        }
        self.silent = SILENT;
        self.awake = self.follow.quiet().and_then(|file| watch.wake(file));
    }
}
