//! The receiver of an archive: it passes the archive to a request's body piece by piece. The body ends with
//! an error unless the archive was complete.

use std::io::{self, Write};

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

/// The size of one piece, bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// The next piece of a body, or the error that ends the body.
pub(crate) type Piece = io::Result<Vec<u8>>;

/// Passes full pieces to the body. Waits while too many pieces are unsent.
pub(crate) struct Sink {
    sender: mpsc::Sender<Piece>,
    piece: Vec<u8>,
    digest: Sha256,
    is_cut: bool,
}

impl Sink {
    pub(crate) fn new(sender: mpsc::Sender<Piece>) -> Self {
        Self {
            sender,
            piece: Vec::with_capacity(PIECE_BYTES),
            digest: Sha256::new(),
            is_cut: false,
        }
    }

    /// Returns the SHA-256 of everything written so far, in hex.
    pub(super) fn digest(&self) -> String {
        let digest = self.digest.clone().finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Ends the body with an error and sends nothing more. Otherwise the writer, when it is dropped, would
    /// end the archive as if it were complete.
    pub(super) fn cut(&mut self, error: &io::Error) {
        self.is_cut = true;
        let error = io::Error::new(error.kind(), error.to_string());
        // Sending fails if the host hung up before: nobody needs the error then.
        let _ = self.sender.blocking_send(Err(error));
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_cut {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = (PIECE_BYTES - self.piece.len()).min(bytes.len());
        self.piece.extend_from_slice(&bytes[..count]);
        self.digest.update(&bytes[..count]);
        if self.piece.len() == PIECE_BYTES {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let full = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        let sent = self.sender.blocking_send(Ok(full));
        sent.map_err(|_closed| io::ErrorKind::BrokenPipe.into())
    }
}
