//! A poll of the journal: from its entries to messages.

use super::{Reader, Shared, Timestamp};
use crate::source::logs::clean::clean;
use crate::source::logs::counts::{Counts, LogOwner, Origin};
use crate::source::logs::journal::owners::{Owner, Owners};
use crate::source::logs::journal::tail::Entry;
use crate::source::logs::journal::{Handled, Journal, JournalReadResult};
use crate::source::logs::labels::{LeftOut, LogSource, Lost};
use crate::source::logs::severity::{Severity, structured};
use crate::source::logs::stream::Message;
use std::sync::Arc;

/// The journal, and the containers and services that its entries belong to.
#[derive(Debug)]
pub(super) struct JournalReader {
    pub(super) journal: Journal,
    pub(super) owners: Owners,
    /// Value of the label `source` of coroot-node-agent.
    pub(super) name: Arc<str>,
    /// Whether there was more than one poll reads.
    pub(super) more: bool,
}

impl Reader {
    /// Looks for files of the journal, where there may be others.
    pub(super) fn find_journal(&mut self, now: Timestamp) {
        let Some(entries) = &mut self.entries else { return };
        entries.owners.fill(&self.inventory.containers(), microseconds(now));
        let room = self.settings.max_files.saturating_sub(self.logs.len());
        let (poll, result) = entries.journal.find(now.instant, room);
        let mut shared = Shared::of(&self.shared);
        shared.journal = result.err();
        account(&mut shared.counts, poll);
    }

    /// Reads what has come into the journal.
    pub(super) fn read_journal(&mut self, now: Timestamp) {
        let Some(JournalReader { journal, owners, name, more }) = &mut self.entries else { return };
        let mut shared = Shared::of(&self.shared);
        let counts = &mut shared.counts;
        let poll = journal.poll(now.instant, &mut |entry| match owners.of(entry, microseconds(now)) {
            Owner::Of(number) => {
                let (subject, name) = (LogOwner::Container(number), Arc::clone(name));
                count(&Origin { subject, source: LogSource::Journald, name }, entry, counts, now);
                Handled::Done
            }
            Owner::Nobody => Handled::Done,
            Owner::Unknown => Handled::Later,
        });
        *more = poll.more;
        account(counts, poll);
    }
}

fn count(origin: &Origin, entry: &Entry, counts: &mut Counts, now: Timestamp) {
    let Some(text) = &entry.message else { return };
    counts.read(origin, text.len() as u64 + entry.passed);
    counts.lose(Lost::LineTooLong, entry.passed);
    let text = clean(text);
    let text = text.trim();
    if text.is_empty() {
        return;
    }
    let structured = structured::parse(text);
    let otherwise = entry.priority.unwrap_or(Severity::Unknown);
    let message = Message { otherwise, ..Message::new(text, structured.as_ref()) };
    counts.message(origin, message, now);
}

fn account(counts: &mut Counts, poll: JournalReadResult) {
    counts.lose(Lost::Journal, poll.lost);
    if poll.malformed > 0 {
        *counts.malformed.entry(LogSource::Journald).or_default() += poll.malformed;
    }
    for _ in 0..poll.left_out {
        counts.leave_out(LeftOut::File);
    }
}

fn microseconds(now: Timestamp) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds since 1970")]
    let microseconds = (now.wall * 1e6) as u64;
    microseconds
}
