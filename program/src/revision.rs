//! Revisions: what was deployed under a program's name, and which of it is started next.
//!
//! ```text
//!          deploy, roll-back command            every start
//!  wanted ───────────────────────────► plan ───────────────► instance
//!    ▲                                  │ it fails before it settled
//!    └───────── the fallback ◄──────────┘
//! ```

use alloc::{string::String, sync::Arc, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::{BuildId, Cause, ImageId, RevisionNumber, Source, UserId};

/// One source tree with its manifest, as it was deployed. It never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// The revision's number.
    pub number: RevisionNumber,
    /// The source tree and the manifest.
    pub source: Source,
    /// The image of the source, once it was built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageId>,
    /// Whether an instance of it was Ready for [`SETTLED_RUN_MS`](crate::recovery::SETTLED_RUN_MS).
    pub is_good: bool,
    /// The time at which it was deployed, milliseconds since the Unix epoch.
    pub made_at_ms: u64,
    /// Who deployed it, and why.
    #[serde(default)]
    pub note: RevisionNote,
}

/// Who deployed a revision, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionNote {
    /// The user who deployed it. Revisions that older hosts took in have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<UserId>,
    /// What the user wrote about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The start that is under way, or was made last. Automatic starts repeat it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStart {
    /// The revision that is started.
    pub revision: RevisionNumber,
    /// What a failure of the start leads to.
    pub kind: StartKind,
}

/// What a failure of a start leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StartKind {
    /// A retry by the restart policy.
    Plain,
    /// The revision has not settled yet: the start of `fallback`, which has.
    Rollout {
        /// The revision that ran before.
        fallback: RevisionNumber,
    },
    /// A retry by the restart policy. The revision is here because `from` failed with `cause`.
    RollBack {
        /// The revision that failed.
        from: RevisionNumber,
        /// The reason for its failure.
        cause: Arc<Cause>,
    },
}

/// How the last rollout ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutEnd {
    /// The revision that was rolled out.
    pub revision: RevisionNumber,
    /// The time of the end, milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The outcome.
    pub outcome: RolloutOutcome,
}

/// The outcome of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum RolloutOutcome {
    /// The revision runs and has settled.
    Settled,
    /// The revision did not build, or did not come up beside what runs. What ran was never touched.
    Failed {
        /// The reason for the failure.
        cause: Arc<Cause>,
    },
    /// The revision did not come up, or ended before it had settled. The revision before was started again.
    RolledBack {
        /// The revision that was started again.
        to: RevisionNumber,
        /// The reason for the failure.
        cause: Arc<Cause>,
    },
    /// Somebody started another revision before this one had settled.
    Superseded {
        /// The other revision.
        by: RevisionNumber,
    },
    /// Somebody stopped the program before the revision had settled.
    Stopped,
    /// The revision is built and was not started, as somebody asked.
    Built,
    /// Only a build was asked for, and something else that came up ended it: the program's own end, or an instance
    /// that had to be stopped first.
    Cut,
}

/// The revisions of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revisions {
    /// The revisions that are kept, oldest first.
    kept: Vec<Revision>,
    /// The revision that the next command starts.
    wanted: RevisionNumber,
    plan: PlannedStart,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_rollout: Option<RolloutEnd>,
}

impl Revisions {
    /// The number of newest revisions that are kept. Older ones are kept for as long as something needs them.
    pub const KEPT: usize = 10;

    /// Returns the revisions of a program that was deployed for the first time.
    pub(crate) fn new(source: Source, note: RevisionNote, made_at_ms: u64) -> Self {
        let number = RevisionNumber(1);
        Self {
            kept: Vec::from([Revision {
                number,
                source,
                image: None,
                is_good: false,
                made_at_ms,
                note,
            }]),
            wanted: number,
            plan: PlannedStart {
                revision: number,
                kind: StartKind::Plain,
            },
            last_rollout: None,
        }
    }

    /// Returns the revisions that are kept, oldest first: the newest ones, and those that run, that are
    /// wanted, or that a failed rollout goes back to.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Revision> {
        self.kept.iter()
    }

    /// Returns a revision that is kept.
    #[must_use]
    pub fn get(&self, number: RevisionNumber) -> Option<&Revision> {
        self.kept.iter().find(|it| it.number == number)
    }

    /// Returns the number of the revision that the next command starts.
    #[must_use]
    pub fn wanted(&self) -> RevisionNumber {
        self.wanted
    }

    /// Returns the start that is under way, or was made last.
    #[must_use]
    pub fn plan(&self) -> &PlannedStart {
        &self.plan
    }

    /// Returns how the last rollout ended.
    #[must_use]
    pub fn last_rollout(&self) -> Option<&RolloutEnd> {
        self.last_rollout.as_ref()
    }

    /// Returns the newest good revision other than `but`.
    #[must_use]
    pub fn last_good(&self, but: RevisionNumber) -> Option<&Revision> {
        let mut newest_first = self.kept.iter().rev();
        newest_first.find(|it| it.is_good && it.number != but)
    }

    /// Takes a new revision in, which the next command starts.
    pub(crate) fn add(&mut self, source: Source, note: RevisionNote, made_at_ms: u64) {
        let newest = self.kept.last().map_or(0, |it| it.number.0);
        let number = RevisionNumber(newest + 1);
        let same = self.kept.iter().find(|it| it.source.build == source.build);
        let image = same.and_then(|it| it.image.clone());
        self.kept.push(Revision {
            number,
            source,
            image,
            is_good: false,
            made_at_ms,
            note,
        });
        self.wanted = number;
        self.forget_old();
    }

    /// Chooses a revision that is kept for the next command. Returns false if it is not kept.
    pub(crate) fn want(&mut self, number: RevisionNumber) -> bool {
        let is_kept = self.get(number).is_some();
        if is_kept {
            self.wanted = number;
        }
        is_kept
    }

    /// Plans the start of a revision. If the program was `up` or on its way up, and the start fails before the
    /// revision has settled, what ran before is started again.
    pub(crate) fn plan_start(&mut self, revision: RevisionNumber, up: bool) {
        let is_good = self.get(revision).is_some_and(|it| it.is_good);
        let is_proved = is_good && revision == self.plan.revision;
        let fallback = self.fallback(revision).filter(|_| up && !is_proved);
        let kind = fallback.map_or(StartKind::Plain, |fallback| StartKind::Rollout { fallback });
        self.plan = PlannedStart { revision, kind };
    }

    /// Returns the revision to go back to if `planned` fails: the one that runs, if it is good, else what the
    /// rollout under way would go back to, else the newest good one.
    pub(crate) fn fallback(&self, planned: RevisionNumber) -> Option<RevisionNumber> {
        let running = self.get(self.plan.revision).filter(|it| it.is_good);
        let under_way = match &self.plan.kind {
            StartKind::Rollout { fallback } => self.get(*fallback),
            StartKind::Plain | StartKind::RollBack { .. } => None,
        };
        let candidates = [running, under_way, self.last_good(planned)];
        let mut candidates = candidates.into_iter().flatten().map(|it| it.number);
        candidates.find(|number| *number != planned)
    }

    /// Plans to start the fallback of a rollout that failed, which is wanted from here on. Returns false if
    /// there is none.
    pub(crate) fn plan_fallback(&mut self, cause: &Arc<Cause>, now_ms: u64) -> bool {
        let StartKind::Rollout { fallback } = self.plan.kind else {
            return false;
        };
        let from = self.plan.revision;
        let to = fallback;
        self.end_rollout(
            from,
            RolloutOutcome::RolledBack {
                to,
                cause: Arc::clone(cause),
            },
            now_ms,
        );
        // A revision that was deployed meanwhile stays wanted.
        if self.wanted == from {
            self.wanted = fallback;
        }
        self.plan = PlannedStart {
            revision: fallback,
            kind: StartKind::RollBack {
                from,
                cause: Arc::clone(cause),
            },
        };
        true
    }

    /// Notes that the revision of the plan was Ready for long enough.
    pub(crate) fn settle(&mut self, now_ms: u64) {
        let number = self.plan.revision;
        if let Some(revision) = self.kept.iter_mut().find(|it| it.number == number) {
            revision.is_good = true;
        }
        if let StartKind::Rollout { .. } = self.plan.kind {
            self.end_rollout(number, RolloutOutcome::Settled, now_ms);
        }
        if !matches!(self.plan.kind, StartKind::Plain) {
            self.plan.kind = StartKind::Plain;
            self.forget_old();
        }
    }

    /// Notes how a rollout ended.
    pub(crate) fn end_rollout(
        &mut self,
        revision: RevisionNumber,
        outcome: RolloutOutcome,
        at_ms: u64,
    ) {
        self.last_rollout = Some(RolloutEnd {
            revision,
            at_ms,
            outcome,
        });
    }

    /// Notes how a planned rollout ended that something else takes the place of. Does nothing if none was
    /// planned.
    pub(crate) fn end_planned(&mut self, outcome: RolloutOutcome, at_ms: u64) {
        if let StartKind::Rollout { .. } = self.plan.kind {
            self.end_rollout(self.plan.revision, outcome, at_ms);
        }
    }

    /// Notes that somebody stopped the program. A failure of a later start has nothing to go back to.
    pub(crate) fn stop_planned(&mut self, at_ms: u64) {
        self.end_planned(RolloutOutcome::Stopped, at_ms);
        self.plan.kind = StartKind::Plain;
    }

    /// Wants what the plan names again, after a rollout of another revision came to nothing.
    pub(crate) fn want_planned(&mut self, instead_of: RevisionNumber) {
        if self.wanted == instead_of {
            self.wanted = self.plan.revision;
        }
    }

    /// Keeps the image of a source tree, or forgets it.
    pub(crate) fn set_image(&mut self, build: &BuildId, image: Option<&ImageId>) {
        for revision in &mut self.kept {
            if revision.source.build == *build {
                revision.image = image.cloned();
            }
        }
    }

    /// Forgets the revisions that nothing needs.
    fn forget_old(&mut self) {
        let newest = self.kept.len().saturating_sub(Self::KEPT);
        let first_kept = self.kept.get(newest).map_or(0, |it| it.number.0);
        let (wanted, planned) = (self.wanted, self.plan.revision);
        let fallback = match &self.plan.kind {
            StartKind::Rollout { fallback } => Some(*fallback),
            StartKind::Plain | StartKind::RollBack { .. } => None,
        };
        let last_good = self.last_good(RevisionNumber(0)).map(|it| it.number);
        let needed = [Some(wanted), Some(planned), fallback, last_good];
        self.kept
            .retain(|it| it.number.0 >= first_kept || needed.contains(&Some(it.number)));
    }
}
