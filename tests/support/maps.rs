//! The BPF maps that this process has open, by name, without the agent's own code: to see what is left in them, and to write
//! what only a rare accident would.

use std::collections::BTreeSet;

/// Commands of `bpf(2)`, `enum bpf_cmd` in `include/uapi/linux/bpf.h`.
const LOOKUP: libc::c_long = 1;
const UPDATE: libc::c_long = 2;
const NEXT_KEY: libc::c_long = 4;
const INFO: libc::c_long = 15;

/// `struct bpf_map_info`, as far as the name.
#[repr(C)]
#[derive(Default)]
struct Info {
    kind: u32,
    id: u32,
    key: u32,
    value: u32,
    entries: u32,
    flags: u32,
    name: [u8; 16],
}

/// A map of this process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Map {
    name: String,
    file: u32,
    key: usize,
    value: usize,
    id: u32,
    memory: u64,
}

/// Every map that is open.
pub(crate) fn all() -> BTreeSet<Map> {
    let files = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    files.filter_map(|file| open(file.file_name().to_str()?.parse().ok()?)).collect()
}

fn open(file: u32) -> Option<Map> {
    let fdinfo = std::fs::read_to_string(format!("/proc/self/fdinfo/{file}")).ok()?;
    fdinfo.lines().any(|line| line.starts_with("map_id:")).then_some(())?;
    let memory = fdinfo.lines().find_map(|line| line.strip_prefix("memlock:")?.trim().parse().ok())?;
    let mut info = Info::default();
    // struct { bpf_fd, info_len, info }
    let mut words = [u64::from(file) | (size_of::<Info>() as u64) << 32, address(&raw mut info)];
    call(INFO, &mut words).ok()?;
    let name = info.name.split(|byte| *byte == 0).next()?;
    let name = String::from_utf8(name.to_vec()).ok()?;
    Some(Map { name, file, key: info.key as usize, value: info.value as usize, id: info.id, memory })
}

/// The one with a name.
pub(crate) fn named<'a>(maps: &'a BTreeSet<Map>, name: &str) -> &'a Map {
    maps.iter().find(|map| map.name == name).unwrap_or_else(|| panic!("no map {name}: {maps:?}"))
}

impl Map {
    /// The keys of all entries.
    pub(crate) fn keys(&self) -> Vec<Vec<u8>> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        loop {
            let mut next = vec![0_u8; self.key];
            let last = keys.last_mut().map_or(0, |key| address(key.as_mut_ptr()));
            let mut words = [u64::from(self.file), last, address(next.as_mut_ptr()), 0];
            if call(NEXT_KEY, &mut words).is_err() {
                return keys;
            }
            keys.push(next);
        }
    }

    /// The value of a key.
    pub(crate) fn read(&self, key: &[u8]) -> Option<Vec<u8>> {
        let (mut key, mut value) = (key.to_vec(), vec![0_u8; self.value]);
        let mut words = [u64::from(self.file), address(key.as_mut_ptr()), address(value.as_mut_ptr()), 0];
        call(LOOKUP, &mut words).ok()?;
        Some(value)
    }

    /// Writes an entry, for which there is room.
    pub(crate) fn write(&self, key: &[u8], value: &[u8]) {
        self.try_write(key, value).unwrap();
    }

    /// Writes an entry, if there is room.
    pub(crate) fn try_write(&self, key: &[u8], value: &[u8]) -> std::io::Result<()> {
        let (mut key, mut value) = (key.to_vec(), value.to_vec());
        assert_eq!((key.len(), value.len()), (self.key, self.value), "{self:?}");
        let mut words = [u64::from(self.file), address(key.as_mut_ptr()), address(value.as_mut_ptr()), 0];
        call(UPDATE, &mut words)
    }

    /// Its name, its number, and its memory when it was looked at, bytes.
    pub(crate) fn memory(&self) -> (String, u32, u64) {
        (self.name.clone(), self.id, self.memory)
    }

    /// A key that begins with a number.
    pub(crate) fn key_of(&self, number: u64) -> Vec<u8> {
        let mut key = vec![0; self.key];
        key[..8].copy_from_slice(&number.to_ne_bytes());
        key
    }

    /// Bytes of a value.
    pub(crate) fn value(&self) -> usize {
        self.value
    }
}

/// From now on the kernel answers this thread, and what it starts, with an error where it reads many entries at once
/// (`BPF_MAP_LOOKUP_BATCH`), as one without this command does.
#[expect(unsafe_code, reason = "a system call that no safe wrapper offers")]
pub(crate) fn refuse_batches(error: u32) {
    const LOOKUP_BATCH: u32 = 24;
    let bpf = u32::try_from(libc::SYS_bpf).unwrap();
    let one = |code: u32, jt, jf, k| libc::sock_filter { code: u16::try_from(code).unwrap(), jt, jf, k };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    // `struct seccomp_data`: the number of the system call at 0, the lower half of its first argument at 16.
    let mut program = [
        one(load, 0, 0, 0),
        one(equal, 0, 3, bpf),
        one(load, 0, 0, 16),
        one(equal, 0, 1, LOOKUP_BATCH),
        one(libc::BPF_RET, 0, 0, libc::SECCOMP_RET_ERRNO | error),
        one(libc::BPF_RET, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: 6, filter: program.as_mut_ptr() };
    // SAFETY: the filter has as many instructions as is said, and outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, std::ptr::from_ref(&filter))
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

fn address<T>(of: *mut T) -> u64 {
    of.expose_provenance() as u64
}

#[expect(unsafe_code, reason = "a system call that no safe wrapper offers")]
fn call<const N: usize>(command: libc::c_long, words: &mut [u64; N]) -> std::io::Result<()> {
    // SAFETY: the attribute is as long as is said, and its addresses are of buffers with the sizes that the map has, or of an
    // `Info` as long as is said, all of which outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, words.as_mut_ptr(), size_of_val(words)) };
    if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}
