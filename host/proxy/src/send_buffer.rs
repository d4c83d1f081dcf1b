//! The part of a request that is still to be sent: bytes that are ready, and the body that the rest comes
//! from.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWrite;

use super::{
    request::UpstreamRequest,
    upload::{SendProgress, Upload, UploadError},
};

/// With so many bytes ready, no more are taken from the client until the program has taken some.
const BYTES_FULL: usize = 16 * 1024;

#[derive(Debug, Default)]
pub(super) struct SendBuffer {
    bytes: BytesMut,
    upload: Option<Upload>,
}

/// Why not all of a request is sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error(transparent)]
    Upload(#[from] UploadError),
    #[error("it takes no more of the request: {0}")]
    Io(#[from] io::Error),
}

impl SendBuffer {
    /// Puts a request in, and takes its upload.
    pub(super) fn put(&mut self, asked: &UpstreamRequest<'_>, upload: &mut Option<Upload>) {
        asked.write(upload.as_ref(), &mut self.bytes);
        self.upload = upload.take();
    }

    /// Returns whether all was sent.
    pub(super) fn is_empty(&self) -> bool {
        self.upload.is_none() && self.bytes.is_empty()
    }

    /// Returns whether the client has sent the whole request, whether or not the program has it.
    pub(super) fn is_whole(&self) -> bool {
        self.upload.is_none()
    }

    /// Returns whether sending can go on only once the client has sent more.
    pub(super) fn waits_for_client(&self) -> bool {
        self.upload.is_some() && self.bytes.is_empty()
    }

    /// Sends all there is.
    ///
    /// # Errors
    /// [`SendError`]; nothing is left to be sent then.
    pub(super) fn poll_send(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        let sent = self.poll(stream, cx);
        if let Poll::Ready(Err(_)) = sent {
            *self = Self::default();
        }
        sent
    }

    /// Frees the space that only a large request needs.
    pub(super) fn trim(&mut self) {
        if self.bytes.capacity() > BYTES_FULL {
            self.bytes = BytesMut::new();
        }
    }

    fn poll(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        loop {
            while let Some(upload) = &mut self.upload
                && self.bytes.len() < BYTES_FULL
            {
                match upload.poll_write(cx, &mut self.bytes)? {
                    Poll::Ready(SendProgress::More) => {}
                    Poll::Ready(SendProgress::Done) => self.upload = None,
                    Poll::Pending => break,
                }
            }
            if self.bytes.is_empty() {
                return match self.upload {
                    Some(_) => Poll::Pending,
                    None => Poll::Ready(Ok(())),
                };
            }
            let sent = ready!(Pin::new(&mut *stream).poll_write(cx, &self.bytes))?;
            if sent == 0 {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
            }
            self.bytes.advance(sent);
        }
    }
}
