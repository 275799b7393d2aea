//! Attaching programs to tracepoints whose arguments the kernel's types describe, when an object is loaded and later.

use super::types::Types;
use super::{LOADING, Programs, not_loaded, program_mut};
use crate::metric::label::Reason;
use crate::reading::SourceError;
use crate::sys::process;
use aya::Btf;
use aya::programs::{BtfTracePoint, ProgramError};
use std::sync::PoisonError;

/// Loads programs of an object and attaches them to tracepoints (`tp_btf`), also later.
pub struct Tracer<'a> {
    pub(super) btf: &'a Btf,
    pub(super) programs: &'a mut Programs,
}

impl Tracer<'_> {
    /// Loads the first of these programs that has the arguments of the tracepoint in this kernel, which compares them
    /// with its types. Returns its index. A refusal is recorded under `name`; one for want of memory or the like says nothing about
    /// the arguments, and the programs after it are not tried.
    pub fn trace_any(&mut self, name: &'static str, programs: &[&str], tracepoint: &str) -> Option<usize> {
        let Self { btf, programs: Programs { ebpf, refused, .. } } = self;
        refused.retain(|(known, _)| *known != name);
        let mut first = None;
        for (place, program) in programs.iter().enumerate() {
            let result = program_mut::<BtfTracePoint>(ebpf, program).and_then(|program| {
                match program.load(tracepoint, btf) {
                    // Only attaching it failed, the last time.
                    Ok(()) | Err(ProgramError::AlreadyLoaded) => program.attach().map(drop),
                    Err(error) => Err(error),
                }
            });
            let Err(error) = result else { return Some(place) };
            let error = not_loaded(name, error);
            if error.reason() == Reason::Io {
                first = Some(error);
                break;
            }
            first = first.or(Some(error));
        }
        refused.extend(first.map(|error| (name, error)));
        None
    }
}

impl Programs {
    /// Attaches programs that were refused, once more.
    ///
    /// # Errors
    ///
    /// The kernel's types cannot be read.
    pub fn retry(&mut self, object: &[u8], attach: impl FnOnce(&mut Tracer<'_>)) -> Result<(), SourceError> {
        let _alone = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        let Types { btf, .. } = Types::read(object)?;
        attach(&mut Tracer { btf: &btf, programs: self });
        drop(btf);
        process::give_memory_back();
        Ok(())
    }
}
