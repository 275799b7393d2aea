//! `basic_auth_users`: verification of passwords against bcrypt hashes, one at a time on a thread of its own, because
//! each takes from 50 ms to seconds.

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine as _, alphabet};
use bcrypt::HashParts;
use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use tokio::sync::oneshot;
use uuid::Uuid;

/// Maximum number of cached results of a kind: right passwords, wrong ones.
const MAX_CACHED: usize = 100;

/// Maximum number of passwords that wait to be verified.
const MAX_WAITING: usize = 32;

/// The costs of bcrypt, by which nothing else can be verified: the logarithm of the number of rounds.
const COSTS: RangeInclusive<u32> = 4..=31;

/// Users and their password hashes.
pub struct Passwords {
    users: BTreeMap<String, String>,
    jobs: SyncSender<Job>,
    cache: Mutex<Cache>,
}

/// What was verified before. Wrong passwords, of which anyone has any number, take no place of right ones.
#[derive(Default)]
struct Cache {
    right: HashSet<Uuid>,
    wrong: HashSet<Uuid>,
}

impl Cache {
    fn get(&self, key: &Uuid) -> Option<bool> {
        if self.right.contains(key) { Some(true) } else { self.wrong.contains(key).then_some(false) }
    }

    fn insert(&mut self, key: Uuid, result: bool) {
        let of_kind = if result { &mut self.right } else { &mut self.wrong };
        if of_kind.len() >= MAX_CACHED {
            of_kind.clear();
        }
        of_kind.insert(key);
    }
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
        let known = self.cache.lock().unwrap_or_else(PoisonError::into_inner).get(&key);
        if known.is_some() {
            return known;
        }
        let (result, told) = oneshot::channel();
        self.jobs.try_send(Job { password, hash: checked, result }).ok()?;
        let result = told.await.ok()? && hash.is_some();
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).insert(key, result);
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::{Cache, MAX_CACHED, basic};
    use uuid::Uuid;

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

    #[test]
    fn wrong_passwords_take_no_place_of_right_ones() {
        let mut cache = Cache::default();
        let key = |number: usize| Uuid::from_u128(number as u128);
        cache.insert(key(0), true);
        for wrong in 1..=2 * MAX_CACHED + 1 {
            cache.insert(key(wrong), false);
            assert!(cache.wrong.len() <= MAX_CACHED);
        }
        assert_eq!(cache.get(&key(0)), Some(true));
        assert_eq!(cache.get(&key(2 * MAX_CACHED + 1)), Some(false));
        assert_eq!(cache.get(&key(1)), None);
    }
}
