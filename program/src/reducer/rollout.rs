//! The part of a program that is about its revisions: which one is wanted, planned, and gone back to.

use alloc::sync::Arc;

use hersh_machine::StepContext;

use super::facts::{Facts, refuse};
use crate::{
    AfterStop, Cause, Effect, ImageId, Readiness, Refusal, RestartPolicy, RevisionNote,
    RevisionNumber, Revisions, RolloutOutcome, Rules, Source, StartKind, State, recovery,
    recovery::Fault,
};

impl Facts<'_> {
    /// Stores a new revision. A new source tree forgets the image of the old one.
    pub(super) fn replace(&mut self, source: Source, note: RevisionNote, now_ms: u64) {
        if let Some(revisions) = &mut self.0.revisions {
            revisions.add(source, note, now_ms);
            return self.show_wanted();
        }
        if self.0.source.build != source.build {
            self.0.image = None;
        }
        self.0.source = source;
    }

    /// Returns the revision that the next command starts.
    pub(super) fn wanted(&self) -> Option<RevisionNumber> {
        Some(self.0.revisions.as_ref()?.wanted())
    }

    /// Chooses a revision for the next start that somebody asks for. Returns false, after a refusal, if it is not
    /// kept.
    pub(super) fn want(&mut self, revision: RevisionNumber, cx: &mut StepContext<Effect>) -> bool {
        let revisions = self.0.revisions.as_mut();
        let is_kept = revisions.is_some_and(|revisions| revisions.want(revision));
        match is_kept {
            true => self.show_wanted(),
            false => refuse(Refusal::NoSuchRevision { revision }, cx),
        }
        is_kept
    }

    /// Returns the wanted revision, if it is another one than that of the newest start.
    pub(super) fn other_revision(&self) -> Option<RevisionNumber> {
        let revisions = self.0.revisions.as_ref()?;
        let wanted = revisions.wanted();
        (wanted != revisions.plan().revision).then_some(wanted)
    }

    /// Returns the source of a revision that is kept.
    pub(super) fn source_of(&self, revision: RevisionNumber) -> Option<Source> {
        let revisions = self.0.revisions.as_ref()?;
        Some(revisions.get(revision)?.source.clone())
    }

    /// Plans to start a revision in place of the one that runs, which is the one to go back to. Plans nothing
    /// if the revision is not kept any more, because many newer ones came meanwhile.
    pub(super) fn plan_rollout(&mut self, revision: RevisionNumber, now_ms: u64) {
        let Some(revisions) = &mut self.0.revisions else {
            return;
        };
        if revisions.get(revision).is_none() {
            return;
        }
        revisions.end_planned(RolloutOutcome::Superseded { by: revision }, now_ms);
        revisions.plan_start(revision, true);
    }

    /// Plans the start of the wanted revision, because a person asked for a start. `up` says whether the
    /// program was up or on its way up.
    pub(super) fn plan_wanted(&mut self, up: bool, now_ms: u64) {
        let Some(revisions) = &mut self.0.revisions else {
            return;
        };
        let by = revisions.wanted();
        if by != revisions.plan().revision {
            revisions.end_planned(RolloutOutcome::Superseded { by }, now_ms);
        }
        revisions.plan_start(by, up);
    }

    /// Notes that the planned revision has settled: its instance was up for long enough.
    pub(super) fn settle(&mut self, now_ms: u64) {
        if let Some(revisions) = &mut self.0.revisions {
            revisions.settle(now_ms);
        }
    }

    /// Notes that the planned revision did all it had to, if it is a job: one without a readiness probe.
    pub(super) fn finish_job(&mut self, now_ms: u64) {
        match self.start_manifest().readiness {
            Readiness::None { .. } => self.settle(now_ms),
            Readiness::Http { .. } | Readiness::Tcp { .. } => {}
        }
    }

    /// Returns whether the planned revision has settled before.
    pub(super) fn has_run_well(&self) -> bool {
        let revisions = self.0.revisions.as_ref();
        let planned = revisions.and_then(|it| it.get(it.plan().revision));
        planned.is_some_and(|planned| planned.is_good)
    }

    /// Returns whether a failure of the planned start leads back to another revision.
    pub(super) fn has_fallback(&self) -> bool {
        let revisions = self.0.revisions.as_ref();
        revisions.is_some_and(|it| matches!(it.plan().kind, StartKind::Rollout { .. }))
    }

    /// Notes how the rollout of a revision ended that was built beside the instance that is up. After a
    /// failure, the revision that runs is wanted again.
    pub(super) fn end_rollout(
        &mut self,
        revision: RevisionNumber,
        outcome: RolloutOutcome,
        now_ms: u64,
    ) {
        let Some(revisions) = &mut self.0.revisions else {
            return;
        };
        if let RolloutOutcome::Failed { .. } = outcome {
            revisions.want_planned(revision);
        }
        revisions.end_rollout(revision, outcome, now_ms);
        self.show_wanted();
    }

    /// Returns the source of the wanted revision.
    pub(super) fn wanted_source(&self) -> Option<Source> {
        self.source_of(self.wanted()?)
    }

    /// Notes how a rollout ended, and leaves what is wanted alone.
    pub(super) fn note_end(
        &mut self,
        revision: RevisionNumber,
        outcome: RolloutOutcome,
        now_ms: u64,
    ) {
        if let Some(revisions) = &mut self.0.revisions {
            revisions.end_rollout(revision, outcome, now_ms);
        }
    }

    /// Notes that the wanted revision takes the place of a rollout beside the instance that is up.
    pub(super) fn supersede(&mut self, revision: RevisionNumber, now_ms: u64) {
        if let Some(by) = self.wanted() {
            self.end_rollout(revision, RolloutOutcome::Superseded { by }, now_ms);
        }
    }

    /// Notes that somebody stopped the program before the planned revision had settled.
    pub(super) fn stop_rollout(&mut self, now_ms: u64) {
        if let Some(revisions) = &mut self.0.revisions {
            revisions.stop_planned(now_ms);
        }
    }

    /// Returns what follows the stop after a failed start, or after the end of an instance that had not
    /// settled. The failure of a rollout leads back to its fallback, unless it is tried again because the cause
    /// lies outside of the program: the fallback would fail as well then.
    pub(super) fn after_failure(&mut self, cause: Arc<Cause>, now_ms: u64) -> AfterStop {
        let policy = self.policy();
        let is_outside = recovery::fault(policy, &cause) == Fault::Outside;
        let is_retried = is_outside && policy != RestartPolicy::Never;
        match !is_retried && self.fall_back(&cause, now_ms) {
            true => AfterStop::Start,
            false => AfterStop::Fail { cause },
        }
    }

    /// Plans to start the fallback of the planned rollout. Returns false if there is none.
    pub(super) fn fall_back(&mut self, cause: &Arc<Cause>, now_ms: u64) -> bool {
        let revisions = self.0.revisions.as_mut();
        let falls_back = revisions.is_some_and(|revisions| revisions.plan_fallback(cause, now_ms));
        if falls_back {
            self.show_wanted();
            self.count_restart(now_ms);
        }
        falls_back
    }

    /// Keeps a new image of `source` for every revision that has this source tree.
    pub(super) fn keep_image(&mut self, source: &Source, image: &ImageId) {
        if let Some(revisions) = &mut self.0.revisions {
            revisions.set_image(&source.build, Some(image));
        }
        if self.0.source.build == source.build {
            self.0.image = Some(image.clone());
        }
    }

    /// Forgets the image of the planned start, so that this start begins with a build.
    pub(super) fn forget_image(&mut self) {
        let (source, _image) = self.planned();
        if let Some(revisions) = &mut self.0.revisions {
            revisions.set_image(&source.build, None);
        }
        if self.0.source.build == source.build {
            self.0.image = None;
        }
    }

    /// Returns the source of the planned start, with its image if it was built.
    pub(super) fn planned(&self) -> (Source, Option<ImageId>) {
        let revisions = self.0.revisions.as_ref();
        let planned = revisions.and_then(|revisions| revisions.get(revisions.plan().revision));
        planned.map_or_else(
            || (self.0.source.clone(), self.0.image.clone()),
            |planned| (planned.source.clone(), planned.image.clone()),
        )
    }

    /// Changes to newer rules, from this event on. What the program has becomes its first revisions.
    pub(super) fn follow_rules(&mut self, rules: Rules, state: &State, now_ms: u64) {
        self.0.rules = self.0.rules.max(rules);
        match self.0.rules {
            Rules::First => {}
            Rules::Second if self.0.revisions.is_some() => {}
            Rules::Second => self.make_revisions(state, now_ms),
        }
    }

    fn make_revisions(&mut self, state: &State, now_ms: u64) {
        let newest = self.0.source.clone();
        let started = match state {
            State::Building(building) => Some(building.source.clone()),
            State::Starting(_) | State::Ready(_) => self.started(),
            State::Created
            | State::Stopping(_)
            | State::Stopped(_)
            | State::Error(_)
            | State::Removed => None,
        };
        // An image that is not known to be of this source would be started in its place.
        let image = match &started {
            Some(_) => state.image().or(self.0.image.as_ref()),
            None => self.0.image.as_ref(),
        };
        let image = image.cloned();
        let first = started.unwrap_or_else(|| newest.clone());
        let mut revisions = Revisions::new(first.clone(), RevisionNote::default(), now_ms);
        revisions.set_image(&first.build, image.as_ref());
        let is_settled =
            |since_ms: u64| now_ms.saturating_sub(since_ms) >= recovery::SETTLED_RUN_MS;
        if state
            .ready()
            .is_some_and(|ready| is_settled(ready.since_ms))
        {
            revisions.settle(now_ms);
        }
        if first != newest {
            revisions.add(newest.clone(), RevisionNote::default(), now_ms);
            if first.build != newest.build {
                revisions.set_image(&newest.build, self.0.image.as_ref());
            }
        }
        self.0.revisions = Some(revisions);
        self.show_wanted();
    }

    /// Returns the source that the newest start was begun with, if the journal tells it.
    fn started(&self) -> Option<Source> {
        Some(Source {
            build: self.0.instance_build.clone()?,
            manifest: self.0.instance_manifest.clone()?,
        })
    }

    /// Shows the wanted revision as the program's source and image.
    fn show_wanted(&mut self) {
        let revisions = self.0.revisions.as_ref();
        let wanted = revisions.and_then(|revisions| revisions.get(revisions.wanted()));
        let Some(wanted) = wanted.cloned() else {
            return;
        };
        self.0.source = wanted.source;
        self.0.image = wanted.image;
    }
}
