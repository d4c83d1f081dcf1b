//! Whether what the host shows is how it is.
//!
//! Without its engine a host knows of each program what it saw last, and no more.

use hersh_wire::Code;
use reqwest::Method;

use crate::{client::Client, failure::Failure, output};

/// Whether the host sees what runs.
pub(crate) enum Sight {
    /// It does.
    Clear,
    /// Its engine does not answer, for this reason: what the host shows is how it was.
    Lost(String),
}

impl Sight {
    /// Asks the host.
    pub(crate) async fn of(client: &Client) -> Self {
        match client.send(client.request(Method::GET, &["readyz"])).await {
            Err(Failure::Refused(problem)) if problem.code == Code::EngineUnavailable => {
                Self::Lost(problem.detail)
            }
            Ok(_) | Err(_) => Self::Clear,
        }
    }

    /// Tells a person, or adds to an object for programs, that what is shown is how it was.
    pub(crate) fn tell(&self, object: &mut serde_json::Value) {
        if let Self::Lost(why) = self {
            output::note(&format!(
                "what is shown is how it was when the host last saw it: {why}"
            ));
            object["not_seen_because"] = why.as_str().into();
        }
    }
}
