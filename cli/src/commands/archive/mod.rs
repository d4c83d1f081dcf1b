//! The archive of a folder that is sent to a host: all entries but those that `.dockerignore` leaves out.
//!
//! ```text
//! list ─► entries, and notes on what was left out ─► check ─► pack: tar, piece by piece
//! ```

mod pack;
mod sink;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs::{self, File, Metadata},
    io,
    os::unix::fs::FileTypeExt,
    path::Path,
};

use hersh_wire::{
    Ignore, IgnoreMatch, SOURCE_BYTES_MAX, SOURCE_DEPTH_MAX, SOURCE_ENTRIES_MAX,
    SOURCE_PATH_BYTES_MAX,
};

pub(crate) use self::{pack::write, sink::Sink};
use crate::{failure::Failure, output};

/// The name of the manifest's file.
const MANIFEST: &str = "hersh.toml";
/// The name of the file that says what to leave out.
const IGNORE: &str = ".dockerignore";
/// The largest number of notes on left-out entries that are shown one by one.
const NOTES_MAX: usize = 5;

/// The files that are sent even if `.dockerignore` leaves them out.
#[derive(Clone, Debug)]
pub(crate) struct RequiredFiles {
    /// The path of the Dockerfile, relative to the folder.
    pub(crate) dockerfile: String,
    /// A manifest to send in place of the folder's own file.
    pub(crate) manifest: Option<String>,
}

/// The entries that would be sent.
#[derive(Debug)]
pub(crate) struct Listing {
    entries: BTreeMap<String, Entry>,
    /// Notes for people on entries that are left out, with the reason.
    notes: Vec<String>,
}

#[derive(Debug)]
enum Entry {
    /// A folder, a file or a link, with the metadata that was seen.
    Seen(Metadata),
    /// A file with this content, whatever the disk holds.
    Text(Vec<u8>),
}

impl Listing {
    /// Returns the number of files, folders and links.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the size of all files together, bytes.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.entries.values().map(Entry::bytes).sum()
    }

    /// Shows the notes on entries that are left out, beyond those that `.dockerignore` names.
    pub(crate) fn show_notes(&self) {
        for note in self.notes.iter().take(NOTES_MAX) {
            output::note(note);
        }
        let more = self.notes.len().saturating_sub(NOTES_MAX);
        if more > 0 {
            output::note(&format!("and {more} more were left out"));
        }
    }

    /// Checks the bounds of a host, so that an archive that it would refuse is not sent in vain.
    ///
    /// # Errors
    /// [`Failure::Input`] names the entry at the root that holds the most.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        const ADVICE: &str = "name what the build does not need in .dockerignore";
        let (count, bytes) = (self.len() as u64, self.total_bytes());
        if count > SOURCE_ENTRIES_MAX {
            let (top, most) = self.largest_at_root(|_| 1);
            return Err(Failure::Input(format!(
                "there are {count} files and folders, {most} of them in {top}; at most {SOURCE_ENTRIES_MAX} are taken: {ADVICE}"
            )));
        }
        if bytes > SOURCE_BYTES_MAX {
            let (top, most) = self.largest_at_root(Entry::bytes);
            let mib = |bytes: u64| bytes >> 20;
            return Err(Failure::Input(format!(
                "there are {} MiB, {} of them in {top}; at most {} MiB are taken: {ADVICE}",
                mib(bytes),
                mib(most),
                mib(SOURCE_BYTES_MAX)
            )));
        }
        for path in self.entries.keys() {
            let depth = path.matches('/').count() + 1;
            if path.len() > SOURCE_PATH_BYTES_MAX || depth > SOURCE_DEPTH_MAX {
                return Err(Failure::Input(format!(
                    "{path}: the path is longer than {SOURCE_PATH_BYTES_MAX} bytes or {SOURCE_DEPTH_MAX} names: {ADVICE}"
                )));
            }
            if path.contains(char::is_control) {
                return Err(Failure::Input(format!(
                    "{path:?} has a control character in its name; rename it"
                )));
            }
        }
        Ok(())
    }

    /// Returns the name at the root that holds the most, and the amount.
    fn largest_at_root(&self, of: impl Fn(&Entry) -> u64) -> (&str, u64) {
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for (path, entry) in &self.entries {
            let top = path.split_once('/').map_or(path.as_str(), |(top, _)| top);
            *sums.entry(top).or_default() += of(entry);
        }
        let most = sums.into_iter().max_by_key(|(_, sum)| *sum);
        most.unwrap_or_default()
    }
}

impl Entry {
    fn bytes(&self) -> u64 {
        match self {
            Self::Seen(metadata) if metadata.is_file() => metadata.len(),
            Self::Seen(_) => 0,
            Self::Text(text) => text.len() as u64,
        }
    }
}

/// Lists the entries of `folder` that would be sent.
///
/// # Errors
/// [`Failure::Input`] names the entry that can't be read, or the line of a `.dockerignore` that is no
/// pattern.
pub(crate) fn list(folder: &Path, wanted: &RequiredFiles) -> Result<Listing, Failure> {
    let walk = Walk {
        folder,
        ignore: read_ignore_file(folder)?,
        wanted,
        found: BTreeMap::new(),
        ignored_folders: BTreeMap::new(),
        notes: Vec::new(),
    };
    walk.list()
}

struct Walk<'a> {
    folder: &'a Path,
    ignore: Ignore,
    wanted: &'a RequiredFiles,
    found: BTreeMap<String, Entry>,
    /// Folders that are left out but walked, because an exception may name something in them.
    ignored_folders: BTreeMap<String, Metadata>,
    notes: Vec<String>,
}

impl Walk<'_> {
    fn list(mut self) -> Result<Listing, Failure> {
        let mut folders = vec![(String::new(), self.ignore.root())];
        while let Some((path, matched)) = folders.pop() {
            let place = self.folder.join(&path);
            let read = fs::read_dir(&place).and_then(Iterator::collect::<io::Result<Vec<_>>>);
            let entries = match read {
                Ok(entries) => entries,
                Err(error) if matched.is_ignored() => {
                    self.notes
                        .push(format!("left out: {path}, which can't be read ({error})"));
                    continue;
                }
                Err(error) => return Err(unreadable(&place, &error)),
            };
            for entry in entries {
                let name = entry.file_name();
                let name = name.to_str().ok_or_else(|| {
                    Failure::Input(format!(
                        "{}: the name is not UTF-8; rename it",
                        entry.path().display()
                    ))
                })?;
                let path = match path.is_empty() {
                    true => name.to_owned(),
                    false => format!("{path}/{name}"),
                };
                folders.extend(self.visit(path, &matched)?);
            }
        }
        self.add_wanted()?;
        self.add_folders_above();
        Ok(Listing {
            entries: self.found,
            notes: self.notes,
        })
    }

    /// Adds one entry, or leaves it out. Returns the folder to walk next, if the entry is one.
    fn visit(
        &mut self,
        path: String,
        above: &IgnoreMatch,
    ) -> Result<Option<(String, IgnoreMatch)>, Failure> {
        let place = self.folder.join(&path);
        let matched = self.ignore.look(above, &path);
        let metadata = match fs::symlink_metadata(&place) {
            Ok(metadata) => metadata,
            // The entry vanished meanwhile: treat it as if it had never been there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(_) if matched.is_ignored() => return Ok(None),
            Err(error) => return Err(unreadable(&place, &error)),
        };
        if metadata.is_dir() {
            if !matched.is_ignored() {
                self.found.insert(path.clone(), Entry::Seen(metadata));
            } else if self.ignore.may_keep_inside(&path) {
                self.ignored_folders.insert(path.clone(), metadata);
            } else {
                return Ok(None);
            }
            return Ok(Some((path, matched)));
        }
        if matched.is_ignored() {
            return Ok(None);
        }
        match special(&metadata) {
            Some(kind) => self
                .notes
                .push(format!("left out: {path}, which is {kind}")),
            None => {
                if metadata.is_file() {
                    File::open(&place).map_err(|error| unreadable(&place, &error))?;
                }
                self.found.insert(path, Entry::Seen(metadata));
            }
        }
        Ok(None)
    }

    /// Adds the files that a host needs, whatever `.dockerignore` says. If one is ignored, the host
    /// does not show it to the build. If such a file is a link, the target's content is sent, provided that
    /// the target is in the folder.
    fn add_wanted(&mut self) -> Result<(), Failure> {
        let names = [self.wanted.dockerfile.as_str(), MANIFEST, IGNORE];
        for name in names {
            let place = self.folder.join(name);
            let Ok(metadata) = fs::symlink_metadata(&place) else {
                continue;
            };
            let entry = match metadata.is_symlink() {
                true => Entry::Text(self.read_link_target(&place)?),
                false => Entry::Seen(metadata),
            };
            self.found.insert(name.to_owned(), entry);
        }
        if let Some(manifest) = &self.wanted.manifest {
            let text = Entry::Text(manifest.clone().into_bytes());
            self.found.insert(MANIFEST.to_owned(), text);
        }
        Ok(())
    }

    fn read_link_target(&self, link: &Path) -> Result<Vec<u8>, Failure> {
        let canonical = |path: &Path| {
            path.canonicalize()
                .map_err(|error| unreadable(path, &error))
        };
        let target = canonical(link)?;
        if !target.starts_with(canonical(self.folder)?) {
            return Err(Failure::Input(format!(
                "{} leads to {}, out of the folder that is sent; copy the file into it",
                link.display(),
                target.display()
            )));
        }
        fs::read(&target).map_err(|error| unreadable(&target, &error))
    }

    /// Adds the left-out folders around entries that are sent, so that their modes are sent too.
    fn add_folders_above(&mut self) {
        let paths: Vec<String> = self.found.keys().cloned().collect();
        for path in paths {
            for (end, _) in path.match_indices('/') {
                if let Some((folder, metadata)) = self.ignored_folders.remove_entry(&path[..end]) {
                    self.found.insert(folder, Entry::Seen(metadata));
                }
            }
        }
    }
}

/// Returns the kind of an entry that no archive of source may hold; `None` for a usual one.
fn special(metadata: &Metadata) -> Option<&'static str> {
    let kind = metadata.file_type();
    if kind.is_socket() {
        Some("a socket")
    } else if kind.is_fifo() {
        Some("a named pipe")
    } else if kind.is_block_device() || kind.is_char_device() {
        Some("a device")
    } else {
        None
    }
}

fn read_ignore_file(folder: &Path) -> Result<Ignore, Failure> {
    let path = folder.join(IGNORE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ignore::default()),
        Err(error) => return Err(unreadable(&path, &error)),
    };
    Ignore::read(&text).map_err(|error| Failure::Input(format!("{}: {error}", folder.display())))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::Input(format!(
        "{} can't be read: {error}; fix that, or name it in .dockerignore",
        path.display()
    ))
}
