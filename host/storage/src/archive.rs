//! Reads a tar stream, which may be hostile.
//!
//! The archive is read entry by entry in the raw mode of the crate `tar`: that crate's own handling of long
//! names would read a name of any length into memory.

use std::io::{self, BufRead, BufReader, Read};

use tar::{Archive, EntryType, PaxExtensions};

use super::{
    archive_check::ArchiveCheck, attributes::Attributes, error::SourceError, paths::refused,
    tree::Tree, write::unreadable,
};

/// The longest name or extension header that is read, bytes.
const HEADER_BYTES: u64 = 64 * 1024;

/// The most bytes that a zstd archive may look back, as a power of two; an archive of `zstd -19` needs 23.
pub(super) const ZSTD_WINDOW_LOG_MAX: u32 = 24;

/// The path and link target that extension headers gave for the entry after them.
#[derive(Default)]
struct ExtensionHeaders {
    path: Option<String>,
    link: Option<String>,
}

/// Reads the whole archive into `tree`.
pub(super) fn unpack(stream: impl Read, tree: &mut Tree) -> Result<(), SourceError> {
    let mut stream = BufReader::with_capacity(64 * 1024, stream);
    let magic = stream.fill_buf().map_err(unreadable)?;
    let plain: Box<dyn Read + '_> = if magic.starts_with(&[0x1f, 0x8b]) {
        Box::new(flate2::bufread::MultiGzDecoder::new(stream))
    } else if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(stream).map_err(unreadable)?;
        decoder
            .window_log_max(ZSTD_WINDOW_LOG_MAX)
            .map_err(unreadable)?;
        Box::new(decoder)
    } else {
        Box::new(stream)
    };
    let whole = ArchiveCheck::new();
    // Skipped content is unpacked too, so the whole stream is bounded and not only the stored files.
    let mut archive = Archive::new(whole.watch(plain, tree.limits().archive_bytes_max()));
    entries(&mut archive, tree, &whole)?;
    whole.finish(&mut archive.into_inner())
}

fn entries(
    archive: &mut Archive<impl Read>,
    tree: &mut Tree,
    whole: &ArchiveCheck,
) -> Result<(), SourceError> {
    let mut pending = ExtensionHeaders::default();
    // Extension headers are no entries of the tree, so they need a bound of their own.
    let mut headers_left = tree.limits().entries.saturating_mul(4).saturating_add(64);
    for entry in archive.entries().map_err(unreadable)?.raw(true) {
        let mut entry = entry.map_err(unreadable)?;
        headers_left = headers_left
            .checked_sub(1)
            .ok_or_else(|| unreadable("it has more headers than its limit of entries allows"))?;
        let kind = entry.header().entry_type();
        whole.begins(kind.is_pax_global_extensions())?;
        if kind.is_gnu_longname() {
            pending.path = Some(name(&mut entry)?);
        } else if kind.is_gnu_longlink() {
            pending.link = Some(name(&mut entry)?);
        } else if kind.is_pax_local_extensions() {
            extend(&mut pending, &mut entry)?;
        } else if kind.is_pax_global_extensions() {
            let digest = whole.digest();
            whole.global(&bounded(&mut entry)?, digest.as_deref())?;
        } else {
            whole.count();
            take(tree, std::mem::take(&mut pending), kind, &mut entry)?;
        }
    }
    if pending.path.is_some() || pending.link.is_some() {
        return Err(unreadable(
            "it ends with the name of an entry that does not follow",
        ));
    }
    Ok(())
}

fn take(
    tree: &mut Tree,
    pending: ExtensionHeaders,
    kind: EntryType,
    entry: &mut tar::Entry<'_, impl Read>,
) -> Result<(), SourceError> {
    let header = entry.header();
    let path = match pending.path {
        Some(path) => path,
        None => text(&header.path_bytes())?,
    };
    let link = match pending.link {
        Some(link) => Some(link),
        None => header
            .link_name_bytes()
            .map(|link| text(&link))
            .transpose()?,
    };
    // Some writers leave the mode of links empty; the mode of a link is not used.
    let usual = if kind.is_dir() { 0o755 } else { 0o644 };
    let mode = header.mode().unwrap_or(usual);
    let attributes = Attributes::new(mode, header.mtime().ok());
    let size_bytes = header.entry_size().map_err(unreadable)?;
    match (kind, link) {
        (EntryType::Directory, _) => tree.add_folder(&path, attributes),
        // Archives from before POSIX mark a folder only by a slash at the end of its name.
        (EntryType::Regular, _) if path.ends_with('/') && size_bytes == 0 => {
            tree.add_folder(&path, attributes)
        }
        (EntryType::Regular | EntryType::Continuous, _) => {
            tree.add_file(&path, attributes, size_bytes, entry)
        }
        (EntryType::Symlink, Some(target)) => tree.add_link(&path, &target, attributes),
        (EntryType::Link, Some(of)) => tree.add_copy(&path, &of),
        (EntryType::Symlink | EntryType::Link, None) => {
            Err(refused(&path, "it is a link without a target"))
        }
        (EntryType::Char | EntryType::Block, _) => Err(refused(&path, "it is a device")),
        (EntryType::Fifo, _) => Err(refused(&path, "it is a named pipe")),
        (EntryType::GNUSparse, _) => Err(refused(
            &path,
            "it is a sparse file; pack it without --sparse",
        )),
        _other => Err(refused(
            &path,
            "it is neither a file nor a folder nor a link",
        )),
    }
}

/// Returns the content of a GNU long name header.
fn name(entry: &mut impl Read) -> Result<String, SourceError> {
    let bytes = bounded(entry)?;
    let end = bytes
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(bytes.len());
    text(&bytes[..end])
}

/// Reads the path and the link target from a POSIX extension header into `pending`.
fn extend(
    pending: &mut ExtensionHeaders,
    entry: &mut tar::Entry<'_, impl Read>,
) -> Result<(), SourceError> {
    let bytes = bounded(entry)?;
    for extension in PaxExtensions::new(&bytes) {
        let extension = extension.map_err(unreadable)?;
        match extension.key_bytes() {
            b"path" => pending.path = Some(text(extension.value_bytes())?),
            b"linkpath" => pending.link = Some(text(extension.value_bytes())?),
            // This size would contradict the next header, or be larger than any limit.
            b"size" => return Err(unreadable("an entry gives its size in an extension header")),
            key if key.starts_with(b"GNU.sparse") => {
                return Err(unreadable(
                    "it holds a sparse file; pack it without --sparse",
                ));
            }
            _times_and_owners => {}
        }
    }
    Ok(())
}

fn bounded(entry: &mut impl Read) -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::new();
    let read: io::Result<usize> = entry.take(HEADER_BYTES + 1).read_to_end(&mut bytes);
    let count = read.map_err(unreadable)?;
    if u64::try_from(count).unwrap_or(u64::MAX) > HEADER_BYTES {
        return Err(unreadable("a header is longer than 64 KiB"));
    }
    Ok(bytes)
}

fn text(bytes: &[u8]) -> Result<String, SourceError> {
    String::from_utf8(bytes.to_vec()).map_err(|error| {
        refused(
            &String::from_utf8_lossy(error.as_bytes()),
            "its path or target is not UTF-8",
        )
    })
}
