//! Reads a journal back: one part, or the parts of the newest session.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::frame::{self, FrameRead, MAGIC};
use super::parts::{part_number, part_path, parts_in};
use super::record::{Entry, OLDEST_VERSION, Part, VERSION};

/// A journal to be read.
#[derive(Debug)]
pub(crate) struct Journal {
    /// The beginning of the journal's first part.
    pub(crate) began: Part,
    /// The files of the parts, in order.
    parts: Vec<PathBuf>,
}

/// An entry and its position in the journal.
#[derive(Debug)]
pub(crate) struct LocatedEntry {
    pub(crate) entry: Entry,
    pub(crate) file: PathBuf,
    /// The position of the entry, bytes from the beginning of the file.
    pub(crate) offset: usize,
}

/// Why a journal, or its rest, cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    /// The file system refused.
    #[error("cannot read {}: {error}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The error of the file system.
        error: String,
    },
    /// There is nothing to read.
    #[error("{} holds no journal: name a folder that a watcher recorded to", path.display())]
    Empty {
        /// The folder.
        path: PathBuf,
    },
    /// The file is something else, or of another release.
    #[error("{} is no journal that this program reads: {what}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Why the file is no journal.
        what: String,
    },
    /// The file was changed after it was written.
    #[error("{} is damaged at byte {offset}: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The position of the damage, bytes from the beginning of the file.
        offset: usize,
        /// The sign of the damage.
        what: String,
    },
}

impl Journal {
    /// Opens the newest session of a folder, or a session from one of its parts on.
    ///
    /// # Errors
    /// [`ReadError`]
    pub(crate) fn open(path: &Path) -> Result<Self, ReadError> {
        if path.is_dir() {
            Self::newest(path)
        } else {
            Self::from_part(path)
        }
    }

    fn newest(folder: &Path) -> Result<Self, ReadError> {
        let numbers = parts_in(folder).map_err(|error| unreadable(folder, &error))?;
        let mut journal: Option<Self> = None;
        for number in numbers.into_iter().rev() {
            // An older session is not read, whatever state it is in.
            if journal.as_ref().is_some_and(|it| it.began.number == 0) {
                break;
            }
            let part = part_path(folder, number);
            let began = match first(&part) {
                Ok(began) => began,
                // A crash can leave a part without its beginning: nothing was recorded there.
                Err(ReadError::Foreign { .. }) if is_torn_beginning(&part) => continue,
                Err(error) => return Err(error),
            };
            match &mut journal {
                None => {
                    let parts = vec![part];
                    journal = Some(Self { began, parts });
                }
                Some(newer) if newer.follows(&began) => {
                    newer.began = began;
                    newer.parts.insert(0, part);
                }
                Some(_) => break,
            }
        }
        journal.ok_or_else(|| ReadError::Empty {
            path: folder.into(),
        })
    }

    fn from_part(path: &Path) -> Result<Self, ReadError> {
        let began = first(path)?;
        let mut last = began.clone();
        let mut parts = vec![path.to_path_buf()];
        // A part that was copied elsewhere under another name is replayed alone.
        let number = path.file_name().and_then(part_number);
        if let (Some(mut number), Some(folder)) = (number, path.parent()) {
            loop {
                number += 1;
                let next = part_path(folder, number);
                match first(&next) {
                    Ok(part) if part.session == last.session && part.number == last.number + 1 => {
                        parts.push(next);
                        last = part;
                    }
                    Ok(_) | Err(ReadError::Empty { .. } | ReadError::Foreign { .. }) => break,
                    // The error is told once a reader reaches this part: the entries before it are
                    // good.
                    Err(ReadError::Damaged { .. } | ReadError::File { .. }) => {
                        parts.push(next);
                        break;
                    }
                }
            }
        }
        Ok(Self { began, parts })
    }

    /// Returns whether this journal begins where a part that begins like `earlier` ends.
    fn follows(&self, earlier: &Part) -> bool {
        earlier.session == self.began.session && earlier.number + 1 == self.began.number
    }

    /// Returns all entries in order.
    pub(crate) fn entries(&self) -> Entries<'_> {
        Entries {
            parts: &self.parts,
            part: 0,
            bytes: None,
            offset: 0,
            torn_bytes: 0,
        }
    }
}

/// Reads one entry after the other; one part is in memory at a time.
#[derive(Debug)]
pub(crate) struct Entries<'a> {
    parts: &'a [PathBuf],
    part: usize,
    bytes: Option<Vec<u8>>,
    offset: usize,
    torn_bytes: usize,
}

impl Entries<'_> {
    /// Reads and returns the next entry; `None` at the end, torn or not. Every run comes as [`Entry::Run`].
    ///
    /// # Errors
    /// [`ReadError`]
    pub(crate) fn next(&mut self) -> Result<Option<LocatedEntry>, ReadError> {
        while let Some(file) = self.parts.get(self.part) {
            let bytes = match self.bytes.take() {
                Some(bytes) => bytes,
                None => {
                    self.offset = MAGIC.len();
                    fs::read(file).map_err(|error| unreadable(file, &error))?
                }
            };
            let offset = self.offset;
            let damaged = |what: String| ReadError::Damaged {
                path: file.clone(),
                offset,
                what,
            };
            match frame::read(&bytes, offset) {
                FrameRead::Entry { entry, next } => {
                    self.offset = next;
                    self.bytes = Some(bytes);
                    let file = file.clone();
                    let entry = match entry {
                        Entry::ActingRun(mut run, acts) => {
                            run.acts = *acts;
                            Entry::Run(run)
                        }
                        Entry::Began(_)
                        | Entry::Run(_)
                        | Entry::Ended { .. }
                        | Entry::Effects(_) => entry,
                    };
                    return Ok(Some(LocatedEntry {
                        entry,
                        file,
                        offset,
                    }));
                }
                FrameRead::End => self.part += 1,
                FrameRead::Torn if self.part + 1 == self.parts.len() => {
                    self.torn_bytes = bytes.len() - offset;
                    self.part += 1;
                }
                FrameRead::Torn => return Err(damaged("it ends within an entry".into())),
                FrameRead::Damaged { what } => return Err(damaged(what)),
            }
        }
        Ok(None)
    }

    /// Returns the number of bytes at the end that belong to an entry whose rest was never written.
    pub(crate) fn torn_bytes(&self) -> usize {
        self.torn_bytes
    }
}

/// Returns the beginning of a part.
fn first(path: &Path) -> Result<Part, ReadError> {
    let foreign = |what: String| ReadError::Foreign {
        path: path.into(),
        what,
    };
    let bytes = fs::read(path).map_err(|error| unreadable(path, &error))?;
    if !bytes.starts_with(MAGIC) {
        return Err(foreign("it does not begin like one".into()));
    }
    match frame::read(&bytes, MAGIC.len()) {
        FrameRead::Entry {
            entry: Entry::Began(part),
            ..
        } if (OLDEST_VERSION..=VERSION).contains(&part.version) => Ok(*part),
        FrameRead::Entry {
            entry: Entry::Began(part),
            ..
        } => {
            let found = part.version;
            let forms = format!("{OLDEST_VERSION} to {VERSION}");
            Err(foreign(format!(
                "it has form {found}, this program reads {forms}"
            )))
        }
        FrameRead::Entry { .. } | FrameRead::End | FrameRead::Torn => {
            Err(foreign("it has no beginning".into()))
        }
        FrameRead::Damaged { what } => Err(ReadError::Damaged {
            path: path.into(),
            offset: MAGIC.len(),
            what,
        }),
    }
}

/// Returns whether a crash or a power cut kept the beginning of a part from the disk.
fn is_torn_beginning(path: &Path) -> bool {
    fs::read(path).is_ok_and(|bytes| {
        let begins = bytes.starts_with(MAGIC);
        let torn = begins
            && matches!(
                frame::read(&bytes, MAGIC.len()),
                FrameRead::Torn | FrameRead::End
            );
        torn || MAGIC.starts_with(&bytes) || bytes.iter().all(|byte| *byte == 0)
    })
}

fn unreadable(path: &Path, error: &io::Error) -> ReadError {
    if error.kind() == ErrorKind::NotFound {
        return ReadError::Empty { path: path.into() };
    }
    ReadError::File {
        path: path.into(),
        error: error.to_string(),
    }
}
