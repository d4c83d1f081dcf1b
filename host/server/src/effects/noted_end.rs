//! Ends that a host made and could not journal.

use hersh_program::{ContainerId, Exit, ProgramId};
use hersh_storage::Storage;

/// Returns how a container that does not run any more ended, if a host ended it and could not journal that.
pub(crate) fn noted_end(storage: &Storage, program: &ProgramId) -> Option<(ContainerId, Exit)> {
    let noted = storage.read_end(program);
    let noted = noted.inspect_err(|error| tracing::warn!(%program, %error, "its end is not known"));
    let (container, note) = noted.ok().flatten()?;
    let exit = Exit {
        reason: note.reason(),
        logs: Vec::new(),
    };
    Some((container, exit))
}
