//! Reads what a program sends before a body, in pieces of any size and within bounds.

use super::{
    head::{self, HeadError, ReceivedHead},
    policy::Policy,
};

/// How many bytes more than two heads may come before the head of the answer was read: one read from the
/// connection can also hold much of the body.
const READ_BYTES_MAX: usize = 64 * 1024;

/// The state of reading the answer to one request, up to its body.
#[derive(Debug)]
pub struct HeadReader<'a, P> {
    is_head: bool,
    /// The most bytes of one head. All interim answers (1xx) together may have as many.
    head_bytes_max: usize,
    policy: &'a P,
    /// How many bytes came so far.
    came: usize,
    /// How many bytes of the present head were searched for its end, without finding it.
    searched: usize,
}

/// Why the bytes that came can't become an answer.
#[derive(Debug, thiserror::Error)]
pub enum HeadReaderError {
    /// The head is not valid.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The head is too long.
    #[error(
        "the head of its answer is larger than {0} bytes; head under [proxy] in hersh.toml allows more"
    )]
    HeadTooLarge(usize),
    /// Too many bytes came before a body.
    #[error("it sent more than {0} bytes before a body")]
    NoAnswer(usize),
}

impl<'a, P: Policy> HeadReader<'a, P> {
    /// Starts to read the answer to a request. `is_head` tells whether the method of the request was
    /// HEAD, and `policy` which headers the client may see.
    pub fn new(is_head: bool, head_bytes_max: usize, policy: &'a P) -> Self {
        Self {
            is_head,
            head_bytes_max,
            policy,
            came: 0,
            searched: 0,
        }
    }

    /// Returns whether no byte came so far.
    #[must_use]
    pub fn has_no_bytes(&self) -> bool {
        self.came == 0
    }

    /// Counts further bytes that came. Without this bound, a hostile program could send interim answers
    /// without end.
    ///
    /// # Errors
    /// [`HeadReaderError::NoAnswer`] when too many bytes came before a body.
    pub fn take_in(&mut self, bytes: usize) -> Result<(), HeadReaderError> {
        self.came += bytes;
        let bytes_max = self.head_bytes_max.saturating_mul(2) + READ_BYTES_MAX;
        if self.came > bytes_max {
            return Err(HeadReaderError::NoAnswer(bytes_max));
        }
        Ok(())
    }

    /// Reads the head at the beginning of `came` and returns it with its length, once all of it is there.
    /// At the next call, `came` has to begin after this head.
    ///
    /// # Errors
    /// [`HeadReaderError`].
    pub fn read(&mut self, came: &[u8]) -> Result<Option<(usize, ReceivedHead)>, HeadReaderError> {
        // The head is parsed at its first piece, and then only when an empty line may have ended it.
        // Otherwise a program that sends single bytes would make the host parse the whole head at each
        // byte.
        let is_new = self.searched == 0 && !came.is_empty();
        if (is_new || ends_a_head(&came[self.searched.saturating_sub(2)..]))
            && let Some((length, received)) = head::read(came, self.is_head, self.policy)?
        {
            if length > self.head_bytes_max {
                return Err(HeadReaderError::HeadTooLarge(self.head_bytes_max));
            }
            self.searched = 0;
            return Ok(Some((length, received)));
        }
        self.searched = came.len();
        if came.len() >= self.head_bytes_max {
            return Err(HeadReaderError::HeadTooLarge(self.head_bytes_max));
        }
        Ok(None)
    }
}

/// Returns whether an empty line may end in `bytes`. The first line can be the rest of a longer one, so a
/// yes can be wrong, a no never is.
fn ends_a_head(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|&byte| byte == b'\n');
    // The text behind the last line's end is no whole line yet.
    let _ = lines.next_back();
    lines.any(|line| matches!(line, b"" | b"\r"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{head::FinalHead, policy::NoHeaders};

    const HEAD_BYTES_MAX: usize = 2_000;

    #[test]
    fn a_head_is_read_wherever_it_is_cut() {
        for end in ["\r\n", "\n"] {
            let lines = [
                "HTTP/1.1 200 OK",
                "content-length: 2",
                "etag: \"x\"",
                "",
                "ok",
            ];
            let text = lines.join(end).into_bytes();
            let length = text.len() - 2;
            for step in 1..text.len() {
                let mut head_reader = HeadReader::new(false, HEAD_BYTES_MAX, &NoHeaders);
                let mut ends = (0..text.len()).step_by(step).chain([text.len()]);
                let (read, received) = ends
                    .find_map(|end| head_reader.read(&text[..end]).unwrap())
                    .expect("it ends");
                assert_eq!(read, length, "in pieces of {step}");
                assert!(matches!(
                    received,
                    ReceivedHead::Final(FinalHead::Answer(_))
                ));
            }
        }
    }

    #[test]
    fn what_comes_before_a_body_is_bounded() {
        let mut head_reader = HeadReader::new(false, HEAD_BYTES_MAX, &NoHeaders);
        let endless = [b"HTTP/1.1 200 ".as_slice(), &[b'x'; 2_000]].concat();
        assert!(head_reader.read(&endless[..1_999]).unwrap().is_none());
        let refused = head_reader.read(&endless[..2_000]);
        assert!(matches!(refused, Err(HeadReaderError::HeadTooLarge(2_000))));

        let mut head_reader = HeadReader::new(false, HEAD_BYTES_MAX, &NoHeaders);
        head_reader.take_in(4_000 + READ_BYTES_MAX).unwrap();
        let refused = head_reader.take_in(1);
        assert!(matches!(refused, Err(HeadReaderError::NoAnswer(_))));

        let whole = [b"HTTP/1.1 200 ".as_slice(), &[b'x'; 2_000], b"\r\n\r\n"].concat();
        let refused = HeadReader::new(false, HEAD_BYTES_MAX, &NoHeaders).read(&whole);
        assert!(matches!(refused, Err(HeadReaderError::HeadTooLarge(2_000))));
    }
}
