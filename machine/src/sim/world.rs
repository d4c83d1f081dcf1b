//! What a simulated machine meets, and the laws it keeps.

use alloc::{format, string::String};

use crate::{Machine, OpId, SplitMix64, Stepper};

/// What effects do to the world. Called in the order of a driver: one effect at a time.
pub trait World<M: Machine> {
    /// `effect` begins.
    fn begin(&mut self, op: OpId, effect: &M::Effect, rng: &mut SplitMix64);
    /// It ends, well or not. `None` for an effect whose outcome comes by another way.
    fn end(
        &mut self,
        op: OpId,
        effect: &M::Effect,
        well: bool,
        rng: &mut SplitMix64,
    ) -> Option<M::Event>;
    /// It was cancelled, or its host crashed: it goes no further and its outcome is lost.
    fn abandon(&mut self, op: OpId, effect: &M::Effect);
}

/// What goes wrong, in percent of the effects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The longest an effect takes, milliseconds.
    pub max_delay_ms: u64,
    /// Effects that end badly.
    pub fail: u8,
    /// Effects that never end by themselves.
    pub hang: u8,
    /// Outcomes that come twice.
    pub duplicate: u8,
    /// Cancelled effects whose outcome comes all the same.
    pub late: u8,
}

/// A law that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("after record {seq}: {law}")]
pub struct Broken {
    /// The last record taken in.
    pub seq: u64,
    /// What should have held, and what was seen.
    pub law: String,
}

/// The laws of one machine at rest between two steps.
///
/// # Errors
/// The law that does not hold.
pub fn check<M: Machine>(stepper: &Stepper<M>) -> Result<(), String> {
    M::invariants(stepper.state())?;
    match stepper.open().first() {
        Some(open) if M::wake(stepper.state()).is_none() => Err(format!(
            "{} is open and nothing wakes the machine when it hangs",
            open.op
        )),
        Some(open) if M::is_terminal(stepper.state()) => Err(format!(
            "{} is open at the end of the machine's life",
            open.op
        )),
        Some(_) | None => Ok(()),
    }
}
