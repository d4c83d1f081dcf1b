//! What readiness probes see, while somebody waits for a program to come up.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use hersh_base::locked::locked;
use hersh_program::ProgramId;

/// The result of the last probe of each program that is on its way up: one line for each start under way.
/// Clones share the results.
#[derive(Clone, Debug, Default)]
pub(crate) struct Probes(Arc<Mutex<BTreeMap<ProgramId, String>>>);

/// The probes of one start. Their result is forgotten when this is dropped.
pub(crate) struct StartProbes<'a> {
    probes: &'a Probes,
    program: &'a ProgramId,
}

impl Probes {
    /// Begins the probes of a start of the program.
    pub(crate) fn begin<'a>(&'a self, program: &'a ProgramId) -> StartProbes<'a> {
        StartProbes {
            probes: self,
            program,
        }
    }

    /// Returns what the last probe saw; `None` when none has failed, or nobody probes.
    pub(crate) fn last(&self, program: &ProgramId) -> Option<String> {
        self.seen().get(program).cloned()
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<ProgramId, String>> {
        locked(&self.0)
    }
}

impl StartProbes<'_> {
    /// Notes what a probe saw that did not find the program up.
    pub(crate) fn saw(&self, what: &str) {
        self.probes
            .seen()
            .insert(self.program.clone(), what.to_owned());
    }
}

impl Drop for StartProbes<'_> {
    fn drop(&mut self) {
        self.probes.seen().remove(self.program);
    }
}
