//! Counts the bytes that an archive in a source tree takes once the engine unpacks it, as it does for `ADD`.
//!
//! The engine unpacks without a bound, and goes on when the build is cancelled. So this module counts
//! before the build how much the engine would write. It recognizes the same compressions as the engine,
//! and treats a file that begins with a tar header as an archive. It refuses every archive that the
//! engine's reader could understand differently from this one, and every sparse file, whose content is
//! larger than its bytes in the archive.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
};

use tar::{Archive, Entry, EntryType, PaxExtensions};

use super::archive::ZSTD_WINDOW_LOG_MAX;

/// The bytes that a file system takes for an entry besides its content.
const ENTRY_BYTES: u64 = 4 * 1024;
/// The longest extension header that is read, bytes.
const EXTENSIONS_BYTES: u64 = 64 * 1024;
/// The size of a block of a tar archive, bytes.
const BLOCK: usize = 512;
/// The offset of the entry's kind in a header.
const KIND_AT: usize = 156;
/// The range of the checksum in a header.
const SUM_AT: std::ops::Range<usize> = 148..156;

/// Why the unpacked size of an archive can't be told, or is too large.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The archive holds more than may be unpacked.
    #[error("it holds more than may be unpacked")]
    TooLarge,
    /// The archive is compressed in a way that only the engine can read.
    #[error("it is compressed by {0}, which is not read here")]
    UnsupportedCompression(&'static str),
    /// Two readers could understand the archive differently, or its content is larger than its bytes.
    #[error("it holds {0}")]
    Ambiguous(&'static str),
    /// The archive can't be read to its end.
    #[error("it can't be read to its end: {0}")]
    Unreadable(#[from] io::Error),
}

/// Returns how many bytes the engine unpacks from a file that `ADD` names: 0 for a file that is no archive,
/// which the engine copies as it is. Reads at most `bytes_max` unpacked bytes.
///
/// # Errors
/// [`MeasureError`].
pub fn unpacked_bytes(file: File, bytes_max: u64) -> Result<u64, MeasureError> {
    let plain = decompressed(BufReader::with_capacity(64 * 1024, file))?;
    let mut plain = BoundedReader {
        plain,
        left: bytes_max,
    };
    let mut first = Vec::with_capacity(BLOCK);
    (&mut plain).take(BLOCK as u64).read_to_end(&mut first)?;
    let Ok(block) = <&[u8; BLOCK]>::try_from(first.as_slice()) else {
        return Ok(0);
    };
    if !may_be_header(block) {
        return Ok(0);
    }
    match measure(first.as_slice().chain(&mut plain), bytes_max) {
        // The bounded reader tells that the bound was passed, however the archive's reader reports it.
        Err(_) if plain.left == 0 => Err(MeasureError::TooLarge),
        Err(error) => Err(error),
        Ok(entries_bytes) => {
            let content_bytes = bytes_max - plain.left;
            let all_bytes = content_bytes.saturating_add(entries_bytes);
            (all_bytes <= bytes_max)
                .then_some(all_bytes)
                .ok_or(MeasureError::TooLarge)
        }
    }
}

/// Returns a reader of the decompressed content. The first bytes tell the compression, as for engines.
fn decompressed(mut file: BufReader<File>) -> Result<Box<dyn Read>, MeasureError> {
    let first = file.fill_buf()?;
    let is_skipped = |it: &[u8]| matches!(it, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]);
    Ok(if first.starts_with(&[0x1f, 0x8b, 0x08]) {
        Box::new(flate2::bufread::MultiGzDecoder::new(file))
    } else if first.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || is_skipped(first) {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(file)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
        Box::new(decoder)
    } else if first.starts_with(b"BZh") {
        return Err(MeasureError::UnsupportedCompression("bzip2"));
    } else if first.starts_with(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
        return Err(MeasureError::UnsupportedCompression("xz"));
    } else {
        Box::new(file)
    })
}

/// Reads and checks every header. Returns the bytes that the file system takes for the entries besides
/// their content.
fn measure(archive: impl Read, bytes_max: u64) -> Result<u64, MeasureError> {
    let mut archive = Archive::new(archive);
    let mut entries_bytes = 0_u64;
    let mut is_named = false;
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        entries_bytes += ENTRY_BYTES;
        if entries_bytes > bytes_max {
            return Err(MeasureError::TooLarge);
        }
        check(&mut entry, is_named)?;
        let kind = entry.header().entry_type();
        is_named = kind.is_gnu_longname() || (is_named && is_extension(kind));
        is_named |= kind.is_pax_local_extensions();
    }
    Ok(entries_bytes)
}

fn is_extension(kind: EntryType) -> bool {
    kind.is_gnu_longlink() || kind.is_gnu_longname() || kind.is_pax_local_extensions()
}

/// Checks that all readers agree where the next header is, and that the content takes no more bytes
/// unpacked than in the archive. `is_named` says that an earlier header gave the entry another name.
fn check(entry: &mut Entry<'_, impl Read>, is_named: bool) -> Result<(), MeasureError> {
    let header = entry.header();
    let (kind, has_content) = (header.entry_type(), header.entry_size()? > 0);
    if kind.is_gnu_sparse() {
        return Err(MeasureError::Ambiguous("a sparse file"));
    }
    let has_none = matches!(
        kind,
        EntryType::Link
            | EntryType::Symlink
            | EntryType::Char
            | EntryType::Block
            | EntryType::Directory
            | EntryType::Fifo
    );
    if has_none && has_content {
        return Err(MeasureError::Ambiguous(
            "a folder, link or device with content",
        ));
    }
    // Archives from before POSIX mark a folder only by its name, and some readers read no content then.
    let is_old = header.as_bytes()[KIND_AT] == 0;
    if is_old && has_content && (is_named || header.path_bytes().ends_with(b"/")) {
        return Err(MeasureError::Ambiguous(
            "a file of an old kind by the name of a folder",
        ));
    }
    if kind.is_pax_local_extensions() {
        let mut bytes = Vec::new();
        entry.take(EXTENSIONS_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > EXTENSIONS_BYTES {
            return Err(MeasureError::Ambiguous("a header longer than 64 KiB"));
        }
        for extension in PaxExtensions::new(&bytes) {
            match extension?.key_bytes() {
                b"size" => return Err(MeasureError::Ambiguous("a length in an extension header")),
                key if key.starts_with(b"GNU.sparse") => {
                    return Err(MeasureError::Ambiguous("a sparse file"));
                }
                _times_and_owners => {}
            }
        }
    }
    Ok(())
}

/// Returns whether any reader could take the block for a header: its checksum field holds the sum of its
/// bytes, with each byte taken as a signed or as an unsigned number.
fn may_be_header(block: &[u8; BLOCK]) -> bool {
    let digits = block[SUM_AT]
        .iter()
        .skip_while(|byte| matches!(byte, b' ' | 0));
    let digits = digits.take_while(|byte| (b'0'..=b'7').contains(byte));
    let said = digits.fold(0_i64, |sum, digit| sum * 8 + i64::from(digit - b'0'));
    let counted = (0..BLOCK).map(|at| {
        if SUM_AT.contains(&at) {
            b' '
        } else {
            block[at]
        }
    });
    let unsigned: i64 = counted.clone().map(i64::from).sum();
    let signed: i64 = counted.map(|byte| i64::from(byte.cast_signed())).sum();
    said == unsigned || said == signed
}

/// A reader that counts down from a bound, and fails once more than that was read.
struct BoundedReader {
    plain: Box<dyn Read>,
    left: u64,
}

impl Read for BoundedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.plain.read(buffer)?;
        let count = u64::try_from(read).unwrap_or(u64::MAX);
        if count > self.left {
            self.left = 0;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.left -= count;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    const MAX: u64 = 1 << 20;

    fn measured(bytes: &[u8]) -> Result<u64, String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        unpacked_bytes(file, MAX).map_err(|error| error.to_string())
    }

    /// A tar without end blocks, with one entry for each of `headers`, whose size is that of its content.
    fn tar(headers: &[(EntryType, &str, &[u8])]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (kind, name, content) in headers {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_path(name).unwrap();
            header.set_size(content.len() as u64);
            header.set_cksum();
            archive.append(&header, *content).unwrap();
        }
        archive.into_inner().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn an_archive_is_counted_however_it_is_compressed() {
        let plain = tar(&[(EntryType::Regular, "a", &[b'x'; 5_000])]);
        let zstd = zstd::encode_all(plain.as_slice(), 1).unwrap();
        let skipped = [&[0x5a, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 7][..], &zstd].concat();
        let halves = [gzip(&plain[..700]), gzip(&plain[700..])].concat();
        // The header and the content. A reader may also count some of the zeros after them.
        let content_bytes = 512 + 5_120;
        for bytes in [&plain, &gzip(&plain), &zstd, &skipped, &halves] {
            let found = measured(bytes).unwrap() - ENTRY_BYTES;
            assert!(
                (content_bytes..=content_bytes + 1_024).contains(&found),
                "{found}"
            );
        }
        for plain in [b"text".to_vec(), vec![b'x'; 5_000], vec![0; 5_000]] {
            assert_eq!(measured(&plain), Ok(0));
            assert_eq!(measured(&gzip(&plain)), Ok(0));
        }
    }

    #[test]
    fn more_than_the_bound_is_not_read() {
        let large = vec![0; 3 << 20];
        let bomb = gzip(&tar(&[(EntryType::Regular, "a", &large)]));
        assert!(bomb.len() < 20_000);
        let crowd: Vec<_> = (0..300)
            .map(|_| (EntryType::Directory, "d", &b""[..]))
            .collect();
        for bytes in [bomb, gzip(&tar(&crowd))] {
            assert!(measured(&bytes).unwrap_err().contains("more than"));
        }
    }

    #[test]
    fn what_readers_could_take_differently_is_refused() {
        let sparse = b"30 GNU.sparse.realsize=999999\n";
        let mut old = tar(&[(EntryType::Regular, "d/", b"content")]);
        old[KIND_AT] = 0;
        let digits = std::str::from_utf8(&old[148..155]).unwrap();
        let sum = u32::from_str_radix(digits, 8).unwrap() - u32::from(b'0');
        old[148..155].copy_from_slice(format!("{sum:07o}").as_bytes());
        for (plain, expected) in [
            (tar(&[(EntryType::GNUSparse, "a", b"x")]), "a sparse file"),
            (tar(&[(EntryType::XHeader, "a", sparse)]), "a sparse file"),
            (
                tar(&[(EntryType::XHeader, "a", b"10 size=9\n")]),
                "a length in",
            ),
            (tar(&[(EntryType::Symlink, "a", b"x")]), "with content"),
            (tar(&[(EntryType::Directory, "a", b"x")]), "with content"),
            (old, "the name of a folder"),
        ] {
            for bytes in [&plain, &gzip(&plain)] {
                let told = measured(bytes).unwrap_err();
                assert!(told.contains(expected), "{expected}: {told}");
            }
        }
        let mut cut = gzip(&tar(&[(EntryType::Regular, "a", &[b'x'; 5_000])]));
        cut.truncate(cut.len() / 2);
        for (bytes, expected) in [
            (b"BZh91AY".to_vec(), "bzip2"),
            (b"\xfd7zXZ\0\0".to_vec(), "xz"),
            (cut, "to its end"),
        ] {
            let told = measured(&bytes).unwrap_err();
            assert!(told.contains(expected), "{expected}: {told}");
        }
    }
}
