//! Hearing out what a program says before a body, however it falls into pieces, within bounds.

use super::head::{self, HeadError, Spoken};

/// Bytes of one head.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Bytes that may come before the end of an answer's head, interim answers (1xx) included.
const BEFORE_BODY_BYTES_MAX: usize = 2 * HEAD_BYTES_MAX;

/// What was heard in answer to one request.
#[derive(Debug)]
pub(super) struct Hearing {
    is_head: bool,
    /// Bytes that came.
    came: usize,
    /// Bytes of the present head in which it does not end.
    searched: usize,
}

/// What was heard can't become an answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum HearingError {
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error("the head of its answer is larger than {HEAD_BYTES_MAX} bytes")]
    HeadTooLarge,
    #[error("it sent more than {BEFORE_BODY_BYTES_MAX} bytes before a body")]
    NoAnswer,
}

impl Hearing {
    /// Before anything came in answer to a request; `is_head` tells that it was by HEAD.
    pub(super) fn new(is_head: bool) -> Self {
        Self {
            is_head,
            came: 0,
            searched: 0,
        }
    }

    /// True while no byte came.
    pub(super) fn is_nothing(&self) -> bool {
        self.came == 0
    }

    /// Counts what comes.
    ///
    /// # Errors
    /// [`HearingError::NoAnswer`].
    pub(super) fn take_in(&mut self, bytes: usize) -> Result<(), HearingError> {
        self.came += bytes;
        if self.came > BEFORE_BODY_BYTES_MAX {
            return Err(HearingError::NoAnswer);
        }
        Ok(())
    }

    /// Reads the head that `came` begins with and says how long it is, once all of it is there.
    /// The next call is about what stands behind it.
    ///
    /// # Errors
    /// [`HearingError`].
    pub(super) fn read(&mut self, came: &[u8]) -> Result<Option<(usize, Spoken)>, HearingError> {
        // A head that comes in many pieces is not read anew for each.
        let is_new = self.searched == 0 && !came.is_empty();
        if is_new || ends_a_head(&came[self.searched.saturating_sub(2)..]) {
            let read = head::read(came, self.is_head)?;
            if read.is_some() {
                self.searched = 0;
                return Ok(read);
            }
        }
        self.searched = came.len();
        if came.len() >= HEAD_BYTES_MAX {
            return Err(HearingError::HeadTooLarge);
        }
        Ok(None)
    }
}

/// What a client would get of an answer whose bytes come in these pieces and then the end of the
/// connection, head and body. `None` if it would not get all of one.
#[cfg(any(test, feature = "testkit"))]
pub(crate) fn hear_out(pieces: &[&[u8]], is_head: bool) -> Option<(super::head::Head, Vec<u8>)> {
    use super::{
        framing::{Framing, Piece},
        head::Said,
    };
    let mut hearing = Hearing::new(is_head);
    let (mut came, mut body) = (bytes::BytesMut::new(), Vec::new());
    let mut head = None;
    for piece in pieces {
        came.extend_from_slice(piece);
        if head.is_none() {
            hearing.take_in(piece.len()).ok()?;
        }
        while head.is_none()
            && let Some((length, spoken)) = hearing.read(&came).ok()?
        {
            let _ = came.split_to(length);
            match spoken {
                Spoken::Interim => {}
                Spoken::Final(Said::Answer(answer)) => head = Some(answer),
                Spoken::Final(Said::Switch(_)) => return None,
            }
        }
        let Some(head) = &mut head else {
            continue;
        };
        while let Piece::Data(data) = head.framing.take(&mut came).ok()? {
            body.extend_from_slice(&data);
        }
    }
    let head = head.filter(|it| it.framing.is_over() || it.framing == Framing::UntilClose)?;
    Some((head, body))
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
    use crate::proxy::head::Said;

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
                let mut hearing = Hearing::new(false);
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
        let mut hearing = Hearing::new(false);
        let endless = [b"HTTP/1.1 200 ".as_slice(), &[b'x'; HEAD_BYTES_MAX]].concat();
        assert!(
            hearing
                .read(&endless[..HEAD_BYTES_MAX - 1])
                .unwrap()
                .is_none()
        );
        let refused = hearing.read(&endless[..HEAD_BYTES_MAX]);
        assert!(matches!(refused, Err(HearingError::HeadTooLarge)));

        let mut hearing = Hearing::new(false);
        hearing.take_in(BEFORE_BODY_BYTES_MAX).unwrap();
        assert!(matches!(hearing.take_in(1), Err(HearingError::NoAnswer)));
    }
}
