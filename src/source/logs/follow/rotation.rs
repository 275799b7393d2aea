//! Which files had the name of a log since the last look, and how far each is read.

use super::beside::Directory;
use super::generation::{Generation, ReadResult};
use super::opening::{FileIdentity, id, known, open};
use super::{Follow, GENERATIONS, REMEMBERED, UNREAD};
use std::collections::HashSet;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

impl Follow {
    /// Opens what is in the place, if that is not open yet.
    pub(super) fn in_place(
        &mut self,
        directory: &Directory,
        place: &Path,
        found: &Metadata,
        now: Instant,
        poll: &mut ReadResult,
    ) -> io::Result<()> {
        let is_open = self.inodes().any(|open| open == id(found));
        self.place = is_open.then(|| id(found));
        if is_open && !self.missed && self.seen.len() < REMEMBERED {
            return Ok(());
        }
        if is_open {
            self.between(directory, found, poll);
            return Ok(());
        }
        let (file, found) = open(place)?;
        self.between(directory, &found, poll);
        self.take_given(now, poll);
        self.place = Some(id(&found));
        self.first(file, &found, now, poll);
        Ok(())
    }

    /// A file that is read from its end where it was there before, and is the first one.
    pub(super) fn first(&mut self, file: File, found: &Metadata, now: Instant, poll: &mut ReadResult) {
        let position = self.begin.in_place(found).unwrap_or(found.len()).min(found.len());
        self.begin.since = std::time::SystemTime::UNIX_EPOCH;
        poll.found += 1;
        self.add(Generation::new(file, found, position, now), poll);
    }

    /// Whether no file of it was seen yet.
    pub(super) fn is_new(&self) -> bool {
        self.generations.is_empty() && self.seen.is_empty()
    }

    /// Goes on with the files that were opened when they were given the name, in the order in which they were made.
    pub(super) fn take_given(&mut self, now: Instant, poll: &mut ReadResult) {
        let mut given = std::mem::take(&mut self.given);
        given.sort_by_key(|(_, found)| found.created().ok());
        for (file, _) in given {
            // It has grown meanwhile.
            let Ok(found) = file.metadata() else { continue };
            if !self.seen.insert(known(&found)) {
                continue;
            }
            poll.found += 1;
            if let Some(position) = self.begin.in_place(&found) {
                self.add(Generation::new(file, &found, position.min(found.len()), now), poll);
            }
        }
    }

    /// Opens what was in the place since the last look, and has been renamed again; at the first look, since the log was made.
    /// `last` is what is there now, and may be renamed before the others are looked for.
    fn between(&mut self, directory: &Directory, last: &Metadata, poll: &mut ReadResult) {
        self.missed = false;
        let is_first = self.is_new();
        // What is in a copy of an old file was there before the agent, too.
        let is_old = is_first && self.begin.in_place(last).is_none();
        let siblings = match self.listing.take().filter(|_| is_first) {
            Some(listing) => directory.before(self.name(), last, &listing),
            None => directory.siblings(self.name()),
        };
        let there: HashSet<FileIdentity> = siblings.iter().map(|(_, sibling)| known(sibling)).collect();
        let held = |file: &FileIdentity| self.generations.iter().any(|each| each.id == file.0);
        self.seen.retain(|file| there.contains(file) || held(file));
        self.seen.insert(known(last));
        for (path, sibling) in siblings {
            if self.seen.contains(&known(&sibling)) {
                continue;
            }
            if is_old || self.begin.beside(&sibling).is_none() {
                self.seen.insert(known(&sibling));
                continue;
            }
            if let Ok(opened) = open(&path) {
                self.given.push(opened);
            } else {
                self.seen.insert(known(&sibling));
                poll.found += 1;
                poll.rotated += sibling.len();
            }
        }
    }

    /// Goes on in the copy of what was cut off since the last look; without one, what is known to be lost is counted.
    pub(super) fn recover(
        &mut self,
        directory: Option<&Directory>,
        now: Instant,
        poll: &mut ReadResult,
        take: &mut dyn FnMut(&[u8]),
    ) {
        let Some(cut) = self.generations.iter().position(|each| each.size < each.position) else { return };
        let siblings = directory.map(|directory| directory.siblings(self.name())).unwrap_or_default();
        let Some(generation) = self.generations.get_mut(cut) else { return };
        let fits = |(_, sibling): &&(PathBuf, Metadata)| {
            !self.seen.contains(&known(sibling)) && sibling.len() >= generation.position
        };
        let copy = siblings.iter().rfind(fits).and_then(|(path, _)| open(path).ok());
        self.seen.extend(siblings.iter().map(|(_, sibling)| known(sibling)));
        let position = std::mem::take(&mut generation.position);
        let mut lines = std::mem::take(&mut generation.lines);
        match copy {
            Some((file, found)) => {
                poll.truncated = poll.truncated.saturating_sub(found.len() - position);
                let copy = Generation { lines, ..Generation::new(file, &found, position, now) };
                self.generations.insert(cut, copy);
            }
            None => lines.end(take),
        }
    }

    fn add(&mut self, generation: Generation, poll: &mut ReadResult) {
        self.whole = self.generations.last().map_or(self.whole, |last| last.size);
        let unread = |each: &Generation| each.size.saturating_sub(each.position);
        let mut all: u64 = self.generations.iter().map(unread).sum();
        self.generations.push(generation);
        while self.generations.len() > GENERATIONS || all > UNREAD {
            let oldest = self.generations.iter().position(|each| self.place != Some(each.id));
            let Some(oldest) = oldest.filter(|oldest| oldest + 1 < self.generations.len()) else { return };
            let lost = unread(&self.generations.remove(oldest));
            all = all.saturating_sub(lost);
            poll.rotated += lost;
        }
    }
}
