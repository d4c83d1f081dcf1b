//! Packs a listing into a tar that carries marks of its own completeness.

use std::{
    fs::{self, File, Metadata},
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::Path,
};

use hersh_wire::{ARCHIVE_COUNTED, ARCHIVE_ENTRIES, ARCHIVE_SHA256};

use super::{Entry, Listing, Sink};

/// The mode bits that are sent: all that a file system keeps.
const MODE_BITS: u32 = 0o7777;

type Archive = tar::Builder<Sink>;

/// Writes the archive to its end. On an error it ends the request's body with that error and returns the
/// error. Owners are not sent. A file that grows meanwhile is cut at the length in its header.
///
/// # Errors
/// An error that names the file that could not be read, or that says that the archive's receiver is gone.
pub(crate) fn write(folder: &Path, listing: &Listing, sink: Sink) -> io::Result<()> {
    let mut archive = tar::Builder::new(sink);
    let written = write_all(folder, listing, &mut archive);
    if let Err(error) = &written {
        archive.get_mut().cut(error);
        return written;
    }
    archive.into_inner()?.flush()
}

fn write_all(folder: &Path, listing: &Listing, archive: &mut Archive) -> io::Result<()> {
    append_global(archive, &[(ARCHIVE_COUNTED, "1")])?;
    for (path, entry) in &listing.entries {
        match entry {
            Entry::Text(text) => {
                let mut header = tar::Header::new_gnu();
                header.set_mode(0o644);
                header.set_mtime(now_s());
                header.set_size(text.len() as u64);
                archive.append_data(&mut header, path, text.as_slice())?;
            }
            Entry::Seen(seen) => {
                let place = folder.join(path);
                append(archive, path, seen, &place).map_err(|error| {
                    let message = format!("{}: {error}", place.display());
                    io::Error::new(error.kind(), message)
                })?;
            }
        }
    }
    let (count, digest) = (listing.len().to_string(), archive.get_ref().digest());
    append_global(
        archive,
        &[(ARCHIVE_ENTRIES, &count), (ARCHIVE_SHA256, &digest)],
    )
}

fn append(archive: &mut Archive, path: &str, seen: &Metadata, place: &Path) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(seen.mode() & MODE_BITS);
    header.set_mtime(u64::try_from(seen.mtime()).unwrap_or(0));
    header.set_size(0);
    if seen.is_dir() {
        header.set_entry_type(tar::EntryType::Directory);
        archive.append_data(&mut header, path, io::empty())
    } else if seen.is_symlink() {
        header.set_entry_type(tar::EntryType::Symlink);
        archive.append_link(&mut header, path, fs::read_link(place)?)
    } else {
        let file = File::open(place)?;
        let now = file.metadata()?;
        if !now.is_file() || (now.dev(), now.ino()) != (seen.dev(), seen.ino()) {
            // An editor may have replaced the file by a new one. Accept only a plain file, and no link or
            // pipe.
            let again = fs::symlink_metadata(place)?;
            if !again.is_file() || (again.dev(), again.ino()) != (now.dev(), now.ino()) {
                return Err(changed());
            }
        }
        header.set_mtime(u64::try_from(now.mtime()).unwrap_or(0));
        header.set_size(now.len());
        let exact = ExactReader {
            left: now.len(),
            file,
        };
        archive.append_data(&mut header, path, exact)
    }
}

/// Reads exactly as many bytes of a file as its header says.
struct ExactReader {
    left: u64,
    file: File,
}

impl Read for ExactReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX);
        let length = length.min(buffer.len());
        if length == 0 {
            return Ok(0);
        }
        let count = self.file.read(&mut buffer[..length])?;
        if count == 0 {
            return Err(changed());
        }
        self.left -= count as u64;
        Ok(count)
    }
}

fn changed() -> io::Error {
    io::Error::other("it was changed while it was read; deploy again")
}

fn append_global(archive: &mut Archive, records: &[(&str, &str)]) -> io::Result<()> {
    let content: String = records
        .iter()
        .map(|(key, value)| record(key, value))
        .collect();
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::XGlobalHeader);
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, "pax_global_header", content.as_bytes())
}

/// Returns one record of an extended header. The length at its beginning counts itself too.
fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len();
    while length != length.to_string().len() + rest.len() {
        length = length.to_string().len() + rest.len();
    }
    format!("{length}{rest}")
}

/// Returns the time, seconds since the Unix epoch.
fn now_s() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
