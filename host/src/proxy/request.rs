//! A request as the program gets it: checked, with the path that it may see, and new framing.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
};

use axum::body::Body;
use bytes::Bytes;
use hyper::{
    Method, Request, Uri, Version,
    body::{Body as _, Frame, SizeHint},
    header::{self, HeaderMap, HeaderValue},
    http::{request::Parts, uri::PathAndQuery},
};

use super::{ForwardError, REQUEST_BODY_BYTES_MAX, headers};
use crate::server::Client;

const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// Refuses what the HTTP library lets through and a program might read differently.
///
/// # Errors
/// [`ForwardError`] says what is wrong with the request.
pub(super) fn check(parts: &Parts) -> Result<(), ForwardError> {
    if !METHODS.contains(&parts.method) {
        return Err(ForwardError::Method);
    }
    let hosts = parts.headers.get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && parts.version == Version::HTTP_11) {
        return Err(ForwardError::Malformed("send exactly one Host header"));
    }
    let mut encodings = parts.headers.get_all(header::TRANSFER_ENCODING).iter();
    let only = encodings.next();
    if encodings.next().is_some()
        || only.is_some_and(|it| !it.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        let message = "Transfer-Encoding may be 'chunked' and nothing else";
        return Err(ForwardError::Malformed(message));
    }
    let declared = parts.headers.get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|bytes| bytes > REQUEST_BODY_BYTES_MAX) {
        return Err(ForwardError::BodyTooLarge);
    }
    Ok(())
}

/// What is asked of the program, as often as it has to be said.
pub(super) struct Asked<'a> {
    pub(super) parts: &'a Parts,
    /// From [`super::watcher_path`].
    pub(super) path: &'a str,
    /// What the program is called toward itself.
    pub(super) authority: &'a HeaderValue,
    /// Who asks; unknown only without a server.
    pub(super) client: Option<Client>,
    /// Headers that only a WebSocket's handshake carries.
    pub(super) handshake: Option<&'a HeaderMap>,
}

impl Asked<'_> {
    /// Whether asking twice is the same as asking once.
    pub(super) fn is_safe(&self) -> bool {
        [Method::GET, Method::HEAD, Method::OPTIONS].contains(&self.parts.method)
    }

    /// The request that goes to the program.
    ///
    /// # Errors
    /// [`ForwardError::Malformed`] when the path can't be asked for.
    pub(super) fn request(&self, body: Upload) -> Result<Request<Upload>, ForwardError> {
        let target = match self.parts.uri.query() {
            Some(query) => PathAndQuery::from_maybe_shared([self.path, query].join("?")),
            None => PathAndQuery::try_from(self.path),
        };
        let target = target.map_err(|_| ForwardError::Malformed("the path can't be read"))?;
        let mut request = Request::new(body);
        *request.method_mut() = self.parts.method.clone();
        *request.uri_mut() = Uri::from(target);
        let headers = request.headers_mut();
        headers::toward_program(headers, &self.parts.headers, self.client);
        headers.insert(header::HOST, self.authority.clone());
        if let Some(handshake) = self.handshake {
            headers.extend(handshake.clone());
        }
        Ok(request)
    }
}

/// The body on its way to the program: bounded, without trailers.
#[derive(Debug)]
pub(super) struct Upload {
    body: Option<Body>,
    left: usize,
    progress: Progress,
}

/// How far an upload is; clones tell of the same one.
#[derive(Clone, Debug)]
pub(super) struct Progress(Option<Arc<AtomicU8>>);

/// Whom an upload waits for, or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Stage {
    Program,
    Client,
    Done,
    TooLarge,
    Broken,
}

const STAGES: [Stage; 5] = [
    Stage::Program,
    Stage::Client,
    Stage::Done,
    Stage::TooLarge,
    Stage::Broken,
];

/// The upload ended early.
#[derive(Debug, thiserror::Error)]
#[error("the request's body ended early")]
pub(super) struct UploadError;

impl Progress {
    pub(super) fn stage(&self) -> Stage {
        let Some(stage) = &self.0 else {
            return Stage::Done;
        };
        STAGES[usize::from(stage.load(Ordering::Relaxed))]
    }

    fn is(&self, stage: Stage) {
        if let Some(shared) = &self.0 {
            shared.store(stage as u8, Ordering::Relaxed);
        }
    }
}

impl Upload {
    /// The client's body.
    pub(super) fn new(body: Body) -> Self {
        if body.is_end_stream() {
            return Self::empty();
        }
        Self {
            body: Some(body),
            left: REQUEST_BODY_BYTES_MAX,
            progress: Progress(Some(Arc::new(AtomicU8::new(Stage::Program as u8)))),
        }
    }

    /// No body.
    pub(super) fn empty() -> Self {
        Self {
            body: None,
            left: 0,
            progress: Progress(None),
        }
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

impl hyper::body::Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        this.progress.is(Stage::Client);
        loop {
            let Some(frame) = ready!(Pin::new(&mut *body).poll_frame(cx)) else {
                this.progress.is(Stage::Done);
                return Poll::Ready(None);
            };
            let Ok(frame) = frame else {
                this.progress.is(Stage::Broken);
                return Poll::Ready(Some(Err(UploadError)));
            };
            // Trailers end here: nobody lists which of them may pass.
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let Some(left) = this.left.checked_sub(data.len()) else {
                this.progress.is(Stage::TooLarge);
                return Poll::Ready(Some(Err(UploadError)));
            };
            this.left = left;
            let is_last = body.is_end_stream();
            this.progress
                .is(if is_last { Stage::Done } else { Stage::Program });
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let none = || SizeHint::with_exact(0);
        self.body
            .as_ref()
            .map_or_else(none, |body| body.size_hint())
    }
}
