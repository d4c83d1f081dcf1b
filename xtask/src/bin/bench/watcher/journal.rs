//! What recording every run costs.

use anyhow::Result;

use super::{SUITE, builder, messages};
use crate::{
    row::{Goal, Row},
    turns::{RUNS, turn_by_turn},
};

const GOAL_RATIO: f64 = 1.5;

/// Measures all.
pub(crate) fn rows() -> Result<Vec<Row>> {
    let sides = turn_by_turn(RUNS, [&with_journal, &|| messages::through(builder(), 0)])?;
    let [[on], [off]] = sides;
    let cost = |per_second: f64| 1e9 / per_second;
    Ok(vec![Row::new(
        SUITE,
        "a message's cost, with journal",
        (cost(on), "ns"),
        ("without journal", cost(off)),
        Goal::RatioAtMost(GOAL_RATIO),
    )])
}

fn with_journal() -> Result<[f64; 1]> {
    let folder = tempfile::tempdir()?;
    messages::through(builder().journal_dir(folder.path()), 0)
}
