//! Checks that an archive arrived whole. It watches the bytes that the reader of the entries reads.
//!
//! ```text
//! bytes ─► CheckedReader ─► tar ─► entries
//!             └► ArchiveCheck: digest so far, the last block, whether the bytes ended
//! ```

use std::{
    cell::RefCell,
    io::{self, Read},
    rc::Rc,
};

use hersh_wire::{ARCHIVE_COUNTED, ARCHIVE_ENTRIES, ARCHIVE_SHA256};
use sha2::{Digest, Sha256};
use tar::PaxExtensions;

use super::{error::SourceError, write::unreadable};

/// The size of a tar block, bytes. Headers and contents are made of blocks; the end is two blocks of zeros.
const BLOCK_BYTES: usize = 512;

/// A reader that passes bytes on and notes them. Once there are too many bytes, it fails; it does not
/// pretend that the archive ends there.
pub(super) struct CheckedReader<R> {
    plain: R,
    left: u64,
    whole: ArchiveCheck,
}

/// What is known of the bytes that were read. Clones share the notes on one archive.
#[derive(Clone, Default)]
pub(super) struct ArchiveCheck(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    /// The digest of all bytes except [`last`](Self::last); `None` once it is no longer needed.
    digest: Option<Sha256>,
    /// The last bytes, at most one block. When an entry begins, this is the entry's own header.
    last: Vec<u8>,
    has_ended: bool,
    entries: u64,
    end: End,
}

/// How an archive marks its end.
#[derive(Default, PartialEq, Eq)]
enum End {
    /// Nothing was read yet.
    #[default]
    Unknown,
    /// By the two blocks of zeros alone.
    Plain,
    /// By a last header that the archive announced and that did not come yet.
    Announced,
    /// By an announced last header that came and agrees with the bytes before it.
    Kept,
}

impl ArchiveCheck {
    pub(super) fn new() -> Self {
        let state = State {
            digest: Some(Sha256::new()),
            ..State::default()
        };
        Self(Rc::new(RefCell::new(state)))
    }

    pub(super) fn watch<R: Read>(&self, plain: R, bytes_max: u64) -> CheckedReader<R> {
        CheckedReader {
            plain,
            left: bytes_max,
            whole: self.clone(),
        }
    }

    /// Notes that a header or an entry begins.
    ///
    /// # Errors
    /// [`SourceError`] if it comes after the end that the archive announced.
    pub(super) fn begins(&self, is_global: bool) -> Result<(), SourceError> {
        let mut state = self.0.borrow_mut();
        match state.end {
            End::Unknown if !is_global => {
                state.end = End::Plain;
                state.digest = None;
            }
            End::Kept => return Err(unreadable("something follows the end that it gave itself")),
            End::Unknown | End::Plain | End::Announced => {}
        }
        Ok(())
    }

    /// Counts an entry of the tree.
    pub(super) fn count(&self) {
        self.0.borrow_mut().entries += 1;
    }

    /// Returns the digest, in hex, of all bytes before the header that begins now.
    pub(super) fn digest(&self) -> Option<String> {
        let digest = self.0.borrow().digest.clone()?.finalize();
        Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Reads the content of a global header. `digest` is the digest of all bytes before that header.
    ///
    /// # Errors
    /// [`SourceError`] when the header describes another archive than the one that came.
    pub(super) fn global(&self, content: &[u8], digest: Option<&str>) -> Result<(), SourceError> {
        let mut state = self.0.borrow_mut();
        let (mut entries, mut sha256) = (None, None);
        for extension in PaxExtensions::new(content) {
            // Other tools write their own keys here, so an unreadable one is passed over.
            let Ok(extension) = extension else { continue };
            let (Ok(key), Ok(value)) = (extension.key(), extension.value()) else {
                continue;
            };
            match key {
                ARCHIVE_COUNTED if state.end == End::Unknown => state.end = End::Announced,
                ARCHIVE_ENTRIES => entries = Some(value),
                ARCHIVE_SHA256 => sha256 = Some(value),
                _other => {}
            }
        }
        if state.end == End::Announced
            && let (Some(entries), Some(sha256)) = (entries, sha256)
        {
            if entries != state.entries.to_string() || Some(sha256) != digest {
                return Err(unreadable("what came is not what was sent; send it again"));
            }
            state.end = End::Kept;
        }
        Ok(())
    }

    /// Reads the bytes after the last entry, and checks that they are a valid end.
    ///
    /// # Errors
    /// [`SourceError`] if the archive was cut short, or if something follows its end.
    pub(super) fn finish(&self, rest: &mut impl Read) -> Result<(), SourceError> {
        const CUT: &str = "it has no end, so it was cut short on its way; send it again";
        if self.0.borrow().has_ended || self.0.borrow().end == End::Announced {
            return Err(unreadable(CUT));
        }
        let mut zeros = 0;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match rest.read(&mut buffer) {
                Ok(0) if zeros < BLOCK_BYTES => return Err(unreadable(CUT)),
                Ok(0) => return Ok(()),
                Ok(count) if buffer[..count].iter().any(|byte| *byte != 0) => {
                    return Err(unreadable("something follows its end; send one archive"));
                }
                Ok(count) => zeros = zeros.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(error)),
            }
        }
    }

    fn note(&self, bytes: &[u8]) {
        let mut state = self.0.borrow_mut();
        state.has_ended = bytes.is_empty();
        if state.digest.is_none() {
            return;
        }
        let state = &mut *state;
        state.last.extend_from_slice(bytes);
        let past = state.last.len().saturating_sub(BLOCK_BYTES);
        if let Some(digest) = &mut state.digest {
            digest.update(&state.last[..past]);
        }
        state.last.drain(..past);
    }
}

impl<R: Read> Read for CheckedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.plain.read(buffer)?;
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| io::Error::other("it unpacks to more than its limits allow"))?;
        self.whole.note(&buffer[..count]);
        Ok(count)
    }
}
