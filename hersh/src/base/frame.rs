//! Frames: bytes with their length and checksums, so that a torn end of a file is told from damage in the middle.
//!
//! ```text
//! length u32 │ crc32 of the length │ crc32 of the payload │ payload │ length …
//! ```

/// Size of a frame's head: length and two checksums, four bytes each, little-endian.
const HEAD_BYTES: usize = 12;
/// Least number of bytes that a disk writes as a whole.
const SECTOR_BYTES: usize = 512;
/// Longest payload that is written.
const PAYLOAD_LIMIT_BYTES: usize = 256 * 1024 * 1024;

/// What stands at a position in a file of frames.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// A payload, and where the next frame begins.
    Whole { payload: &'a [u8], next: usize },
    /// Nothing more.
    End,
    /// The beginning of a frame whose rest was never written.
    Torn,
    /// Something that was never written like this.
    Damaged { what: &'static str },
}

/// Adds a frame to a buffer, whose payload `write` adds.
///
/// # Errors
/// When the payload cannot be written or is too long; the buffer is unchanged then.
pub(crate) fn append(
    buffer: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), String>,
) -> Result<(), String> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEAD_BYTES]);
    let written = write(buffer);
    let length = buffer.len() - start - HEAD_BYTES;
    let refused = match written {
        Err(error) => Some(error),
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
pub(crate) fn read(bytes: &[u8], at: usize) -> Frame<'_> {
    let rest = bytes.get(at..).unwrap_or_default();
    // A file system may lengthen a file before it writes what belongs there.
    if rest.iter().all(|byte| *byte == 0) {
        return if rest.is_empty() {
            Frame::End
        } else {
            Frame::Torn
        };
    }
    let Some((head, rest)) = rest.split_at_checked(HEAD_BYTES) else {
        return Frame::Torn;
    };
    let word = |from: usize| {
        let bytes = [head[from], head[from + 1], head[from + 2], head[from + 3]];
        u32::from_le_bytes(bytes)
    };
    if crc32fast::hash(&head[..4]) != word(4) {
        if is_cut_off(bytes, at) {
            return Frame::Torn;
        }
        let what = "the length of an entry has another checksum";
        return Frame::Damaged { what };
    }
    let length = word(0) as usize;
    let Some(payload) = rest.get(..length) else {
        return Frame::Torn;
    };
    if crc32fast::hash(payload) != word(8) {
        if is_cut_off(bytes, at) {
            return Frame::Torn;
        }
        let what = "an entry has another checksum";
        return Frame::Damaged { what };
    }
    Frame::Whole {
        payload,
        next: at + HEAD_BYTES + length,
    }
}

/// Returns the whole frames that begin after position `at`, wherever that is, until the bytes end.
pub(crate) fn whole_after(bytes: &[u8], at: usize) -> impl Iterator<Item = &[u8]> {
    (at + 1..bytes.len()).filter_map(|start| {
        let (head, rest) = bytes.get(start..)?.split_at_checked(HEAD_BYTES)?;
        let word = |from: usize| Some(u32::from_le_bytes(*head.get(from..)?.first_chunk()?));
        if crc32fast::hash(&head[..4]) != word(4)? {
            return None;
        }
        let payload = rest.get(..word(0)? as usize)?;
        (crc32fast::hash(payload) == word(8)?).then_some(payload)
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn add(bytes: &mut Vec<u8>, text: &str) {
        append(bytes, |buffer| {
            buffer.extend_from_slice(text.as_bytes());
            Ok(())
        })
        .unwrap();
    }

    fn two() -> (Vec<u8>, usize) {
        let mut bytes = Vec::new();
        add(&mut bytes, "first");
        let middle = bytes.len();
        add(&mut bytes, "second");
        (bytes, middle)
    }

    #[test]
    fn what_is_appended_is_read_back() {
        let (bytes, middle) = two();
        let (payload, next) = (&b"first"[..], middle);
        assert_eq!(read(&bytes, 0), Frame::Whole { payload, next });
        let (payload, next) = (&b"second"[..], bytes.len());
        assert_eq!(read(&bytes, middle), Frame::Whole { payload, next });
        assert_eq!(read(&bytes, next), Frame::End);
    }

    #[test]
    fn what_cannot_be_written_leaves_the_buffer_as_it_was() {
        let (mut bytes, _) = two();
        let before = bytes.clone();
        let refused = append(&mut bytes, |buffer| {
            buffer.push(1);
            Err("no".into())
        });
        assert_eq!((refused, bytes), (Err("no".into()), before));
    }

    #[test]
    fn cut_anywhere_it_is_torn_and_zeros_at_the_end_are_too() {
        let (bytes, middle) = two();
        for end in middle + 1..bytes.len() {
            assert_eq!(read(&bytes[..end], middle), Frame::Torn, "{end}");
        }
        let mut lengthened = bytes[..middle].to_vec();
        lengthened.resize(middle + 100, 0);
        assert_eq!(read(&lengthened, middle), Frame::Torn);
    }

    #[test]
    fn an_end_whose_last_sectors_never_came_to_the_disk_is_torn() {
        let mut bytes = Vec::new();
        add(&mut bytes, "first");
        let middle = bytes.len();
        add(&mut bytes, &"x".repeat(3_000));
        for border in (512..bytes.len()).step_by(512) {
            let mut cut = bytes.clone();
            cut[border..].fill(0);
            assert_eq!(read(&cut, middle), Frame::Torn, "{border}");
            assert!(matches!(read(&cut, 0), Frame::Whole { .. }));
        }
        let mut damaged = bytes.clone();
        damaged[1_000] ^= 1;
        assert!(matches!(read(&damaged, middle), Frame::Damaged { .. }));
    }

    #[test]
    fn every_flipped_bit_of_a_whole_frame_is_damage() {
        let (bytes, middle) = two();
        for bit in 0..middle * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let read = read(&damaged, 0);
            assert!(matches!(read, Frame::Damaged { .. }), "{bit}");
        }
    }
}
