//! What a program printed last, for the cause of its failure.

use hersh_base::surroundings::Surroundings;
use hersh_program::{Logs, ProgramId};
use hersh_storage::output::{CAUSE_LINES, LogStore, Marks, for_cause};

/// Returns what the program printed last, for the cause of its failure; nothing if that can't be read.
pub(crate) async fn last_lines(
    output: &LogStore,
    surroundings: &Surroundings,
    program: &ProgramId,
) -> Logs {
    let (output, id) = (output.clone(), program.clone());
    let read = move || output.read_tail(&id, CAUSE_LINES, Marks::Hidden);
    let lines = surroundings.blocking(read).await;
    let lines = lines.ok().and_then(Result::ok).unwrap_or_default();
    for_cause(lines.iter().map(|line| &line.text))
}
