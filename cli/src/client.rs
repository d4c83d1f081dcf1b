//! The host's API over HTTP.

use futures_util::{Stream, StreamExt, TryStreamExt};
use hersh_wire::{Code, LogLine, Problem, ProgramView};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio_stream::wrappers::LinesStream;

use crate::{
    args::Connection,
    connect,
    failure::Failure,
    token::{self, TokenSources},
};

/// The longest part shown of a text that the host did not write, characters.
const TEXT_CHARS_MAX: usize = 300;

/// A client of one host: its address and the token for it.
pub(crate) struct Client {
    http: reqwest::Client,
    host: Url,
    token: String,
}

impl Client {
    pub(crate) fn new(connection: &Connection) -> Result<Self, Failure> {
        let host = connect::address(&connection.host, connection.insecure_http)?;
        let http = connect::http_client(&host, connection.ca_file.as_deref())?;
        let sources = TokenSources {
            variable: std::env::var("HERSH_TOKEN"),
            file: connection.token_file.as_deref(),
            own_file: token::own_file(),
            is_this_machine: connect::is_this_machine(&host),
        };
        Ok(Self {
            http,
            token: sources.token()?,
            host,
        })
    }

    /// Returns a request on the path made of `segments`, each escaped.
    pub(crate) fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let mut url = self.host.clone();
        // Fails only for addresses that can't have a path; `new` takes none of those.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        self.http.request(method, url).bearer_auth(&self.token)
    }

    /// Returns the whole address of a path that the host named.
    pub(crate) fn address(&self, path: &str) -> String {
        let mut url = self.host.clone();
        // Fails only for addresses that can't have a path; `new` takes none of those.
        if let Ok(mut segments) = url.path_segments_mut() {
            let path = path.strip_prefix('/').unwrap_or(path);
            segments.pop_if_empty().extend(path.split('/'));
        }
        url.into()
    }

    /// Sends a request. An answer without success is a failure with the host's words.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.bytes().await.unwrap_or_default();
        Err(Failure::Refused(
            serde_json::from_slice(&body).unwrap_or_else(|_| foreign(status, &body)),
        ))
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, segments: &[&str]) -> Result<T, Failure> {
        self.read(self.request(Method::GET, segments)).await
    }

    pub(crate) async fn read<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<T, Failure> {
        let response = self.send(request).await?;
        response.json().await.map_err(|error| {
            Failure::Failed(format!(
                "the host's answer can't be read: {error}; are client and host of one version?"
            ))
        })
    }

    /// Returns the program, or `None` if the host has none of that name.
    pub(crate) async fn find(&self, program: &str) -> Result<Option<ProgramView>, Failure> {
        match self.get(&["programs", program]).await {
            Ok(view) => Ok(Some(view)),
            Err(Failure::Refused(problem)) if problem.code == Code::NotFound => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Returns the lines of a Server-Sent Events stream of log lines.
    pub(crate) async fn lines(
        &self,
        request: RequestBuilder,
    ) -> Result<impl Stream<Item = Result<LogLine, Failure>> + use<>, Failure> {
        let body = self
            .send(request)
            .await?
            .bytes_stream()
            .map_err(std::io::Error::other);
        let reader = BufReader::new(tokio_util::io::StreamReader::new(body));
        Ok(
            LinesStream::new(reader.lines()).filter_map(async |line| match line {
                Ok(line) => line.strip_prefix("data:").map(|data| {
                    serde_json::from_str(data.trim_start()).map_err(|error| {
                        Failure::Failed(format!("the host sent a line that can't be read: {error}"))
                    })
                }),
                Err(error) => Some(Err(Failure::Unreachable(format!(
                    "the host hung up: {error}"
                )))),
            }),
        )
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        Failure::Unreachable(connect::unreachable(&self.host, error))
    }

    /// Returns a program's own answer through the proxy, whatever its status. An answer of the host in its
    /// place is a failure.
    pub(crate) async fn ask_program(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let response = request
            .send()
            .await
            .map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let body = response.bytes().await.unwrap_or_default().to_vec();
        if !status.is_success()
            && let Ok(problem) = serde_json::from_slice(&body)
        {
            return Err(Failure::Refused(problem));
        }
        Ok(Answer { status, body })
    }
}

/// The answer of a program.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Returns whether the program has no such endpoint.
    pub(crate) fn is_missing(&self) -> bool {
        [
            StatusCode::NOT_FOUND,
            StatusCode::METHOD_NOT_ALLOWED,
            StatusCode::NOT_IMPLEMENTED,
        ]
        .contains(&self.status)
    }

    /// Returns the beginning of the answer's text.
    pub(crate) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        text.trim().chars().take(TEXT_CHARS_MAX).collect()
    }
}

/// Returns the problem for an answer that the host did not write: it came from a server between, or from a
/// program.
fn foreign(status: StatusCode, body: &[u8]) -> Problem {
    let text = String::from_utf8_lossy(body);
    let text: String = text.chars().take(TEXT_CHARS_MAX).collect();
    let code = match status {
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::UNAUTHORIZED => Code::Unauthorized,
        StatusCode::BAD_REQUEST => Code::BadRequest,
        StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
        StatusCode::SERVICE_UNAVAILABLE => Code::QueueFull,
        _ => Code::BadGateway,
    };
    Problem::new(code, format!("answered {status}: {text}"))
}
