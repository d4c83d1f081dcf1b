//! Instances that are up and do not answer their liveness probe.

use std::collections::BTreeMap;

use hersh_program::ContainerId;

/// How long an instance does not answer its liveness probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// For so many probes from now on.
    Probes(u32),
    /// Until the instance ends.
    ForGood,
}

/// Who answers liveness probes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ProbedAt {
    /// Whoever listens where the instance is reached.
    #[default]
    Endpoint,
    /// The engine, for its instances.
    Engine,
}

/// The liveness probes that instances did not answer, by container. What was seen of an instance outlives it.
#[derive(Default)]
pub(super) struct Silences(BTreeMap<ContainerId, SilentInstance>);

#[derive(Default)]
struct SilentInstance {
    silence: Option<Silence>,
    missed_in_a_row: u32,
    missed_in_a_row_max: u32,
}

impl Silences {
    /// From now on the instance does not answer.
    pub(super) fn begin(&mut self, container: &ContainerId, silence: Silence) {
        self.0.entry(container.clone()).or_default().silence = Some(silence);
    }

    /// Returns how long the instance will go on not to answer; `None` if it answers.
    pub(super) fn of(&self, container: &ContainerId) -> Option<Silence> {
        self.0.get(container)?.silence
    }

    /// Returns the most probes in a row that the instance did not answer.
    pub(super) fn missed_in_a_row_max(&self, container: &ContainerId) -> u32 {
        let seen = self.0.get(container);
        seen.map_or(0, |seen| seen.missed_in_a_row_max)
    }

    /// Probes the instance once. Returns whether it answers.
    pub(super) fn probe(&mut self, container: &ContainerId) -> bool {
        let Some(seen) = self.0.get_mut(container) else {
            return true;
        };
        seen.silence = match seen.silence {
            None | Some(Silence::Probes(0)) => {
                seen.silence = None;
                seen.missed_in_a_row = 0;
                return true;
            }
            Some(Silence::Probes(left)) => (left > 1).then_some(Silence::Probes(left - 1)),
            Some(Silence::ForGood) => Some(Silence::ForGood),
        };
        seen.missed_in_a_row += 1;
        seen.missed_in_a_row_max = seen.missed_in_a_row_max.max(seen.missed_in_a_row);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns whether each of three probes of an instance is answered that is silent for so long.
    fn three_probes(silence: Option<Silence>) -> ([bool; 3], u32) {
        let container = ContainerId::parse("0123456789ab").unwrap();
        let mut silences = Silences::default();
        if let Some(silence) = silence {
            silences.begin(&container, silence);
        }
        let answers = [(); 3].map(|()| silences.probe(&container));
        (answers, silences.missed_in_a_row_max(&container))
    }

    #[test]
    fn an_instance_is_silent_for_as_many_probes_as_asked() {
        for (silence, answers, missed) in [
            (None, [true; 3], 0),
            (Some(Silence::Probes(0)), [true; 3], 0),
            (Some(Silence::Probes(2)), [false, false, true], 2),
            (Some(Silence::ForGood), [false; 3], 3),
        ] {
            assert_eq!(three_probes(silence), (answers, missed), "{silence:?}");
        }
    }

    #[test]
    fn only_probes_in_a_row_are_counted_together() {
        let container = ContainerId::parse("0123456789ab").unwrap();
        let mut silences = Silences::default();
        for _ in 0..2 {
            silences.begin(&container, Silence::Probes(2));
            let answers = [(); 3].map(|()| silences.probe(&container));
            assert_eq!(answers, [false, false, true]);
            assert_eq!(silences.of(&container), None);
        }
        assert_eq!(silences.missed_in_a_row_max(&container), 2);
    }
}
