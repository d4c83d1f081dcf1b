//! The names of states, as the API, the log and the metrics show them.

use hersh_program::State;

/// All names that [`state_name`] gives.
pub(crate) const STATE_NAMES: [&str; 7] = [
    "Created", "Building", "Starting", "Ready", "Stopping", "Stopped", "Error",
];

/// Returns the state's name on the wire. A removed program is told as `Stopping` until it is forgotten.
pub(crate) fn state_name(state: &State) -> &'static str {
    match state {
        State::Created => "Created",
        State::Building(_) => "Building",
        State::Starting(_) => "Starting",
        State::Ready(_) => "Ready",
        State::Stopping(_) | State::Removed => "Stopping",
        State::Stopped(_) => "Stopped",
        State::Error(_) => "Error",
    }
}
