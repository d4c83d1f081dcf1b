//! Estimates how much processor time a Dockerfile costs the engine's own process, beside running its steps.
//!
//! The engine notices a cancelled build only between two instructions. Its classic builder reads every word
//! letter by letter, and copies the text that it has at each letter. Measured with Docker 20.10 on a slow
//! machine, one core:
//!
//! | what | processor time |
//! |---|---|
//! | a word of 16,000 bytes, of 32,000, of 59,000 | 0.2 s, 0.7 s, 2.4 s: the square of its length |
//! | a line of 1,000 words behind 1,000 variables | 0.5 s: each word goes through all of them |
//! | 10 instructions behind 1,000 variables or labels | 0.4 s: each image is written with all of them |
//! | 100 instructions behind one of 59,000 bytes | 1.3 s: each image holds the text of all before it |
//!
//! An instruction itself costs 20 ms, which is not counted here.

use super::Base;

/// The cost for each letter of a word and each letter before it, tenths of nanoseconds.
const LETTER_NS_TENTHS: u64 = 7;
/// The cost for each word and each variable or label, nanoseconds.
const LOOK_NS: u64 = 250;
/// The cost for each instruction and each variable or label, nanoseconds.
const PART_NS: u64 = 40_000;
/// The cost for each instruction and each byte of the instructions before it, nanoseconds.
const BYTE_NS: u64 = 100;
/// How often an image holds the text of an instruction: in its configuration and in its history.
const NOTED: usize = 2;

/// The most that one instruction may cost: one second. Nothing can end an instruction that is under way.
const INSTRUCTION_NS_MAX: u64 = 1_000_000_000;
/// The most that all instructions of a file may cost: ten seconds.
const FILE_NS_MAX: u64 = 10_000_000_000;

/// The properties of an instruction on which its cost depends.
pub(super) struct Instruction {
    /// The greatest length of each word in which the engine looks for variables, bytes.
    pub(super) expanded: Vec<usize>,
    /// How much the image notes of the instruction, bytes.
    pub(super) noted_bytes: usize,
    /// Whether each word of the instruction is a variable or a label.
    pub(super) adds_parts: bool,
}

/// Why a file costs too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EffortError {
    #[error(
        "the engine would be busy with this line alone for more than a second: write shorter values, or \
         fewer of them on a line; what is long belongs into a file"
    )]
    Instruction,
    #[error(
        "up to here the engine would be busy with the text of the file for more than ten seconds: write \
         fewer or shorter ENV, ARG and LABEL lines; what is long belongs into a file"
    )]
    File,
}

/// The cost of the instructions so far, and the data that the following ones carry along. Stages are not
/// told apart, so each sum is at least as large as the true one.
#[derive(Default)]
pub(super) struct Effort {
    spent_ns: u64,
    parts: usize,
    noted_bytes: usize,
}

impl Effort {
    /// Adds the variables, labels and history of an image that is built on.
    pub(super) fn build_on(&mut self, base: &Base) {
        let variables = base.variables.values();
        let bytes = variables.fold(base.other_bytes, |sum, length| sum.saturating_add(*length));
        self.parts = self
            .parts
            .saturating_add(base.variables.len() + base.labels);
        self.noted_bytes = self.noted_bytes.saturating_add(bytes);
    }

    /// Adds the next instruction.
    ///
    /// # Errors
    /// [`EffortError`] when this instruction, or all so far together, cost too much.
    pub(super) fn take(&mut self, instruction: &Instruction) -> Result<(), EffortError> {
        let count = instruction.expanded.len();
        if instruction.adds_parts {
            self.parts = self.parts.saturating_add(count);
        }
        let noted_bytes = instruction.noted_bytes.saturating_mul(NOTED);
        self.noted_bytes = self.noted_bytes.saturating_add(noted_bytes);
        let letters = instruction.expanded.iter().fold(0_u64, |sum, length| {
            sum.saturating_add(whole(*length).saturating_mul(whole(*length)))
        });
        let parts = whole(self.parts);
        let cost_ns = [
            letters.saturating_mul(LETTER_NS_TENTHS) / 10,
            whole(count).saturating_mul(parts).saturating_mul(LOOK_NS),
            parts.saturating_mul(PART_NS),
            whole(self.noted_bytes).saturating_mul(BYTE_NS),
        ];
        let cost_ns = cost_ns.into_iter().fold(0_u64, u64::saturating_add);
        self.spent_ns = self.spent_ns.saturating_add(cost_ns);
        if cost_ns > INSTRUCTION_NS_MAX {
            return Err(EffortError::Instruction);
        }
        if self.spent_ns > FILE_NS_MAX {
            return Err(EffortError::File);
        }
        Ok(())
    }
}

fn whole(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
