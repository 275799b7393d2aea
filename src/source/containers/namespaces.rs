//! The addresses of network namespaces, read again only where they may have changed.

use super::addresses;
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Maximum number of bytes that are read of a file with the addresses or the sockets of a network namespace.
pub(super) const FILE: u64 = 16 * 1024 * 1024;

/// How long addresses are used if nothing indicates a change.
const AGAIN: Duration = Duration::from_mins(1);

/// Addresses by network namespace.
#[derive(Debug)]
pub(super) struct Namespaces {
    proc: PathBuf,
    known: HashMap<u64, KnownNamespace>,
}

#[derive(Debug)]
struct KnownNamespace {
    addresses: Vec<IpAddr>,
    /// The addresses of IPv6, and the sizes of the routing tables of IPv4, in which each address has routes of its own: two
    /// small files. `fib_trie` has every route of the namespace.
    signs: [String; 2],
    read: Instant,
    asked: Instant,
}

impl Default for Namespaces {
    fn default() -> Self {
        Self { proc: "/proc".into(), known: HashMap::new() }
    }
}

impl Namespaces {
    /// Forgets the namespaces that were not used since a time.
    pub(super) fn forget_before(&mut self, cycle: Instant) {
        self.known.retain(|_, known| known.asked >= cycle);
    }

    /// The addresses of the namespace of these processes; the files of the first that still exists are read once per
    /// cycle. If all have ended, the addresses are those of the last read.
    pub(super) fn addresses(&mut self, namespace: u64, processes: &[String], now: Instant) -> &[IpAddr] {
        let mut files = processes.iter().map(|process| self.proc.join(process).join("net"));
        let files = files.find(|files| files.join("fib_triestat").exists());
        let read = |name| match &files {
            Some(files) => crate::sys::read_limited(files.join(name), FILE).unwrap_or_default(),
            None => String::new(),
        };
        let known = self.known.entry(namespace).or_insert_with(|| KnownNamespace {
            addresses: Vec::new(),
            signs: [String::new(), String::new()],
            read: now,
            asked: now.checked_sub(AGAIN).unwrap_or(now),
        });
        if files.is_some() && (known.asked != now || known.addresses.is_empty()) {
            let signs = [read("if_inet6"), read("fib_triestat")];
            let old = now.saturating_duration_since(known.read) >= AGAIN;
            if known.addresses.is_empty() || old || signs != known.signs {
                known.addresses = addresses::fib_trie(&read("fib_trie"));
                let [six, _] = &signs;
                known.addresses.extend(addresses::if_inet6(six));
                (known.signs, known.read) = (signs, now);
            }
        }
        known.asked = now;
        &known.addresses
    }
}

#[cfg(test)]
mod tests {
    use super::{AGAIN, Namespaces};
    use std::time::{Duration, Instant};

    #[test]
    fn addresses_are_read_again_when_a_sign_of_them_changes_and_after_a_minute() {
        let folder = tempfile::tempdir().unwrap();
        let net = folder.path().join("7/net");
        std::fs::create_dir_all(&net).unwrap();
        let write = |name: &str, text: &str| std::fs::write(net.join(name), text).unwrap();
        let trie =
            |address: &str| write("fib_trie", &format!("     |-- {address}\n        /32 host LOCAL\n"));
        let mut namespaces = Namespaces { proc: folder.path().to_owned(), ..Namespaces::default() };
        let start = Instant::now();
        let mut at = |seconds: u64| {
            let now = start + Duration::from_secs(seconds);
            let processes = ["6", "7"].map(str::to_owned);
            let addresses = namespaces.addresses(1, &processes, now);
            addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        write("fib_triestat", "\tPrefixes:       5\n");
        trie("10.0.0.1");
        assert_eq!(at(0), "10.0.0.1");
        trie("10.0.0.2");
        assert_eq!(at(1), "10.0.0.1", "nothing says so");
        write("fib_triestat", "\tPrefixes:       6\n");
        assert_eq!(at(2), "10.0.0.2");
        write("if_inet6", "fd000000000000000000000000000001 02 40 00 80     eth0\n");
        assert_eq!(at(3), "10.0.0.2 fd00::1");
        trie("10.0.0.3");
        assert_eq!(at(4), "10.0.0.2 fd00::1");
        assert_eq!(at(3 + AGAIN.as_secs()), "10.0.0.3 fd00::1");
        std::fs::rename(folder.path().join("7"), folder.path().join("8")).unwrap();
        assert_eq!(at(200), "10.0.0.3 fd00::1", "no process of it is known any more");
        std::fs::rename(folder.path().join("8"), folder.path().join("6")).unwrap();
        let net = folder.path().join("6/net");
        std::fs::write(net.join("fib_trie"), "     |-- 10.0.0.4\n        /32 host LOCAL\n").unwrap();
        assert_eq!(at(300), "10.0.0.4 fd00::1");
    }
}
