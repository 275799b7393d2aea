//! Attaching programs to functions of the kernel (`fentry`, `fexit`), which not every kernel allows
//! (`CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS`).

use super::{Loader, Programs, not_loaded, program_mut};
use crate::reading::SourceError;
use aya::programs::{BtfTracePoint, FEntry, FExit};
use std::path::Path;

/// Whether the kernel is built with tracing of functions (`CONFIG_FUNCTION_TRACER`). Otherwise there is nothing at the beginning of one
/// that x86 could replace, for which it answers with `EBUSY`.
pub fn traces_functions() -> bool {
    Path::new("/proc/sys/kernel/ftrace_enabled").exists()
}

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

    /// Loads two programs and attaches each to its tracepoint, both or neither. Returns whether the kernel accepted them.
    pub fn trace_both(&mut self, [first, second]: [(&'static str, &str); 2]) -> bool {
        if !self.trace(first.0, first.1) {
            return false;
        }
        let both = self.trace(second.0, second.1);
        if !both {
            // Its descriptors are closed, which does not fail.
            let program = program_mut::<BtfTracePoint>(&mut self.programs.ebpf, first.0);
            let _is_unloaded = program.and_then(BtfTracePoint::unload);
        }
        both
    }

    /// Records why a program was refused that is not to be tried in another way.
    pub fn refuse(&mut self, program: &'static str, error: SourceError) {
        self.programs.refused.push((program, error));
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

impl Programs {
    /// Whether the kernel has a program.
    pub fn is_loaded(&self, program: &str) -> bool {
        self.ebpf.program(program).is_some_and(|program| program.fd().is_ok())
    }
}
