//! The kernel's types (BTF): programs are relocated with them, and they show what the kernel supports.

use super::needed;
use crate::reading::SourceError;
use aya::{Btf, Endianness};

const FILE: &str = "/sys/kernel/btf/vmlinux";
/// What reading it is called in errors.
pub(super) const DOING: &str = "reading the kernel's types (/sys/kernel/btf/vmlinux, CONFIG_DEBUG_INFO_BTF)";
/// Maximum number of bytes read; kernels of distributions have 4 to 7 MiB.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Placeholder in an object for the flags of a hash map; `FLAGS_BY_KERNEL` in `bpf/kernel.h`.
const FLAGS_BY_KERNEL: u32 = 0x3ca5_965a;
/// `BPF_F_NO_PREALLOC` of `include/uapi/linux/bpf.h`.
const BPF_F_NO_PREALLOC: u32 = 1;
/// aya reads 64-bit numbers of an object without copying them.
const ALIGNMENT: usize = 8;

/// The kernel's types, and the abilities found in them.
pub(super) struct Types {
    pub(super) btf: Btf,
    pub(super) abilities: Abilities,
}

/// Features of the kernel, found by the names of its types.
#[derive(Debug, Clone, Copy)]
pub struct Abilities {
    /// Whether tracing programs may allocate entries of hash maps (`struct bpf_mem_alloc`, Linux 6.1). Otherwise hash
    /// maps are preallocated, because the kernel's allocator must not be called everywhere that a program may run.
    pub allocates: bool,
    /// Whether a program may iterate over the entries of a map (`bpf_for_each_map_elem`, Linux 5.13).
    pub visits_maps: bool,
}

/// The bytes of the file.
pub(super) fn bytes() -> Result<Vec<u8>, SourceError> {
    crate::sys::read_regular(FILE, MAX_FILE_BYTES).map_err(|cause| SourceError::absent(DOING, cause))
}

impl Types {
    /// Reads the types that an object uses. They take some 20 MiB while in use.
    pub(super) fn read(object: &[u8]) -> Result<Self, SourceError> {
        let mut bytes = bytes()?;
        needed::keep(&mut bytes, object).map_err(|cause| SourceError::absent(DOING, cause))?;
        let btf = Btf::parse(&bytes, Endianness::default());
        let btf = btf.map_err(|cause| SourceError::absent(DOING, cause))?;
        Ok(Self { btf, abilities: Abilities::of(&bytes) })
    }
}

impl Abilities {
    /// A name is between zero bytes.
    fn of(types: &[u8]) -> Self {
        let has = |name: &[u8]| memchr::memmem::find(types, name).is_some();
        Self { allocates: has(b"\0bpf_mem_alloc\0"), visits_maps: has(b"\0BPF_FUNC_for_each_map_elem\0") }
    }
}

/// An object whose hash maps have the allocation flags that the kernel supports.
pub(super) struct FittedObject {
    bytes: Vec<u8>,
    start: usize,
}

impl FittedObject {
    pub(super) fn new(object: &[u8], abilities: Abilities) -> Self {
        let mut bytes = vec![0; object.len() + ALIGNMENT];
        let start = bytes.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        let flags = if abilities.allocates { BPF_F_NO_PREALLOC } else { 0 };
        for (to, word) in bytes.iter_mut().skip(start).zip(object) {
            *to = *word;
        }
        let (words, _) = bytes.get_mut(start..).unwrap_or_default().as_chunks_mut::<4>();
        for word in words.iter_mut().filter(|word| **word == FLAGS_BY_KERNEL.to_ne_bytes()) {
            *word = flags.to_ne_bytes();
        }
        Self { bytes, start }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        let object = self.bytes.get(self.start..).unwrap_or_default();
        object.get(..self.bytes.len() - ALIGNMENT).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{Abilities, FittedObject};

    #[test]
    fn the_flags_of_hash_maps_are_in_one_place_of_the_object() {
        let object = crate::host::bpf::include_bytes_aligned!("../../../bpf/connscope.bpf.o");
        let fitted = |allocates| FittedObject::new(object, Abilities { allocates, visits_maps: true });
        let differences = |allocates| {
            let fitted = fitted(allocates);
            assert_eq!((fitted.bytes().len(), fitted.bytes().as_ptr().align_offset(8)), (object.len(), 0));
            let pairs = fitted.bytes().chunks(4).zip(object.chunks(4));
            pairs.filter(|(now, before)| now != before).map(|(now, _)| now.to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(differences(true), [1_u32.to_ne_bytes()]);
        assert_eq!(differences(false), [0_u32.to_ne_bytes()]);
    }

    #[test]
    fn what_a_kernel_can_do_is_told_by_whole_names() {
        let of = |names: &[u8]| Abilities::of(names).allocates;
        assert!(of(b"\x9f\xeb\0a\0bpf_mem_alloc\0b\0"));
        assert!(!of(b"\0bpf_mem_alloc_init\0xbpf_mem_alloc\0"));
    }
}
