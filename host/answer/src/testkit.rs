//! The same bytes given to this reader and to the client of hyper, which a great many read with.
//!
//! What hyper takes and this reader refuses is of no account: a client gets an error then. Any other
//! difference could be a way past one of the two, so there is none but those of [`Known`].

mod hyper;
mod known;
mod ours;
#[cfg(test)]
mod tests;

use self::{hyper::read_by_hyper, ours::read_by_us};
pub use self::{
    known::Known,
    ours::{End, HeardHead, Reading},
};

/// What this reader does that hyper does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// In what they differ.
    pub kind: Kind,
    /// What this reader made of the bytes.
    pub ours: Reading,
    /// What hyper did.
    pub hyper: Reading,
}

/// In what two readings differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Hyper refuses the head, or has another.
    Head,
    /// Some of the body is none for hyper.
    Body,
    /// The answer ends for one of them in another way, or elsewhere.
    End,
}

/// Whether this reader takes nothing of `answer`, read in pieces of `step` bytes, that hyper does not
/// take as well and alike; `is_head` tells that it answers a HEAD. If it does for a known reason, that.
///
/// # Errors
/// [`Difference`], if it does for none.
pub fn compare(
    answer: &[u8],
    step: usize,
    is_head: bool,
) -> Result<Option<Known>, Box<Difference>> {
    let ours = read_by_us(answer, step, is_head);
    let hyper = read_by_hyper(answer, step, is_head);
    let Some(kind) = difference(&ours, &hyper) else {
        return Ok(None);
    };
    let difference = Box::new(Difference { kind, ours, hyper });
    Known::of(&difference, answer).map_or(Err(difference), |known| Ok(Some(known)))
}

fn difference(ours: &Reading, hyper: &Reading) -> Option<Kind> {
    let head = ours.head.as_ref()?;
    let is_same_end = match (&ours.end, &hyper.end) {
        // What came before was taken alike.
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
