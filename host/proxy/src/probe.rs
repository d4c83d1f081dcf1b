//! One look at a program, as the proxy looks: what passes to clients is what makes it ready.

use hersh_answer::Said;
use hyper::{
    HeaderMap, Method,
    header::{self, HeaderValue},
};
use tokio_util::sync::CancellationToken;

use super::{ForwardError, Rules, error::AskError, link::Link, request::Question};
use hersh_base::endpoint::{DialError, Endpoint};

/// Characters of an answer that says no, for a person to read.
const EXCERPT_LENGTH_MAX: usize = 200;

/// What was seen instead of a program that is up, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Miss {
    /// Nobody takes connections on the port.
    NoListener(String),
    /// There is no way to it.
    Unreached(String),
    /// Somebody did.
    Unready(String),
}

impl Miss {
    /// The words.
    pub fn words(&self) -> &str {
        match self {
            Self::NoListener(words) | Self::Unreached(words) | Self::Unready(words) => words,
        }
    }
}

/// Asks for `path` as a client of the program called `host` does.
///
/// # Errors
/// What was seen instead of a 2xx status.
pub async fn probe(endpoint: &Endpoint, rules: &Rules, host: &str, path: &str) -> Result<(), Miss> {
    let link = Link::dial(endpoint, rules, CancellationToken::new());
    let link = link.await.map_err(|error| unreached(&error))?;
    let mut headers = HeaderMap::new();
    let agent = HeaderValue::from_static("hersh-readiness");
    headers.insert(header::USER_AGENT, agent);
    let asked = Question {
        method: &Method::GET,
        path,
        query: None,
        headers: &headers,
        authority: host,
        client: None,
        handshake: None,
        rules,
    };
    let seen = match link.ask(&asked, &mut None, || true).await {
        Ok((Said::Answer(head), _)) if head.status.is_success() => return Ok(()),
        Ok((Said::Answer(head), mut link)) => {
            let excerpt = excerpt(&mut link).await;
            format!("status {}{excerpt}", head.status)
        }
        Ok((Said::Switch(_), _)) => "it answered 101 to a plain request".to_owned(),
        Err(AskError::Stale(error) | AskError::Failed(error)) => words(&error),
        // Only a connection that served before is found closed.
        Err(AskError::Unsent) => "connection closed without an answer".to_owned(),
    };
    Err(Miss::Unready(format!("GET {path}: {seen}")))
}

/// A connection that was not made.
fn unreached(error: &ForwardError) -> Miss {
    if let ForwardError::Unreachable(error) = error {
        return Miss::from(error);
    }
    Miss::Unreached(words(error))
}

impl From<&DialError> for Miss {
    fn from(error: &DialError) -> Self {
        let words = error.to_string();
        match error {
            DialError::Port { .. } => Self::NoListener(words),
            DialError::Late { .. } | DialError::NoWay { .. } => Self::Unreached(words),
        }
    }
}

/// What the probe saw, without advice for clients.
fn words(error: &ForwardError) -> String {
    if let ForwardError::Broken(seen) = error {
        return seen.clone();
    }
    if let ForwardError::Unreachable(seen) = error {
        return seen.to_string();
    }
    error.to_string()
}

/// The beginning of an answer's body, if it came with the head and is text.
async fn excerpt(link: &mut Link) -> String {
    let piece = std::future::poll_fn(|cx| link.poll_body(cx)).await;
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
