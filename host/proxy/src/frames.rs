//! Finds where the frames of a WebSocket (RFC 6455) begin and end in the bytes that pass. The host may put
//! in a frame of its own only between two others: inside a frame it would corrupt that frame.

/// The most bytes of a frame before its mask and payload.
const HEAD_BYTES_MAX: usize = 10;
const CLOSE: u8 = 0x8;
/// A whole frame with an empty ping, as a server sends it.
pub(super) const PING: &[u8] = &[0x89, 0];

/// The position in one direction of a WebSocket.
#[derive(Debug, Default)]
pub(super) struct FramePosition {
    /// The bytes of the present frame's head; `have` of them came so far.
    head: [u8; HEAD_BYTES_MAX],
    have: usize,
    /// The number of bytes of its mask and payload that are still to come.
    left: u64,
    /// Whether a close frame came, which is the last frame.
    is_closed: bool,
}

impl FramePosition {
    /// Takes note of bytes that pass.
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

    /// Returns whether the host may put in a frame now.
    pub(super) fn is_between(&self) -> bool {
        self.have == 0 && self.left == 0 && !self.is_closed
    }

    /// Returns the number of bytes of mask and payload; `None` until enough of the head came to tell.
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

/// Returns a close frame, which ends a WebSocket. A frame toward a program must be masked, like all frames
/// that clients send.
pub(super) fn close(code: u16, reason: &str, is_masked: bool) -> Vec<u8> {
    // The payload of a close frame has at most 125 bytes, and the code is 2 of them.
    let reason = &reason.as_bytes()[..reason.len().min(123)];
    let length = u8::try_from(2 + reason.len()).unwrap_or_default();
    let mut frame = vec![0x80 | CLOSE, length];
    if is_masked {
        frame[1] |= 0x80;
        // A mask of zeros leaves the payload as it is. There is nothing to hide: no stranger chose the
        // payload.
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
            let (mut seen, mut at) = (FramePosition::default(), 0);
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
            let mut frames = FramePosition::default();
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
        let mut frames = FramePosition::default();
        frames.pass(b"EARLY.");
        assert!(!frames.is_between());
        frames.pass(&[0x82, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert!(!frames.is_between());
    }
}
