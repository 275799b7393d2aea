//! `basic_auth_users`: verification of passwords against bcrypt hashes, one at a time on a thread of its own, because
//! each takes from 50 ms to seconds.

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine as _, alphabet};
use bcrypt::HashParts;
use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use tokio::sync::oneshot;
use uuid::Uuid;

/// Maximum number of cached results.
const MAX_CACHED: usize = 100;

/// Maximum number of passwords that wait to be verified.
const MAX_WAITING: usize = 32;

/// The costs of bcrypt, by which nothing else can be verified: the logarithm of the number of rounds.
const COSTS: RangeInclusive<u32> = 4..=31;

/// Users and their password hashes.
pub struct Passwords {
    users: BTreeMap<String, String>,
    jobs: SyncSender<Job>,
    cache: Mutex<HashMap<Uuid, bool>>,
}

struct Job {
    password: Vec<u8>,
    hash: String,
    result: oneshot::Sender<bool>,
}

/// The user and password of an `Authorization` header with the scheme Basic (RFC 7617).
pub fn basic(header: &str) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = BASE64.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (user, password) = decoded.split_at_checked(colon)?;
    Some((String::from_utf8(user.to_vec()).ok()?, password.get(1..)?.to_vec()))
}

/// Base64 with the usual alphabet (RFC 4648, section 4), with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

impl Passwords {
    /// Starts the thread; `None` without users. The error names the user, not the hash.
    pub fn new(users: BTreeMap<String, String>) -> Result<Option<Self>, String> {
        for (user, hash) in &users {
            let wrong = |why: &str| format!("basic_auth_users: the password of `{user}` {why}");
            let parts = HashParts::from_str(hash)
                .map_err(|error| wrong(&format!("is not a bcrypt hash: {error}")))?;
            if !COSTS.contains(&parts.get_cost()) {
                return Err(wrong(&format!("has the cost {}: bcrypt has 4 to 31", parts.get_cost())));
            }
        }
        if users.is_empty() {
            return Ok(None);
        }
        let (jobs, inbox) = sync_channel::<Job>(MAX_WAITING);
        let check = move || {
            for Job { password, hash, result } in inbox {
                let _gone = result.send(bcrypt::verify(password, &hash).unwrap_or(false));
            }
        };
        let spawned = std::thread::Builder::new().name("passwords".to_owned()).spawn(check);
        spawned.map_err(|error| format!("starting a thread: {error}"))?;
        Ok(Some(Self { users, jobs, cache: Mutex::default() }))
    }

    /// Whether this is the user's password; `None` if too many wait. For an unknown user the first user's hash is
    /// computed, so that the time is the same.
    pub async fn verify(&self, user: &str, password: Vec<u8>) -> Option<bool> {
        let hash = self.users.get(user);
        let checked = hash.or_else(|| self.users.values().next())?.clone();
        let length = |bytes: &[u8]| (bytes.len() as u64).to_be_bytes();
        let parts: [&[u8]; 4] = [&length(user.as_bytes()), user.as_bytes(), checked.as_bytes(), &password];
        let key = Uuid::new_v5(&Uuid::nil(), &parts.concat());
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        if cache.is_some() {
            return cache;
        }
        let (result, told) = oneshot::channel();
        self.jobs.try_send(Job { password, hash: checked, result }).ok()?;
        let result = told.await.ok()? && hash.is_some();
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= MAX_CACHED {
            cache.clear();
        }
        cache.insert(key, result);
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::basic;

    #[test]
    fn credentials_are_read_as_they_are_written() {
        let read =
            |header| basic(header).map(|(user, password)| (user, String::from_utf8(password).unwrap()));
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(read("Basic YWxpY2U6c2VjcmV0"), pair("alice", "secret"));
        assert_eq!(read("basic  YTpiOmM="), pair("a", "b:c"));
        assert_eq!(read("Basic YTo="), pair("a", ""));
        for header in ["Basic", "Bearer YWxpY2U6c2VjcmV0", "Basic YWxpY2U", "Basic !", "Basic /zo="] {
            assert_eq!(read(header), None, "{header}");
        }
    }
}
