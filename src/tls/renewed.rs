//! What is made of certificate files, and made again when they change.

use super::{Files, Stamps};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How many [`Renewed`] of this process are not made of their files as they are now.
static REFUSED: AtomicUsize = AtomicUsize::new(0);

/// How many sets of certificate files have changed and cannot be used, so that what was made of them before stays in use.
pub fn refused() -> usize {
    REFUSED.load(Ordering::Relaxed)
}

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

impl<T> State<T> {
    /// Notes which files were refused, and counts that.
    fn refuse(&mut self, refused: Option<Stamps>) {
        match (self.refused.is_some(), refused.is_some()) {
            (false, true) => _ = REFUSED.fetch_add(1, Ordering::Relaxed),
            (true, false) => _ = REFUSED.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
        self.refused = refused;
    }
}

impl<T> Drop for State<T> {
    fn drop(&mut self) {
        self.refuse(None);
    }
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
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if *now == state.read {
                state.refuse(None);
                return Renewal::Unchanged;
            }
            if state.refused.as_ref() == Some(now) {
                return Renewal::Unchanged;
            }
        }
        // Nobody waits for the lock while files are read.
        let made = make(&self.files);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match made {
            Ok(made) => {
                state.made = Arc::new(made);
                state.read = now.clone();
                state.refuse(None);
                Renewal::Renewed
            }
            Err(why) => {
                state.refuse(Some(now.clone()));
                Renewal::Refused(why)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{REFUSED, Renewal, Renewed, refused};
    use crate::tls::Files;
    use std::sync::atomic::Ordering;

    #[test]
    fn what_was_refused_is_counted_until_it_is_accepted_or_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, "1").unwrap();
        let files = Files { authorities: Some(path.clone()), certificate: None, key: None };
        let read = |files: &Files| {
            let text = std::fs::read_to_string(files.authorities.as_ref().unwrap()).unwrap();
            text.parse::<u32>().map_err(|error| error.to_string())
        };
        REFUSED.store(0, Ordering::Relaxed);
        let [first, second] = [(); 2].map(|()| Renewed::new(files.clone(), read).unwrap());
        let refresh = |one: &Renewed<u32>| one.refresh(&files.stamps(), read);
        std::fs::write(&path, "no number").unwrap();
        for one in [&first, &second, &first] {
            refresh(one);
        }
        assert_eq!((refused(), *first.current()), (2, 1));
        drop(second);
        assert_eq!(refused(), 1);
        std::fs::write(&path, "22").unwrap();
        assert!(matches!(refresh(&first), Renewal::Renewed));
        assert_eq!((refused(), *first.current()), (0, 22));
    }
}
