//! What is made of certificate files, and made again when they change.

use super::{Files, Stamps};
use std::sync::{Arc, Mutex, PoisonError};

/// Something made of [`Files`]. What cannot be made of files that have changed leaves it as it is: a certificate may be there and its
/// key not yet.
#[derive(Debug)]
pub struct Renewed<T> {
    files: Files,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    made: Arc<T>,
    read: Stamps,
    /// The files as they were when nothing could be made of them, so that this is told once.
    refused: Option<Stamps>,
}

/// Result of a check whether files have changed.
#[derive(Debug)]
pub enum Renewal {
    /// They are as they were.
    Unchanged,
    /// They have changed, and are in use.
    Renewed,
    /// They have changed and cannot be used, for this reason.
    Refused(String),
}

impl<T> Renewed<T> {
    /// Reads the files.
    pub fn new(files: Files, make: impl FnOnce(&Files) -> Result<T, String>) -> Result<Self, String> {
        // Before they are read: what changes in between is read again.
        let read = files.stamps();
        let made = Arc::new(make(&files)?);
        Ok(Self { files, state: Mutex::new(State { made, read, refused: None }) })
    }

    /// The files it is made of.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// What was made last.
    pub fn current(&self) -> Arc<T> {
        Arc::clone(&self.state.lock().unwrap_or_else(PoisonError::into_inner).made)
    }

    /// Makes it again if its files, which look like this `now`, have changed; those that could not be used are tried again when they
    /// change. May wait as long as a file system does.
    pub fn refresh(&self, now: &Stamps, make: impl FnOnce(&Files) -> Result<T, String>) -> Renewal {
        {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if *now == state.read || state.refused.as_ref() == Some(now) {
                return Renewal::Unchanged;
            }
        }
        // Nobody waits for the lock while files are read.
        let made = make(&self.files);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match made {
            Ok(made) => {
                *state = State { made: Arc::new(made), read: now.clone(), refused: None };
                Renewal::Renewed
            }
            Err(why) => {
                state.refused = Some(now.clone());
                Renewal::Refused(why)
            }
        }
    }
}
