//! The world of a simulated state machine, and the laws that the state machine keeps.

use alloc::{format, string::String};

use crate::{Machine, OpId, SplitMix64, Stepper};

/// The world that effects change. It is called in a driver's order: one effect at a time.
pub trait World<M: Machine> {
    /// Begins `effect`.
    fn begin(&mut self, op: OpId, effect: &M::Effect, rng: &mut SplitMix64);
    /// Ends `effect`: with success if `well` is true, otherwise with a failure. Returns `None` for an effect
    /// whose outcome comes by another way.
    fn end(
        &mut self,
        op: OpId,
        effect: &M::Effect,
        well: bool,
        rng: &mut SplitMix64,
    ) -> Option<M::Event>;
    /// Abandons `effect`, which was cancelled or whose host crashed: it goes no further, and its outcome is
    /// lost.
    fn abandon(&mut self, op: OpId, effect: &M::Effect);
}

/// The faults of a simulation, in percent of the effects unless another unit is named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The longest time that an effect takes, milliseconds.
    pub max_delay_ms: u64,
    /// The share of effects that end with a failure, percent.
    pub fail: u8,
    /// The share of effects that never end by themselves, percent.
    pub hang: u8,
    /// The share of outcomes that come twice, percent.
    pub duplicate: u8,
    /// The share of cancelled effects whose outcome comes all the same, percent.
    pub late: u8,
}

/// A law that did not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("after record {seq}: {law}")]
pub struct BrokenLaw {
    /// The number of the last record taken in.
    pub seq: u64,
    /// The law, and what was seen instead.
    pub law: String,
}

/// Checks the laws of one state machine, between two steps.
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
