//! What is still to be sent of a request: bytes that are there, and the body that the rest comes
//! from.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWrite;

use super::{
    request::Question,
    upload::{Sending, Upload, UploadError},
};

/// With so many bytes there, the program takes some before the client gives more.
const BYTES_FULL: usize = 16 * 1024;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: BytesMut,
    upload: Option<Upload>,
}

/// Why not all of a request is sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error(transparent)]
    Upload(#[from] UploadError),
    #[error("it takes no more of the request: {0}")]
    Wire(#[from] io::Error),
}

impl Outbox {
    /// Puts a request in, and takes its upload.
    pub(super) fn put(&mut self, asked: &Question<'_>, upload: &mut Option<Upload>) {
        asked.write(upload.as_ref(), &mut self.bytes);
        self.upload = upload.take();
    }

    /// True when all was sent.
    pub(super) fn is_empty(&self) -> bool {
        self.upload.is_none() && self.bytes.is_empty()
    }

    /// Whether all of a request is here or sent, as far as the client is concerned.
    pub(super) fn is_whole(&self) -> bool {
        self.upload.is_none()
    }

    /// Whether it goes on only once the client has sent more.
    pub(super) fn waits_for_client(&self) -> bool {
        self.upload.is_some() && self.bytes.is_empty()
    }

    /// Sends all there is.
    ///
    /// # Errors
    /// [`SendError`]; nothing is left to be sent then.
    pub(super) fn poll_send(
        &mut self,
        wire: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        let sent = self.poll(wire, cx);
        if let Poll::Ready(Err(_)) = sent {
            *self = Self::default();
        }
        sent
    }

    /// Gives room back that only a large request needs.
    pub(super) fn trim(&mut self) {
        if self.bytes.capacity() > BYTES_FULL {
            self.bytes = BytesMut::new();
        }
    }

    fn poll(
        &mut self,
        wire: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SendError>> {
        loop {
            while let Some(upload) = &mut self.upload
                && self.bytes.len() < BYTES_FULL
            {
                match upload.poll_write(cx, &mut self.bytes)? {
                    Poll::Ready(Sending::More) => {}
                    Poll::Ready(Sending::Done) => self.upload = None,
                    Poll::Pending => break,
                }
            }
            if self.bytes.is_empty() {
                return match self.upload {
                    Some(_) => Poll::Pending,
                    None => Poll::Ready(Ok(())),
                };
            }
            let sent = ready!(Pin::new(&mut *wire).poll_write(cx, &self.bytes))?;
            if sent == 0 {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
            }
            self.bytes.advance(sent);
        }
    }
}
