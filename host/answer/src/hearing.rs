//! Hearing out what a program says before a body, however it falls into pieces, within bounds.

use super::{
    head::{self, HeadError, Spoken},
    policy::Policy,
};

/// Bytes that may come beyond two heads before an answer's head is read: what is read at once may
/// hold much of a body.
const READ_BYTES_MAX: usize = 64 * 1024;

/// What was heard in answer to one request.
#[derive(Debug)]
pub struct Hearing<'a, P> {
    is_head: bool,
    /// Bytes of one head. Interim answers (1xx) may have as many together.
    head_bytes_max: usize,
    policy: &'a P,
    /// Bytes that came.
    came: usize,
    /// Bytes of the present head in which it does not end.
    searched: usize,
}

/// What was heard can't become an answer.
#[derive(Debug, thiserror::Error)]
pub enum HearingError {
    /// The head itself.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// Its length.
    #[error(
        "the head of its answer is larger than {0} bytes; head under [proxy] in hersh.toml allows more"
    )]
    HeadTooLarge(usize),
    /// All that came before a body.
    #[error("it sent more than {0} bytes before a body")]
    NoAnswer(usize),
}

impl<'a, P: Policy> Hearing<'a, P> {
    /// Before anything came in answer to a request; `is_head` tells that it was by HEAD, and
    /// `policy` which headers the client may see.
    pub fn new(is_head: bool, head_bytes_max: usize, policy: &'a P) -> Self {
        Self {
            is_head,
            head_bytes_max,
            policy,
            came: 0,
            searched: 0,
        }
    }

    /// True while no byte came.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.came == 0
    }

    /// Counts what comes.
    ///
    /// # Errors
    /// [`HearingError::NoAnswer`].
    pub fn take_in(&mut self, bytes: usize) -> Result<(), HearingError> {
        self.came += bytes;
        let bytes_max = self.head_bytes_max.saturating_mul(2) + READ_BYTES_MAX;
        if self.came > bytes_max {
            return Err(HearingError::NoAnswer(bytes_max));
        }
        Ok(())
    }

    /// Reads the head that `came` begins with and says how long it is, once all of it is there.
    /// The next call is about what stands behind it.
    ///
    /// # Errors
    /// [`HearingError`].
    pub fn read(&mut self, came: &[u8]) -> Result<Option<(usize, Spoken)>, HearingError> {
        // A head that comes in many pieces is not read anew for each.
        let is_new = self.searched == 0 && !came.is_empty();
        if (is_new || ends_a_head(&came[self.searched.saturating_sub(2)..]))
            && let Some((length, spoken)) = head::read(came, self.is_head, self.policy)?
        {
            if length > self.head_bytes_max {
                return Err(HearingError::HeadTooLarge(self.head_bytes_max));
            }
            self.searched = 0;
            return Ok(Some((length, spoken)));
        }
        self.searched = came.len();
        if came.len() >= self.head_bytes_max {
            return Err(HearingError::HeadTooLarge(self.head_bytes_max));
        }
        Ok(None)
    }
}

/// Whether an empty line ends in `bytes`, or may.
fn ends_a_head(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|&byte| byte == b'\n');
    // What stands behind the last line's end is no line yet.
    let _ = lines.next_back();
    lines.any(|line| matches!(line, b"" | b"\r"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{head::Said, policy::Nothing};

    const HEAD_BYTES_MAX: usize = 2_000;

    #[test]
    fn a_head_is_heard_wherever_it_is_cut() {
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
                let mut hearing = Hearing::new(false, HEAD_BYTES_MAX, &Nothing);
                let mut ends = (0..text.len()).step_by(step).chain([text.len()]);
                let (heard, spoken) = ends
                    .find_map(|end| hearing.read(&text[..end]).unwrap())
                    .expect("it ends");
                assert_eq!(heard, length, "in pieces of {step}");
                assert!(matches!(spoken, Spoken::Final(Said::Answer(_))));
            }
        }
    }

    #[test]
    fn what_comes_before_a_body_is_bounded() {
        let mut hearing = Hearing::new(false, HEAD_BYTES_MAX, &Nothing);
        let endless = [b"HTTP/1.1 200 ".as_slice(), &[b'x'; 2_000]].concat();
        assert!(hearing.read(&endless[..1_999]).unwrap().is_none());
        let refused = hearing.read(&endless[..2_000]);
        assert!(matches!(refused, Err(HearingError::HeadTooLarge(2_000))));

        let mut hearing = Hearing::new(false, HEAD_BYTES_MAX, &Nothing);
        hearing.take_in(4_000 + READ_BYTES_MAX).unwrap();
        let refused = hearing.take_in(1);
        assert!(matches!(refused, Err(HearingError::NoAnswer(_))));

        let whole = [b"HTTP/1.1 200 ".as_slice(), &[b'x'; 2_000], b"\r\n\r\n"].concat();
        let refused = Hearing::new(false, HEAD_BYTES_MAX, &Nothing).read(&whole);
        assert!(matches!(refused, Err(HearingError::HeadTooLarge(2_000))));
    }
}
