//! One look at whether a program is ready, or still works. The look takes the proxy's own way: only an answer
//! that would pass to clients makes a program ready.

use hersh_answer::FinalHead;
use hyper::{
    HeaderMap, Method, StatusCode,
    header::{self, HeaderValue},
};
use tokio_util::sync::CancellationToken;

use super::{
    ForwardError, Rules, Upstream, error::AskError, program_connection::ProgramConnection,
    request::UpstreamRequest,
};
use hersh_base::endpoint::{DialError, Endpoint};

/// The most characters of a negative answer that are shown to a person.
const EXCERPT_LENGTH_MAX: usize = 200;

/// The names by which a program's own log tells the two kinds of probe apart.
const READINESS_AGENT: &str = "hersh-readiness";
const LIVENESS_AGENT: &str = "hersh-liveness";

/// What the probe saw instead of a program that is up, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeFailure {
    /// Nobody takes connections on the port.
    NoListener(String),
    /// There is no way to the program.
    Unreached(String),
    /// The program answered that it does not know the path.
    UnknownPath(String),
    /// The program took the connection, and did not answer with a 2xx status.
    Unready(String),
}

impl ProbeFailure {
    /// Returns the words.
    pub fn words(&self) -> &str {
        match self {
            Self::NoListener(words)
            | Self::Unreached(words)
            | Self::UnknownPath(words)
            | Self::Unready(words) => words,
        }
    }
}

impl Upstream {
    /// Asks the instance for `path` as a client does. It needs no permit for a request: a program that is asked
    /// as much as it may be is not taken for dead.
    ///
    /// # Errors
    /// [`ProbeFailure`] says what the probe saw instead of a 2xx status.
    pub async fn probe(&self, path: &str) -> Result<(), ProbeFailure> {
        let (endpoint, rules) = (self.endpoint(), self.rules());
        ask(endpoint, rules, self.authority(), path, LIVENESS_AGENT).await
    }

    /// Connects to the port of the instance, and closes the connection again. Sets no time limit.
    ///
    /// # Errors
    /// [`ProbeFailure`] says why there was no connection.
    pub async fn probe_port(&self) -> Result<(), ProbeFailure> {
        let connected = self.endpoint().dial(self.rules().port).await;
        connected
            .map(drop)
            .map_err(|error| ProbeFailure::from(&error))
    }
}

/// Asks for `path` as a client of the program called `host` does.
///
/// # Errors
/// [`ProbeFailure`] says what the probe saw instead of a 2xx status.
pub async fn probe(
    endpoint: &Endpoint,
    rules: &Rules,
    host: &str,
    path: &str,
) -> Result<(), ProbeFailure> {
    ask(endpoint, rules, host, path, READINESS_AGENT).await
}

async fn ask(
    endpoint: &Endpoint,
    rules: &Rules,
    host: &str,
    path: &str,
    agent: &'static str,
) -> Result<(), ProbeFailure> {
    let connection = ProgramConnection::dial(endpoint, rules, CancellationToken::new());
    let connection = connection.await.map_err(|error| unreached(&error))?;
    let mut headers = HeaderMap::new();
    headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
    let asked = UpstreamRequest {
        method: &Method::GET,
        path,
        query: None,
        headers: &headers,
        authority: host,
        client: None,
        handshake: None,
        rules,
    };
    let seen = match connection.ask(&asked, &mut None, || true).await {
        Ok((FinalHead::Answer(head), _)) if head.status.is_success() => return Ok(()),
        Ok((FinalHead::Answer(head), mut connection)) => {
            let excerpt = excerpt(&mut connection).await;
            let words = format!("GET {path}: status {}{excerpt}", head.status);
            return Err(match head.status {
                StatusCode::NOT_FOUND => ProbeFailure::UnknownPath(words),
                _ => ProbeFailure::Unready(words),
            });
        }
        Ok((FinalHead::Switch(_), _)) => "it answered 101 to a plain request".to_owned(),
        Err(AskError::Stale(error) | AskError::Failed(error)) => words(&error),
        // Can't happen here: only a connection that served before is found closed.
        Err(AskError::Unsent) => "connection closed without an answer".to_owned(),
    };
    Err(ProbeFailure::Unready(format!("GET {path}: {seen}")))
}

/// Returns the miss of a connection that was not made.
fn unreached(error: &ForwardError) -> ProbeFailure {
    if let ForwardError::Unreachable(error) = error {
        return ProbeFailure::from(error);
    }
    ProbeFailure::Unreached(words(error))
}

impl From<&DialError> for ProbeFailure {
    fn from(error: &DialError) -> Self {
        let words = error.to_string();
        match error {
            DialError::Port { .. } => Self::NoListener(words),
            DialError::Late { .. } | DialError::NoWay { .. } => Self::Unreached(words),
        }
    }
}

/// Returns what the probe saw, without the advice that clients get.
fn words(error: &ForwardError) -> String {
    if let ForwardError::Broken(seen) = error {
        return seen.clone();
    }
    if let ForwardError::Unreachable(seen) = error {
        return seen.to_string();
    }
    error.to_string()
}

/// Returns the first line of the body's first piece in brackets, cut short and without control characters;
/// nothing if there is no such line.
async fn excerpt(connection: &mut ProgramConnection) -> String {
    let piece = std::future::poll_fn(|cx| connection.poll_body(cx)).await;
    let Some(Ok(bytes)) = piece else {
        return String::new();
    };
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().next().unwrap_or_default();
    let plain = line.chars().filter(|c| !c.is_control());
    let plain: String = plain.take(EXCERPT_LENGTH_MAX).collect();
    if plain.is_empty() {
        return plain;
    }
    format!(" ({plain})")
}
