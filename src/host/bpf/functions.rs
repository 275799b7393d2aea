//! Attaching programs to functions of the kernel (`fentry`, `fexit`), which not every kernel allows
//! (`CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS`).

use super::{Loader, Programs, not_loaded, program_mut};
use crate::reading::SourceError;
use aya::programs::{FEntry, FExit};

impl Loader {
    /// Loads two programs and attaches them to the beginning and to the end of a function. The error is why the kernel refused one of
    /// them; it is not one of [`Programs::refused`].
    ///
    /// # Errors
    ///
    /// The kernel has no such function, or attaches nothing to functions.
    pub fn function(&mut self, [enter, exit]: [&str; 2], function: &str) -> Result<(), SourceError> {
        let Self { btf, programs: Programs { ebpf, .. }, .. } = self;
        let ends = program_mut::<FExit>(ebpf, exit).and_then(|exit| {
            exit.load(function, btf)?;
            exit.attach()
        });
        let ends = ends.map_err(|error| not_loaded(exit, error))?;
        let begins = program_mut::<FEntry>(ebpf, enter).and_then(|enter| {
            enter.load(function, btf)?;
            enter.attach().map(drop)
        });
        begins.map_err(|error| {
            let _is_attached = program_mut::<FExit>(ebpf, exit).and_then(|exit| exit.detach(ends));
            not_loaded(enter, error)
        })
    }

    /// Loads a program and attaches it to the end of a function. Returns whether the kernel accepted it.
    pub fn end(&mut self, program: &'static str, function: &str) -> bool {
        let Self { btf, programs: Programs { ebpf, .. }, .. } = self;
        let result = program_mut::<FExit>(ebpf, program).and_then(|program| {
            program.load(function, btf)?;
            program.attach().map(drop)
        });
        self.note(program, result)
    }
}
