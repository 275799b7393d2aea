//! Texts of answers: made on a thread of their own, each once for everybody who waits for it, and bounded in bytes for as
//! long as anybody has not fetched them.

#![expect(clippy::disallowed_methods, reason = "a text has an age, and whoever waits for one a deadline")]

use super::connections::Connections;
use crate::timeouts;
use crate::web::timeouts::FETCHED;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::StatusCode;
use hyper::body::Bytes;
use std::collections::HashMap;
use std::hash::Hash;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Instant;
use tokio::sync::watch;

/// Texts that somebody has not fetched whole yet.
const MOST: usize = 3;

/// Their bytes altogether, beyond which there is only one.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// Texts that wait to be made.
const QUEUE: usize = 32;

/// A response body.
#[derive(Debug)]
pub struct Text {
    /// Tells it from others.
    pub id: u64,
    /// Status of the answer.
    pub status: StatusCode,
    /// Value of the header `Content-Type`.
    pub content_type: &'static str,
    plain: Vec<u8>,
    gzip: OnceLock<Vec<u8>>,
    made_at: Instant,
}

/// The bytes of a text, which lasts as long as they do: until they are sent.
struct Plain(Arc<Text>);
struct Gzip(Arc<Text>);

impl AsRef<[u8]> for Plain {
    fn as_ref(&self) -> &[u8] {
        &self.0.plain
    }
}

impl AsRef<[u8]> for Gzip {
    fn as_ref(&self) -> &[u8] {
        self.0.gzip.get().map_or(&[], Vec::as_slice)
    }
}

impl Text {
    /// The uncompressed body.
    pub fn plain(self: &Arc<Self>) -> Bytes {
        Bytes::from_owner(Plain(Arc::clone(self)))
    }

    /// Its bytes, compressed, where that was done.
    pub fn gzip(self: &Arc<Self>) -> Option<Bytes> {
        self.gzip.get().is_some().then(|| Bytes::from_owner(Gzip(Arc::clone(self))))
    }

    fn compress(&self) {
        self.gzip.get_or_init(|| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            // Into memory, so neither can fail.
            let _infallible = encoder.write_all(&self.plain);
            encoder.finish().unwrap_or_default()
        });
    }
}

type Job = Box<dyn FnOnce() + Send>;
type PendingTexts<K> = Arc<Mutex<HashMap<K, PendingText>>>;

/// A response body that is being made.
#[derive(Clone)]
struct PendingText {
    text: watch::Receiver<Option<Arc<Text>>>,
    /// Somebody who waits for it takes gzip.
    gzip: Arc<AtomicBool>,
}

/// Renders response bodies on a thread of its own; requests for the same key share one body.
pub struct Renderer<K> {
    jobs: SyncSender<Job>,
    waiting: PendingTexts<K>,
    kept: Arc<UnsentTexts>,
    /// Held from asking whether there is room until the text is among those kept.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// The texts that somebody has not fetched whole yet, the oldest first.
#[derive(Debug)]
pub struct UnsentTexts {
    texts: Mutex<Vec<Weak<Text>>>,
    connections: Arc<Connections>,
}

impl UnsentTexts {
    /// None yet.
    pub fn new(connections: Arc<Connections>) -> Self {
        Self { texts: Mutex::default(), connections }
    }

    /// Waits until there is room for one more. The clients that have the oldest lose it, but not before they have had some
    /// time to fetch it.
    async fn room(&self) {
        loop {
            let alive: Vec<Arc<Text>> = {
                let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
                texts.retain(|text| text.strong_count() > 0);
                texts.iter().filter_map(Weak::upgrade).collect()
            };
            let bytes: usize = alive.iter().map(|text| text.plain.len()).sum();
            let Some(oldest) = alive.first().filter(|_| alive.len() >= MOST || bytes > MOST_BYTES) else {
                return;
            };
            let (id, due) = (oldest.id, oldest.made_at + FETCHED);
            drop(alive);
            if Instant::now() >= due {
                self.connections.close_with(id);
            }
            // What is closed goes as soon as its task is looked at.
            tokio::time::sleep(timeouts::GLANCE / 5).await;
        }
    }

    fn keep(&self, text: &Arc<Text>) {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(text));
    }
}

impl<K: Clone + Eq + Hash + Send + 'static> Renderer<K> {
    /// Starts its thread.
    pub fn start(name: &str, kept: &Arc<UnsentTexts>) -> io::Result<Self> {
        let (jobs, inbox) = sync_channel::<Job>(QUEUE);
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            for job in inbox {
                // Whoever waits for it learns of it by the end of its channel.
                let _panicked = catch_unwind(AssertUnwindSafe(job));
            }
        })?;
        Ok(Self { jobs, waiting: Arc::default(), kept: Arc::clone(kept), turn: Arc::default() })
    }

    /// The text of this key: the one that is being made, or else a new one. `gzip` has it compressed as well. `None` where
    /// too many wait, or making it has panicked.
    pub async fn text(
        &self,
        key: K,
        gzip: bool,
        make: impl FnOnce() -> (StatusCode, &'static str, String) + Send + 'static,
    ) -> Option<Arc<Text>> {
        let mut text = self.coming(key, gzip, make).text;
        text.wait_for(Option::is_some).await.ok()?.clone()
    }

    fn coming(
        &self,
        key: K,
        gzip: bool,
        make: impl FnOnce() -> (StatusCode, &'static str, String) + Send + 'static,
    ) -> PendingText {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(coming) = waiting.get(&key) {
            coming.gzip.fetch_or(gzip, Ordering::Relaxed);
            return coming.clone();
        }
        let (made, text) = watch::channel(None);
        let coming = PendingText { text, gzip: Arc::new(AtomicBool::new(gzip)) };
        if waiting.len() >= QUEUE {
            return coming;
        }
        waiting.insert(key.clone(), coming.clone());
        drop(waiting);
        let place = TextGuard { key, waiting: Arc::clone(&self.waiting) };
        let (jobs, kept, turn) = (self.jobs.clone(), Arc::clone(&self.kept), Arc::clone(&self.turn));
        let wanted = Arc::clone(&coming.gzip);
        // A task of its own: whoever asked first may go, and others wait.
        tokio::spawn(async move {
            let turn = turn.lock_owned().await;
            kept.room().await;
            let job = Box::new(move || {
                let (status, content_type, text) = make();
                let text = Arc::new(Text {
                    id: next_id(),
                    status,
                    content_type,
                    plain: text.into_bytes(),
                    gzip: OnceLock::new(),
                    made_at: Instant::now(),
                });
                // Whoever asks from here on gets a new one; those who wait for this have said what they take.
                drop(place);
                if wanted.load(Ordering::Relaxed) {
                    text.compress();
                }
                kept.keep(&text);
                drop(turn);
                let _nobody_waits = made.send(Some(text));
            });
            // Where it is full, what is dropped tells those who wait.
            let _too_many = jobs.try_send(job);
        });
        coming
    }
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The key of a text that is being made.
struct TextGuard<K: Eq + Hash> {
    key: K,
    waiting: PendingTexts<K>,
}

impl<K: Eq + Hash> Drop for TextGuard<K> {
    fn drop(&mut self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
