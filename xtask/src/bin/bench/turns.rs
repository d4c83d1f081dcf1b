//! Turn by turn: what is compared is measured in the same run, so that a noisy moment hits all.

use anyhow::Result;

/// Runs of each measurement.
pub(crate) const RUNS: usize = 7;
/// Runs of a measurement that takes seconds.
pub(crate) const FEW_RUNS: usize = 5;

/// One measurement: takes a run and returns its figures.
pub(crate) type Side<'a, const FIGURES: usize> = &'a dyn Fn() -> Result<[f64; FIGURES]>;

/// Takes `runs` runs of each side in turn, and returns the medians of their figures.
///
/// # Errors
/// The first error of a side.
pub(crate) fn turn_by_turn<const SIDES: usize, const FIGURES: usize>(
    runs: usize,
    sides: [Side<'_, FIGURES>; SIDES],
) -> Result<[[f64; FIGURES]; SIDES]> {
    let mut taken = vec![[[0.0; FIGURES]; SIDES]; runs];
    for run in &mut taken {
        for (figures, side) in run.iter_mut().zip(sides) {
            *figures = side()?;
        }
    }
    Ok(std::array::from_fn(|side| {
        std::array::from_fn(|figure| median(taken.iter().map(|run| run[side][figure]).collect()))
    }))
}

/// The middle one.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn sides_take_turns_and_each_figure_has_its_own_median() {
        let turn = Cell::new(0.0);
        let side = || {
            turn.set(turn.get() + 1.0);
            Ok([turn.get(), -turn.get()])
        };
        let medians = turn_by_turn(3, [&side, &side]).unwrap();
        assert_eq!(medians, [[3.0, -3.0], [4.0, -4.0]]);
    }
}
