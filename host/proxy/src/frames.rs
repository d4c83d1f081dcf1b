//! Where the frames of a WebSocket (RFC 6455) begin and end, told from the bytes that pass by: only
//! between two of them may the host put one of its own.

/// Bytes of a frame before its mask and payload, at most.
const HEAD_BYTES_MAX: usize = 10;
const CLOSE: u8 = 0x8;
/// A whole frame with an empty ping, as a server sends it.
pub(super) const PING: &[u8] = &[0x89, 0];

/// Where one direction of a WebSocket stands.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// What came of the present frame's head.
    head: [u8; HEAD_BYTES_MAX],
    have: usize,
    /// What is still to come of its mask and payload.
    left: u64,
    /// A frame came behind which there is none.
    is_closed: bool,
}

impl Frames {
    /// Takes note of what passes.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let length =
                    usize::try_from(self.left).map_or(bytes.len(), |it| it.min(bytes.len()));
                self.left -= length as u64;
                bytes = &bytes[length..];
                continue;
            }
            self.head[self.have] = first;
            self.have += 1;
            bytes = rest;
            if let Some(left) = self.payload() {
                self.is_closed |= self.head[0] & 0xf == CLOSE;
                self.have = 0;
                self.left = left;
            }
        }
    }

    /// Whether a frame may be put in here.
    pub(super) fn is_between(&self) -> bool {
        self.have == 0 && self.left == 0 && !self.is_closed
    }

    /// Bytes of mask and payload, once the head says so.
    fn payload(&self) -> Option<u64> {
        let [_, second, extended @ ..] = self.head.get(..self.have)? else {
            return None;
        };
        let length = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes(extended.try_into().ok()?)),
            127 => u64::from_be_bytes(extended.try_into().ok()?),
            short => u64::from(short),
        };
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        Some(length.saturating_add(mask))
    }
}

/// A whole frame that ends a WebSocket; one toward a program is masked, as all that clients send.
pub(super) fn close(code: u16, reason: &str, is_masked: bool) -> Vec<u8> {
    // A frame of this kind holds at most 125 bytes.
    let reason = &reason.as_bytes()[..reason.len().min(123)];
    let length = u8::try_from(2 + reason.len()).unwrap_or_default();
    let mut frame = vec![0x80 | CLOSE, length];
    if is_masked {
        frame[1] |= 0x80;
        // A mask of noughts leaves the payload as it is; it hides nothing that a stranger chose.
        frame.extend([0; 4]);
    }
    frame.extend(code.to_be_bytes());
    frame.extend(reason);
    frame
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(opcode: u8, length: usize, is_masked: bool) -> Vec<u8> {
        let mut frame = vec![0x80 | opcode];
        let mask = if is_masked { 0x80 } else { 0 };
        match length {
            0..126 => frame.push(mask | length as u8),
            126..65_536 => {
                frame.push(mask | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(vec![0xff; length + if is_masked { 4 } else { 0 }]);
        frame
    }

    proptest! {
        #[test]
        fn frames_end_where_their_heads_say(
            frames in prop::collection::vec(
                (0..3_u8, prop_oneof![0..130_usize, 65_530..65_540_usize], any::<bool>()), 0..6),
            cut in 1..70_000_usize,
        ) {
            let frames: Vec<_> = frames.iter().map(|it| frame(it.0, it.1, it.2)).collect();
            let mut ends = vec![0];
            for frame in &frames {
                ends.push(ends[ends.len() - 1] + frame.len());
            }
            let bytes = frames.concat();
            let (mut seen, mut at) = (Frames::default(), 0);
            for piece in bytes.chunks(cut) {
                seen.pass(piece);
                at += piece.len();
                prop_assert_eq!(seen.is_between(), ends.contains(&at), "at {} of {:?}", at, ends);
            }
        }
    }

    #[test]
    fn nothing_comes_behind_a_close() {
        for is_masked in [false, true] {
            let mut frames = Frames::default();
            frames.pass(PING);
            assert!(frames.is_between());
            frames.pass(&close(1001, "the end", is_masked));
            assert!(!frames.is_between());
        }
    }

    #[test]
    fn a_close_says_why() {
        assert_eq!(close(1001, "bye", false), b"\x88\x05\x03\xe9bye");
        assert_eq!(close(1001, "bye", true), b"\x88\x85\0\0\0\0\x03\xe9bye");
        assert_eq!(close(1000, &"x".repeat(200), false).len(), 127);
    }

    #[test]
    fn what_is_no_frame_keeps_the_host_silent() {
        let mut frames = Frames::default();
        frames.pass(b"EARLY.");
        assert!(!frames.is_between());
        frames.pass(&[0x82, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert!(!frames.is_between());
    }
}
