//! A peer that reads requests of HTTP/1.1 and answers with the bytes it is told to, whatever they are.

use crate::support::PATIENCE;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

/// The heads of the requests that came, and when.
#[derive(Default)]
struct Heads {
    heads: Mutex<Vec<(Instant, String)>>,
    more: Condvar,
}

/// Such a peer; it listens as long as the process lives.
pub(super) struct Raw {
    pub(super) address: SocketAddr,
    heads: Arc<Heads>,
}

impl Raw {
    /// One that answers every request on a connection with the same bytes.
    pub(super) fn answering(listener: TcpListener, answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(listener, move |stream| stream.write_all(&answer).is_ok())
    }

    /// One that does something after each request; whether it reads another on this connection.
    pub(super) fn start(
        listener: TcpListener,
        answer: impl Fn(&mut TcpStream) -> bool + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().expect("an address");
        let heads = Arc::new(Heads::default());
        let (kept, answer) = (Arc::clone(&heads), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let mut writer = stream.try_clone().expect("a descriptor");
                    let mut reader = BufReader::new(stream);
                    while let Some(head) = request(&mut reader) {
                        kept.heads.lock().expect("no panic").push((Instant::now(), head));
                        kept.more.notify_all();
                        if !answer(&mut writer) {
                            break;
                        }
                    }
                });
            }
        });
        Self { address, heads }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits for so many requests; their heads, and when they came.
    pub(super) fn wait(&self, many: usize) -> Vec<(Instant, String)> {
        let deadline = Instant::now() + PATIENCE;
        let mut heads = self.heads.heads.lock().expect("no panic");
        while heads.len() < many {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for {many} requests: {heads:#?}");
            heads = self.heads.more.wait_timeout(heads, left).expect("no panic").0;
        }
        heads.clone()
    }
}

/// Reads a request; its head in lower case but for the first line. `None` at the end of the connection.
fn request(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&if head.is_empty() { line } else { line.to_lowercase() });
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(head)
}

/// A listener on loopback.
pub(super) fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a port")
}

pub(super) const TAKEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
