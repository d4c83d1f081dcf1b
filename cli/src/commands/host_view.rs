//! Tells whether the host's view of its programs is up to date.
//!
//! When its engine does not answer, a host knows only the last state of each program that it saw.

use hersh_wire::Code;
use reqwest::Method;

use crate::{client::Client, failure::Failure, output};

/// The state of the host's view of its programs.
pub(crate) enum HostView {
    /// The host sees what runs.
    Clear,
    /// The host's engine does not answer, for this reason: the host shows the last known state.
    Lost(String),
}

impl HostView {
    /// Asks the host for the state of its view.
    pub(crate) async fn of(client: &Client) -> Self {
        match client.send(client.request(Method::GET, &["readyz"])).await {
            Err(Failure::Refused(problem)) if problem.code == Code::EngineUnavailable => {
                Self::Lost(problem.detail)
            }
            Ok(_) | Err(_) => Self::Clear,
        }
    }

    /// Says that the shown state is only the last known one: to a person in a note, to programs in `object`.
    pub(crate) fn tell(&self, object: &mut serde_json::Value) {
        if let Self::Lost(why) = self {
            output::note(&format!(
                "what is shown is how it was when the host last saw it: {why}"
            ));
            object["not_seen_because"] = why.as_str().into();
        }
    }
}
