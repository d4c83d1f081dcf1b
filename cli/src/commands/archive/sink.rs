//! Where an archive goes: piece by piece to a request's body, which ends with an error unless the
//! archive was whole.

use std::io::{self, Write};

use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

/// Bytes of one piece.
const PIECE_BYTES: usize = 64 * 1024;

/// A body's next piece, or why there is none.
pub(crate) type Piece = io::Result<Vec<u8>>;

/// Hands full pieces on, and waits while too many of them wait.
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

    /// SHA-256 of all that was written so far, in hex.
    pub(super) fn digest(&self) -> String {
        let digest = self.digest.clone().finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Ends the body by an error. Nothing goes out any more: a writer that is dropped would otherwise
    /// end the archive as if it were whole.
    pub(super) fn cut(&mut self, error: &io::Error) {
        self.is_cut = true;
        let error = io::Error::new(error.kind(), error.to_string());
        // Nobody receives: the host hung up before.
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
