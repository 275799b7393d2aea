//! Response bodies: each rendered once on a thread of its own for all requests that wait for it. The bytes of bodies
//! are bounded until every client has read them.

#![expect(clippy::disallowed_methods, reason = "a text has an age, and a request for one a deadline")]

use super::connections::Connections;
use crate::timeouts;
use crate::web::timeouts::FETCHED;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::StatusCode;
use hyper::body::Bytes;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Instant;
use tokio::sync::watch;

/// Maximum number of texts that a client has not completely read.
const MAX_TEXTS: usize = 3;

/// Maximum size of these texts together, bytes; above it only one is kept.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Maximum number of texts that wait to be rendered.
const QUEUE: usize = 32;

/// A response body.
#[derive(Debug)]
pub struct Text {
    /// Id of the text, unique in the process.
    pub id: u64,
    /// Status of the response.
    pub status: StatusCode,
    /// Value of the header `Content-Type`.
    pub content_type: &'static str,
    plain: Vec<u8>,
    gzip: OnceLock<Vec<u8>>,
    made_at: Instant,
}

/// The bytes of a text; keep the text alive until they are sent.
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

    /// The body compressed with gzip; `None` if it was not compressed.
    pub fn gzip(self: &Arc<Self>) -> Option<Bytes> {
        self.gzip.get().is_some().then(|| Bytes::from_owner(Gzip(Arc::clone(self))))
    }

    fn compress(&self) {
        self.gzip.get_or_init(|| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            // Writing to memory cannot fail.
            let _infallible = encoder.write_all(&self.plain);
            encoder.finish().unwrap_or_default()
        });
    }
}

type Job = Box<dyn FnOnce() + Send>;
type PendingTexts<K> = Arc<Mutex<HashMap<K, PendingText>>>;

/// A text that is being rendered.
#[derive(Clone)]
struct PendingText {
    text: watch::Receiver<Option<Arc<Text>>>,
    /// Whether a request that waits for the text accepts gzip.
    gzip: Arc<AtomicBool>,
}

/// Renders response bodies on a thread of its own; requests for the same key share one body.
pub struct Renderer<K> {
    jobs: SyncSender<Job>,
    waiting: PendingTexts<K>,
    unsent: Arc<UnsentTexts>,
    /// Held from the check of the limits until the text is among those kept.
    admission: Arc<tokio::sync::Mutex<()>>,
}

/// Maximum number of texts that are kept for later requests.
const MAX_CACHED: usize = 2;

/// Texts that a client has not completely read, oldest first, and those that are kept for later requests.
#[derive(Debug)]
pub struct UnsentTexts {
    texts: Mutex<Vec<Weak<Text>>>,
    /// The first to go where another text needs the space.
    cached: Mutex<VecDeque<(String, Arc<Text>)>>,
    connections: Arc<Connections>,
}

impl UnsentTexts {
    /// Creates it without texts.
    pub fn new(connections: Arc<Connections>) -> Self {
        Self { texts: Mutex::default(), cached: Mutex::default(), connections }
    }

    /// The text that was kept under this key; `gzip`: it has to be compressed too.
    pub fn cached(&self, key: &str, gzip: bool) -> Option<Arc<Text>> {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let known = cached.iter().find(|(known, text)| known == key && (!gzip || text.gzip.get().is_some()));
        known.map(|(_, text)| Arc::clone(text))
    }

    /// Keeps a text for later requests, instead of the oldest that is kept.
    pub fn cache(&self, key: &str, text: &Arc<Text>) {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        cached.retain(|(known, _)| known != key);
        cached.push_back((key.to_owned(), Arc::clone(text)));
        while cached.len() > MAX_CACHED {
            cached.pop_front();
        }
    }

    /// Drops what is kept for later requests; whether there was anything.
    fn drop_cached(&self) -> bool {
        !std::mem::take(&mut *self.cached.lock().unwrap_or_else(PoisonError::into_inner)).is_empty()
    }

    /// Waits until another text fits. The connections of the oldest text are closed for it, after a minimum time.
    async fn wait_for_space(&self) {
        loop {
            let alive: Vec<Arc<Text>> = {
                let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
                texts.retain(|text| text.strong_count() > 0);
                texts.iter().filter_map(Weak::upgrade).collect()
            };
            let bytes: usize = alive.iter().map(|text| text.plain.len()).sum();
            let Some(oldest) = alive.first().filter(|_| alive.len() >= MAX_TEXTS || bytes > MAX_BYTES) else {
                return;
            };
            let (id, due) = (oldest.id, oldest.made_at + FETCHED);
            drop(alive);
            if self.drop_cached() {
                continue;
            }
            if Instant::now() >= due {
                self.connections.close_with(id);
            }
            // The memory of closed connections is freed when their tasks run.
            tokio::time::sleep(timeouts::GLANCE / 5).await;
        }
    }

    fn keep(&self, text: &Arc<Text>) {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(text));
    }
}

impl<K: Clone + Eq + Hash + Send + 'static> Renderer<K> {
    /// Starts the thread.
    pub fn start(name: &str, unsent: &Arc<UnsentTexts>) -> io::Result<Self> {
        let (jobs, inbox) = sync_channel::<Job>(QUEUE);
        std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            for job in inbox {
                // Requests that wait for the text notice a panic by the end of their channel.
                let _panicked = catch_unwind(AssertUnwindSafe(job));
            }
        })?;
        Ok(Self { jobs, waiting: Arc::default(), unsent: Arc::clone(unsent), admission: Arc::default() })
    }

    /// The text of this key: the one that is being rendered, or a new one; `gzip` requests that it is also compressed.
    /// `None` if too many wait, or if rendering panicked.
    pub async fn text(
        &self,
        key: K,
        gzip: bool,
        make: impl FnOnce() -> (StatusCode, &'static str, String) + Send + 'static,
    ) -> Option<Arc<Text>> {
        let mut text = self.pending(key, gzip, make).text;
        text.wait_for(Option::is_some).await.ok()?.clone()
    }

    fn pending(
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
        let guard = TextGuard { key, waiting: Arc::clone(&self.waiting) };
        let (jobs, unsent, admission) =
            (self.jobs.clone(), Arc::clone(&self.unsent), Arc::clone(&self.admission));
        let wanted = Arc::clone(&coming.gzip);
        // A separate task, because the connection of the first request may end while others wait.
        tokio::spawn(async move {
            let admission = admission.lock_owned().await;
            unsent.wait_for_space().await;
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
                // Later requests get a new text; those that wait for this one have already set `gzip`.
                drop(guard);
                if wanted.load(Ordering::Relaxed) {
                    text.compress();
                }
                unsent.keep(&text);
                drop(admission);
                let _nobody_waits = made.send(Some(text));
            });
            // If the queue is full, dropping the job ends the channel of the requests that wait.
            let _too_many = jobs.try_send(job);
        });
        coming
    }
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Removes the key of a text that is being rendered when dropped.
struct TextGuard<K: Eq + Hash> {
    key: K,
    waiting: PendingTexts<K>,
}

impl<K: Eq + Hash> Drop for TextGuard<K> {
    fn drop(&mut self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
