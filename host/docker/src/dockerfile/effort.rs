//! What a file costs the engine's own process, beyond running its steps.
//!
//! The engine looks up between two instructions only, and its classic builder reads every word letter by
//! letter, each time with a copy of what it has. Measured with Docker 20.10 on a slow machine, one core:
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

/// For each letter of a word, for each letter before it: nanoseconds and parts of ten.
const LETTER_NS_TENTHS: u64 = 7;
/// For each word, for each variable or label.
const LOOK_NS: u64 = 250;
/// For each instruction, for each variable or label.
const PART_NS: u64 = 40_000;
/// For each instruction, for each byte of those before it.
const BYTE_NS: u64 = 100;
/// What an instruction says stands in the image's configuration and in its history.
const NOTED: usize = 2;

/// The most that one instruction may cost, which nothing ends: one second.
const INSTRUCTION_NS_MAX: u64 = 1_000_000_000;
/// The most that all instructions of a file may cost: ten seconds.
const FILE_NS_MAX: u64 = 10_000_000_000;

/// An instruction as far as it costs.
pub(super) struct Instruction {
    /// The greatest lengths of its words in which variables are looked for, bytes.
    pub(super) expanded: Vec<usize>,
    /// What the image notes of it, bytes.
    pub(super) noted_bytes: usize,
    /// Whether each of its words is a variable or a label.
    pub(super) adds_parts: bool,
}

/// Why a file costs too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TooMuch {
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

/// What the instructions so far cost, and what those that follow carry along. Stages are not told apart,
/// so that is at least what they do.
#[derive(Default)]
pub(super) struct Effort {
    spent_ns: u64,
    parts: usize,
    noted_bytes: usize,
}

impl Effort {
    /// Takes in what an image says of itself that is built on.
    pub(super) fn build_on(&mut self, base: &Base) {
        let variables = base.variables.values();
        let bytes = variables.fold(base.other_bytes, |sum, length| sum.saturating_add(*length));
        self.parts = self
            .parts
            .saturating_add(base.variables.len() + base.labels);
        self.noted_bytes = self.noted_bytes.saturating_add(bytes);
    }

    /// Takes the next instruction in.
    ///
    /// # Errors
    /// [`TooMuch`].
    pub(super) fn take(&mut self, instruction: &Instruction) -> Result<(), TooMuch> {
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
            return Err(TooMuch::Instruction);
        }
        if self.spent_ns > FILE_NS_MAX {
            return Err(TooMuch::File);
        }
        Ok(())
    }
}

fn whole(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
