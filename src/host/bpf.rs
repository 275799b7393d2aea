//! BPF programs and maps: loads an object, attaches its programs, and gives access to its maps. The library for it
//! (aya) is used only here.
//!
//! `make bpf` compiles an object from each file in `bpf/`. A source includes its own object with
//! [`include_bytes_aligned`], because loading an object creates all of its maps. Programs are loaded separately, so a
//! program that the kernel refuses disables only its own function: [`Programs::refused`] has the reason. The kernel's
//! types (BTF) take some 20 MiB while programs are relocated, so objects are loaded one after the other, and the memory is
//! released.

use crate::reading::SourceError;
use crate::sys::{bpf, process};
use aya::maps::MapError;
use aya::programs::{Iter, Program, ProgramError};
use aya::{Btf, BtfError, Ebpf, EbpfLoader, VerifierLogLevel};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use types::{FittedObject, Types};

mod btf;
pub mod enums;
mod functions;
mod maps;
mod needed;
mod tracer;
mod types;

pub use functions::traces_functions;
pub use maps::{Map, Numbers, PerCpuMap, PerCpuNumbers, Ring};
pub use tracer::Tracer;
pub use types::Abilities;

pub(crate) use aya::include_bytes_aligned;

/// Capabilities that loading programs needs.
pub const CAPABILITIES: &str = "CAP_BPF and CAP_PERFMON";

/// What is missing where the kernel refuses a program to a process that has [`CAPABILITIES`].
const WITH_CAPABILITIES: &str = "a kernel without lockdown, no security module against it and the first user namespace; \
                                 CAP_BPF and CAP_PERFMON are there";

/// Checks that this process has [`CAPABILITIES`], before the kernel's types are read.
///
/// # Errors
///
/// A capability is missing.
pub fn permitted() -> Result<(), SourceError> {
    use rustix::thread::{CapabilitySet, capabilities};
    let has = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    if has.contains(CapabilitySet::SYS_ADMIN) || has.contains(CapabilitySet::BPF | CapabilitySet::PERFMON) {
        return Ok(());
    }
    let doing = "loading programs into the kernel".to_owned();
    Err(SourceError::Denied { doing, capability: CAPABILITIES, cause: None })
}

/// Held while an object is loaded.
static LOADING: Mutex<()> = Mutex::new(());

/// An object that is being loaded: its maps exist, and its programs are loaded one at a time.
pub struct Loader {
    btf: Btf,
    programs: Programs,
    _alone: MutexGuard<'static, ()>,
}

/// The loaded programs of an object. They are detached when this is dropped.
pub struct Programs {
    ebpf: Ebpf,
    maps: Vec<OwnedFd>,
    refused: Vec<(&'static str, SourceError)>,
}

impl Loader {
    /// Creates the maps of an object. `globals` are its constants by name, `entries` the sizes of maps that differ from
    /// the object's.
    ///
    /// # Errors
    ///
    /// The kernel has no BTF, or refuses a map.
    pub fn new(
        object: &[u8],
        globals: impl FnOnce(Abilities) -> Vec<(&'static str, u32)>,
        entries: &[(&str, u32)],
    ) -> Result<Self, SourceError> {
        let alone = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        let (btf, abilities);
        // It reads all types of the kernel, which are let go before those that are used are read.
        let mut loader = EbpfLoader::new();
        loader.btf(None);
        Types { btf, abilities } = Types::read(object)?;
        let (object, globals) = (FittedObject::new(object, abilities), globals(abilities));
        // aya has no type for task storage maps, and creates them nevertheless.
        loader.btf(Some(&btf)).verifier_log_level(VerifierLogLevel::DISABLE).allow_unsupported_maps();
        for (name, value) in &globals {
            loader.override_global(name, value, true);
        }
        for (name, most) in entries {
            loader.map_max_entries(name, *most);
        }
        let ebpf =
            loader.load(object.bytes()).map_err(|cause| refused("making BPF maps".to_owned(), cause))?;
        let maps = ebpf.maps().filter_map(|(_, map)| descriptor(map)).collect();
        Ok(Self { btf, programs: Programs { ebpf, maps, refused: Vec::new() }, _alone: alone })
    }

    /// Loads a program and attaches it to a tracepoint (`tp_btf`). Returns whether the kernel accepted it.
    pub fn trace(&mut self, program: &'static str, tracepoint: &str) -> bool {
        self.trace_any(program, &[program], tracepoint).is_some()
    }

    /// [`Tracer::trace_any`] of a new object.
    pub fn trace_any(&mut self, name: &'static str, programs: &[&str], tracepoint: &str) -> Option<usize> {
        self.tracer().trace_any(name, programs, tracepoint)
    }

    /// Attaches programs to tracepoints.
    pub fn tracer(&mut self) -> Tracer<'_> {
        let Self { btf, programs, .. } = self;
        Tracer { btf, programs }
    }

    /// Loads an iterator over `task`, `task_file` and the like, for [`Programs::pass`]. Returns whether the kernel
    /// accepted it.
    pub fn iterator(&mut self, program: &'static str, over: &str) -> bool {
        let iter = program_mut::<Iter>(&mut self.programs.ebpf, program);
        let result = iter.and_then(|iter| iter.load(over, &self.btf));
        self.note(program, result)
    }

    fn note(&mut self, program: &'static str, result: Result<(), ProgramError>) -> bool {
        let taken = result.is_ok();
        if let Err(error) = result {
            self.programs.refused.push((program, not_loaded(program, error)));
        }
        taken
    }

    /// The hash map with this name, with keys of `K` and values of `V` bytes.
    ///
    /// # Errors
    ///
    /// The object has no such map, or its sizes differ.
    pub fn map<const K: usize, const V: usize>(
        &mut self,
        name: &'static str,
    ) -> Result<Map<K, V>, SourceError> {
        Ok(Map::new(self.take(name)?, name))
    }

    /// The hash map with this name, with keys of `K` bytes and a number for each CPU.
    ///
    /// # Errors
    ///
    /// As [`Self::map`], or the kernel does not say which CPUs are possible.
    pub fn per_cpu_map<const K: usize>(&mut self, name: &'static str) -> Result<PerCpuMap<K>, SourceError> {
        PerCpuMap::new(self.take(name)?, name)
    }

    /// The array with this name, of a 64-bit number for each CPU.
    ///
    /// # Errors
    ///
    /// As [`Self::map`].
    pub fn per_cpu_numbers(&mut self, name: &str) -> Result<PerCpuNumbers, SourceError> {
        Ok(PerCpuNumbers::new(self.take(name)?))
    }

    /// The array of 64-bit numbers with this name.
    ///
    /// # Errors
    ///
    /// As [`Self::map`].
    pub fn numbers(&mut self, name: &str) -> Result<Numbers, SourceError> {
        Ok(Numbers::new(self.take(name)?))
    }

    /// The ring buffer with this name.
    ///
    /// # Errors
    ///
    /// As [`Self::map`].
    pub fn ring(&mut self, name: &str) -> Result<Ring, SourceError> {
        Ok(Ring::new(self.take(name)?))
    }

    fn take<T: TryFrom<aya::maps::Map, Error = MapError>>(&mut self, name: &str) -> Result<T, SourceError> {
        let doing = || format!("opening the BPF map {name}");
        let map = self.programs.ebpf.take_map(name);
        let map = map.ok_or_else(|| SourceError::absent(doing(), "the object has no such map"))?;
        T::try_from(map).map_err(|cause| SourceError::io(doing(), cause))
    }

    /// Ends loading, and returns the programs.
    pub fn finish(self) -> Programs {
        let Self { btf, programs, _alone: alone } = self;
        drop(btf);
        process::give_memory_back();
        drop(alone);
        programs
    }
}

impl Programs {
    /// The error with which the kernel refused a program; `None` if it accepted it.
    pub fn refused(&self, program: &str) -> Option<&SourceError> {
        self.refused.iter().find(|(name, _)| *name == program).map(|(_, error)| error)
    }

    /// Every program that the kernel refused, with the error.
    pub fn all_refused(&self) -> &[(&'static str, SourceError)] {
        &self.refused
    }

    /// Runs an iterator to its end, and calls `take` with each piece of its output.
    ///
    /// # Errors
    ///
    /// The program was refused, or the kernel refuses to run it.
    pub fn pass(&mut self, program: &str, mut take: impl FnMut(&[u8])) -> Result<(), SourceError> {
        if let Some(error) = self.refused(program) {
            return Err(error.again("the program was not loaded"));
        }
        run(&mut self.ebpf, program, &mut take)
            .map_err(|error| refused(format!("running the iterator {program}"), error))
    }

    /// Memory of all maps of the object as reported by the kernel, bytes. Memory allocated on demand is included as far
    /// as it is in use.
    pub fn memory(&self) -> u64 {
        self.maps.iter().filter_map(|map| bpf::number(map.as_fd(), "memlock")).sum()
    }

    /// Number of runs that the kernel skipped because the program was already running on the same CPU.
    pub fn interrupted(&self) -> u64 {
        let programs = self.ebpf.programs().filter_map(|(_, program)| program.fd().ok());
        programs.filter_map(|program| bpf::number(program.as_fd(), "recursion_misses")).sum()
    }
}

/// A duplicate of the descriptor of a map, since taking the map moves it.
fn descriptor(map: &aya::maps::Map) -> Option<OwnedFd> {
    use aya::maps::Map;
    let (Map::Array(data)
    | Map::HashMap(data)
    | Map::LruHashMap(data)
    | Map::PerCpuArray(data)
    | Map::PerCpuHashMap(data)
    | Map::RingBuf(data)
    | Map::Unsupported(data)) = map
    else {
        return None;
    };
    data.fd().as_fd().try_clone_to_owned().ok()
}

fn run(ebpf: &mut Ebpf, program: &str, take: &mut dyn FnMut(&[u8])) -> Result<(), ProgramError> {
    let iter: &mut Iter = program_mut(ebpf, program)?;
    // A pass consumes the link.
    let link = iter.attach()?;
    let link = iter.take_link(link)?.into_file();
    let mut file = link.map_err(|error| ProgramError::IOError(io::Error::other(error)))?;
    let mut part = [0; 4096];
    // The iterator proceeds only while it is read, also without output.
    loop {
        match file.read(&mut part) {
            Ok(0) => return Ok(()),
            Ok(length) => take(part.get(..length).unwrap_or_default()),
            // The kernel returns after each million objects without output (`MAX_ITER_OBJECTS` in
            // kernel/bpf/bpf_iter.c), and after a signal.
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(error) => return Err(ProgramError::IOError(error)),
        }
    }
}

/// Reads the kernel's types (BTF). Returns a sentence for `connscope check`.
///
/// # Errors
///
/// The kernel has no BTF.
pub fn btf() -> Result<String, SourceError> {
    let _alone = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    let read = Types::read(&[]).map(|_| "the kernel tells its types".to_owned());
    process::give_memory_back();
    read
}

/// Reads enumerations of the kernel by name; one that it does not have is empty.
///
/// # Errors
///
/// The kernel has no BTF, or it cannot be parsed.
pub fn enumerations<const N: usize>(names: [&str; N]) -> Result<[enums::Enumeration; N], SourceError> {
    let _alone = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
    let bytes = types::bytes()?;
    let found = enums::parse(&bytes, names).map_err(|cause| SourceError::parse(types::DOING, cause));
    drop(bytes);
    process::give_memory_back();
    found
}

fn program_mut<'a, T>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut T, ProgramError>
where
    &'a mut T: TryFrom<&'a mut Program, Error = ProgramError>,
{
    ebpf.program_mut(name).ok_or(ProgramError::NotLoaded)?.try_into()
}

fn not_loaded(program: &str, error: ProgramError) -> SourceError {
    let doing = format!("loading the program {program} into the kernel");
    match error {
        // It is transparent: its source is not the error of the types, but that one's.
        ProgramError::Btf(error) => refused(doing, error),
        error => refused(doing, error),
    }
}

/// `ENOTSUPP` of `include/linux/errno.h`, which no C library has: the kernel attaches nothing to functions.
const ENOTSUPP: i32 = 524;

/// Classifies an error of aya by the underlying error number. A type or a tracepoint that the kernel lacks has none.
fn refused(doing: String, error: impl std::error::Error + Send + Sync + 'static) -> SourceError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if error.is::<BtfError>() {
            return SourceError::absent(doing, short(error));
        }
        if let Some(error) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            let error = io::Error::from_raw_os_error(error);
            return match error.raw_os_error() {
                // The kernel lacks the program type, the map type or the system call.
                Some(libc::EINVAL | libc::ENOSYS | libc::ENOTSUP | ENOTSUPP) => {
                    SourceError::absent(doing, error)
                }
                Some(libc::EPERM | libc::EACCES) if permitted().is_ok() => {
                    SourceError::from_io(doing, WITH_CAPABILITIES, error)
                }
                _ => SourceError::from_io(doing, CAPABILITIES, error),
            };
        }
        cause = error.source();
    }
    SourceError::io(doing, short(&error))
}

/// The first line of an error, without the log of the verifier.
fn short(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}
