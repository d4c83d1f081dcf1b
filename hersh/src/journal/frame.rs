//! Entries as bytes: each is framed by its length and checksums, so that a torn end is told from
//! damage in the middle.
//!
//! ```text
//! magic │ length u32 │ crc32 of the length │ crc32 of the payload │ payload (postcard) │ length …
//! ```

use postcard::ser_flavors::Flavor;
use serde::Serialize;

use super::record::Entry;

/// The bytes that every part begins with.
pub(super) const MAGIC: &[u8] = b"hersh journal 1\n";
/// Size of an entry's head: length and two checksums, four bytes each, little-endian.
const HEAD_BYTES: usize = 12;
/// Least number of bytes that a disk writes as a whole.
const SECTOR_BYTES: usize = 512;
/// Longest payload that a reader accepts.
const PAYLOAD_LIMIT_BYTES: usize = 256 * 1024 * 1024;

/// What stands at a position in a part.
#[derive(Debug)]
pub(super) enum FrameRead {
    /// An entry, and where the next one begins.
    Entry { entry: Entry, next: usize },
    /// Nothing more.
    End,
    /// The beginning of an entry whose rest was never written.
    Torn,
    /// Something that was never written like this.
    Damaged { what: String },
}

/// Adds an entry to a buffer.
///
/// # Errors
/// When the entry cannot be encoded or is too long; the buffer is unchanged then.
pub(super) fn append(buffer: &mut Vec<u8>, entry: &Entry) -> Result<(), String> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEAD_BYTES]);
    let written = postcard::serialize_with_flavor(entry, VecOutput(buffer));
    let length = buffer.len() - start - HEAD_BYTES;
    let refused = match written {
        Err(error) => Some(error.to_string()),
        Ok(()) if length > PAYLOAD_LIMIT_BYTES => Some(format!("{length} bytes are too many")),
        Ok(()) => None,
    };
    if let Some(error) = refused {
        buffer.truncate(start);
        return Err(error);
    }
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let (head, payload) = buffer[start..].split_at_mut(HEAD_BYTES);
    head[..4].copy_from_slice(&length);
    head[4..8].copy_from_slice(&crc32fast::hash(&length).to_le_bytes());
    head[8..].copy_from_slice(&crc32fast::hash(payload).to_le_bytes());
    Ok(())
}

/// Reads what stands at position `at`.
pub(super) fn read(bytes: &[u8], at: usize) -> FrameRead {
    let rest = bytes.get(at..).unwrap_or_default();
    // A file system may lengthen a file before it writes what belongs there.
    if rest.iter().all(|byte| *byte == 0) {
        return if rest.is_empty() {
            FrameRead::End
        } else {
            FrameRead::Torn
        };
    }
    let Some((head, rest)) = rest.split_at_checked(HEAD_BYTES) else {
        return FrameRead::Torn;
    };
    let word = |from: usize| {
        let bytes = [head[from], head[from + 1], head[from + 2], head[from + 3]];
        u32::from_le_bytes(bytes)
    };
    if crc32fast::hash(&head[..4]) != word(4) {
        if is_cut_off(bytes, at) {
            return FrameRead::Torn;
        }
        let what = "the length of an entry has another checksum".into();
        return FrameRead::Damaged { what };
    }
    let length = word(0) as usize;
    let Some(payload) = rest.get(..length) else {
        return FrameRead::Torn;
    };
    if crc32fast::hash(payload) != word(8) {
        if is_cut_off(bytes, at) {
            return FrameRead::Torn;
        }
        let what = "an entry has another checksum".into();
        return FrameRead::Damaged { what };
    }
    match postcard::from_bytes(payload) {
        Ok(entry) => FrameRead::Entry {
            entry,
            next: at + HEAD_BYTES + length,
        },
        Err(error) => FrameRead::Damaged {
            what: format!("an entry cannot be understood: {error}"),
        },
    }
}

/// Returns whether a power cut let only the first sectors of what begins at `at` reach the disk:
/// the rest of the file is zeros then, from the border of a sector on.
fn is_cut_off(bytes: &[u8], at: usize) -> bool {
    let written = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    let border = written.next_multiple_of(SECTOR_BYTES);
    at < border && border < bytes.len()
}

/// An output of the serialiser at the end of a vector, without a buffer in between.
struct VecOutput<'a>(&'a mut Vec<u8>);

impl Flavor for VecOutput<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Checks at compile time that what is appended can be read: the same types on both sides.
const _: fn() = || {
    fn both<T: Serialize + for<'de> serde::Deserialize<'de>>() {}
    both::<Entry>();
};

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> Entry {
        Entry::Ended {
            ending: text.into(),
            at_ns: 7,
        }
    }

    fn two() -> (Vec<u8>, usize) {
        let mut bytes = Vec::new();
        append(&mut bytes, &entry("first")).unwrap();
        let middle = bytes.len();
        append(&mut bytes, &entry("second")).unwrap();
        (bytes, middle)
    }

    #[test]
    fn what_is_appended_is_read_back() {
        let (bytes, middle) = two();
        let FrameRead::Entry { entry: first, next } = read(&bytes, 0) else {
            panic!("an entry")
        };
        assert_eq!((first, next), (entry("first"), middle));
        let FrameRead::Entry {
            entry: second,
            next,
        } = read(&bytes, next)
        else {
            panic!("an entry")
        };
        assert_eq!(second, entry("second"));
        assert!(matches!(read(&bytes, next), FrameRead::End));
    }

    #[test]
    fn cut_anywhere_it_is_torn_and_zeros_at_the_end_are_too() {
        let (bytes, middle) = two();
        for end in middle + 1..bytes.len() {
            assert!(
                matches!(read(&bytes[..end], middle), FrameRead::Torn),
                "{end}"
            );
        }
        let mut lengthened = bytes[..middle].to_vec();
        lengthened.resize(middle + 100, 0);
        assert!(matches!(read(&lengthened, middle), FrameRead::Torn));
    }

    #[test]
    fn an_end_whose_last_sectors_never_came_to_the_disk_is_torn() {
        let mut bytes = Vec::new();
        append(&mut bytes, &entry("first")).unwrap();
        let middle = bytes.len();
        append(&mut bytes, &entry(&"x".repeat(3_000))).unwrap();
        for border in (512..bytes.len()).step_by(512) {
            let mut cut = bytes.clone();
            cut[border..].fill(0);
            assert!(matches!(read(&cut, middle), FrameRead::Torn), "{border}");
            assert!(matches!(read(&cut, 0), FrameRead::Entry { .. }));
        }
        let mut damaged = bytes.clone();
        damaged[1_000] ^= 1;
        assert!(matches!(read(&damaged, middle), FrameRead::Damaged { .. }));
    }

    #[test]
    fn every_flipped_bit_of_a_whole_entry_is_damage() {
        let (bytes, middle) = two();
        for bit in 0..middle * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(
                matches!(read(&damaged, 0), FrameRead::Damaged { .. }),
                "{bit}"
            );
        }
    }
}
