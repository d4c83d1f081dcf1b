//! Gives the same bytes to this reader and to the client of hyper, which is in wide use.
//!
//! If hyper accepts an answer and this reader refuses it, that is of no account: a client gets an error
//! then. Any other difference could be a way past one of the two, so there is none but those of [`KnownDifference`].

mod hyper;
mod known;
mod ours;
#[cfg(test)]
mod tests;

use self::{hyper::read_by_hyper, ours::read_by_us};
pub use self::{
    known::KnownDifference,
    ours::{End, ReadHead, Reading},
};

/// A difference between what this reader and hyper made of the same bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The kind of the difference.
    pub kind: Kind,
    /// What this reader made of the bytes.
    pub ours: Reading,
    /// What hyper made of the bytes.
    pub hyper: Reading,
}

/// In what two readings differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Hyper refuses the head, or reads another.
    Head,
    /// Some of this reader's body is no body for hyper.
    Body,
    /// The answer ends in another way for one of them, or elsewhere.
    End,
}

/// Checks that whatever this reader accepts of `answer`, read in pieces of `step` bytes, hyper accepts as
/// well and alike. `is_head` tells that the answer is to a HEAD. Returns the reason if there is a
/// difference for a known one; `None` if there is no difference.
///
/// # Errors
/// [`Difference`], if there is one for no known reason.
pub fn compare(
    answer: &[u8],
    step: usize,
    is_head: bool,
) -> Result<Option<KnownDifference>, Box<Difference>> {
    let ours = read_by_us(answer, step, is_head);
    let hyper = read_by_hyper(answer, step, is_head);
    let Some(kind) = difference(&ours, &hyper) else {
        return Ok(None);
    };
    let difference = Box::new(Difference { kind, ours, hyper });
    KnownDifference::of(&difference, answer).map_or(Err(difference), |known| Ok(Some(known)))
}

fn difference(ours: &Reading, hyper: &Reading) -> Option<Kind> {
    let head = ours.head.as_ref()?;
    let is_same_end = match (&ours.end, &hyper.end) {
        // If this reader broke off, only what it read before has to be alike.
        (End::Broken, _) | (End::Close, End::Close) => true,
        (
            End::Framed { rest, is_free },
            End::Framed {
                rest: others,
                is_free: is_others,
            },
        ) => rest == others && (*is_others || !is_free),
        (End::Framed { .. } | End::Close, _) => false,
    };
    let is_broken = ours.end == End::Broken;
    let is_same_body = ours.body == hyper.body || is_broken && hyper.body.starts_with(&ours.body);
    if hyper.head.as_ref() != Some(head) {
        Some(Kind::Head)
    } else if !is_same_body {
        Some(Kind::Body)
    } else {
        (!is_same_end).then_some(Kind::End)
    }
}
