//! Questions about a program, each answered in one place.

use alloc::{collections::BTreeSet, sync::Arc, vec::Vec};

use crate::{
    AfterStop, BuildId, Building, ContainerId, Failed, ImageId, InstanceId, InstanceNumber,
    Manifest, Program, Ready, Revision, RevisionNumber, Revisions, Rollout, RolloutStep, Source,
    StartKind, Starting, State, StopStep, recovery::SETTLED_RUN_MS,
};

impl Program {
    /// Returns the manifest that the last start was begun with, as long as something of it may run; otherwise
    /// the newest manifest.
    #[must_use]
    pub fn manifest(&self) -> &Arc<Manifest> {
        self.instance_manifest
            .as_ref()
            .unwrap_or(&self.source.manifest)
    }

    /// Returns the manifest of the current start, from the beginning of its build on; the newest manifest
    /// when there is no such start.
    #[must_use]
    pub fn current_manifest(&self) -> &Arc<Manifest> {
        let building = self.state.building();
        building.map_or_else(|| self.manifest(), |building| &building.source.manifest)
    }

    /// Returns the source tree of the current start, from the beginning of its build on.
    #[must_use]
    pub fn current_build(&self) -> Option<&BuildId> {
        let building = self.state.building().map(|building| &building.source.build);
        building.or(self.instance_build.as_ref())
    }

    /// Returns the image of the instance that is up or on its way up. Without one, returns the image of the
    /// newest source, if it was built.
    #[must_use]
    pub fn current_image(&self) -> Option<&ImageId> {
        self.state.image().or(self.image.as_ref())
    }

    /// Returns whether a build is under way or about to begin: a restart may build after it has stopped.
    #[must_use]
    pub fn is_building(&self) -> bool {
        let is_stopping = matches!(self.state, State::Stopping(_));
        self.state.any_build().is_some() || is_stopping && self.image.is_none()
    }

    /// Returns whether the revision of the current or the last start has yet to show that it stays up.
    #[must_use]
    pub fn is_unsettled(&self) -> bool {
        self.revisions.as_ref().is_some_and(|revisions| {
            let plan = revisions.plan();
            let planned = revisions.get(plan.revision);
            plan.kind != StartKind::Plain || planned.is_some_and(|it| !it.is_good)
        })
    }

    /// Returns the number of the revision of the current or the last start.
    #[must_use]
    pub fn current_revision(&self) -> Option<RevisionNumber> {
        Some(self.revisions.as_ref()?.plan().revision)
    }

    /// Returns the number of the revision that the next command starts.
    #[must_use]
    pub fn wanted_revision(&self) -> Option<RevisionNumber> {
        Some(self.revisions.as_ref()?.wanted())
    }

    /// Returns the revisions of which an instance may be started without a further command: that of a retry, and
    /// that which a failed rollout goes back to. A program at rest has none.
    #[must_use]
    pub fn revisions_to_come(&self, now_ms: u64) -> Vec<&Revision> {
        let Some(revisions) = self.revisions.as_ref().filter(|_| self.is_started()) else {
            return Vec::new();
        };
        let planned = revisions.get(revisions.plan().revision);
        planned
            .into_iter()
            .chain(self.fallback_at(now_ms))
            .collect()
    }

    /// Returns the manifest of the instance that is, or will be, beside the one that is up, until both are stopped.
    #[must_use]
    pub fn manifest_beside(&self) -> Option<&Arc<Manifest>> {
        let ready = match &self.state {
            State::Ready(ready) => ready,
            State::Stopping(stopping) => return stopping.beside.as_ref(),
            State::Created
            | State::Building(_)
            | State::Starting(_)
            | State::Stopped(_)
            | State::Error(_)
            | State::Removed => return None,
        };
        let rollout = ready.rollout.as_ref().filter(|it| it.step.is_started());
        let rollout = rollout.map(|it| &it.step.source().manifest);
        let comes = rollout.filter(|manifest| !manifest.deploy.keeps_state());
        comes.or_else(|| ready.leaving.as_ref().map(|leaving| &leaving.manifest))
    }

    /// Returns the revision that is started if the rollout under way fails.
    #[must_use]
    pub fn fallback(&self) -> Option<&Revision> {
        let revisions = self.revisions.as_ref()?;
        match &revisions.plan().kind {
            StartKind::Rollout { fallback } => revisions.get(*fallback),
            StartKind::Plain | StartKind::RollBack { .. } => None,
        }
    }

    /// Returns the revision that a failure may go back to if a person starts the revision `planned` now.
    #[must_use]
    pub fn fallback_of(&self, planned: RevisionNumber) -> Option<&Revision> {
        let revisions = self.revisions.as_ref().filter(|_| self.is_started())?;
        revisions.get(revisions.fallback(planned)?)
    }

    /// Works like [`Program::fallback`], but returns nothing once the instance has been up for long enough, which
    /// the program itself notes only at its next event.
    #[must_use]
    pub fn fallback_at(&self, now_ms: u64) -> Option<&Revision> {
        let settled_at_ms = self.settled_at_ms();
        let is_settled = settled_at_ms.is_some_and(|at_ms| at_ms <= now_ms);
        self.fallback().filter(|_| !is_settled)
    }

    /// Returns the time from which on the instance that is up counts as settled, milliseconds since the Unix
    /// epoch. Returns nothing while it is not known whether the instance is still up.
    #[must_use]
    pub fn settled_at_ms(&self) -> Option<u64> {
        let ready = self.state.ready().filter(|ready| ready.check.is_none())?;
        Some(ready.since_ms.saturating_add(SETTLED_RUN_MS))
    }

    /// Returns the revision that a roll-back without a number goes to: the one that ran before the rollout that
    /// is under way or was the last start, otherwise the newest good one other than the current one.
    #[must_use]
    pub fn previous_revision(&self) -> Option<RevisionNumber> {
        let beside = self.state.rollout();
        if beside.is_some_and(|rollout| rollout.step.is_started()) {
            return self.current_revision();
        }
        let revisions = self.revisions.as_ref()?;
        let before = self.fallback();
        let previous = before.or_else(|| revisions.last_good(revisions.plan().revision))?;
        Some(previous.number)
    }

    /// Returns every source tree that a start may still need: those of the revisions that are kept, the newest,
    /// and the one that is being built.
    #[must_use]
    pub fn kept_builds(&self) -> BTreeSet<&BuildId> {
        let kept = self.revisions.iter().flat_map(Revisions::iter);
        let under_way = self.state.source_under_way();
        kept.map(|revision| &revision.source)
            .chain([&self.source])
            .chain(under_way)
            .map(|source| &source.build)
            .chain(&self.instance_build)
            .collect()
    }

    /// Returns the source trees of [`Program::kept_builds`] without those of older revisions that nothing but a
    /// roll-back by a person would start.
    #[must_use]
    pub fn needed_builds(&self) -> BTreeSet<&BuildId> {
        let under_way = self.state.source_under_way();
        let needed = self.needed_revisions().into_iter();
        needed
            .map(|revision| &revision.source)
            .chain([&self.source])
            .chain(under_way)
            .map(|source| &source.build)
            .chain(&self.instance_build)
            .collect()
    }

    /// Returns the images of [`Program::kept_images`] without those of older revisions that nothing but a roll-back
    /// by a person would start.
    #[must_use]
    pub fn needed_images(&self) -> BTreeSet<&ImageId> {
        let needed = self.needed_revisions().into_iter();
        needed
            .filter_map(|revision| revision.image.as_ref())
            .chain(&self.image)
            .chain(self.state.image())
            .chain(self.state.starting_beside().map(|starting| &starting.image))
            .collect()
    }

    /// Returns the wanted revision, that of the last start, and those that a failure may go back to.
    fn needed_revisions(&self) -> Vec<&Revision> {
        let Some(revisions) = &self.revisions else {
            return Vec::new();
        };
        let planned = revisions.plan().revision;
        let named = [revisions.wanted(), planned].map(|number| revisions.get(number));
        let back = [self.fallback(), revisions.last_good(planned)];
        named.into_iter().chain(back).flatten().collect()
    }

    /// Returns every image that a start may still need, and that of the instance that is up.
    #[must_use]
    pub fn kept_images(&self) -> BTreeSet<&ImageId> {
        let kept = self.revisions.iter().flat_map(Revisions::iter);
        kept.filter_map(|revision| revision.image.as_ref())
            .chain(&self.image)
            .chain(self.state.image())
            .chain(self.state.starting_beside().map(|starting| &starting.image))
            .collect()
    }

    /// Returns whether the program runs, may still run, is on its way up, or will be started again by itself.
    #[must_use]
    pub fn is_started(&self) -> bool {
        match &self.state {
            State::Building(building) => building.then.is_start(),
            State::Starting(_) | State::Ready(_) | State::Stopping(_) => true,
            State::Error(failed) => failed.retry.is_some() || self.instance_manifest.is_some(),
            State::Created | State::Stopped(_) | State::Removed => false,
        }
    }

    /// Returns whether a build alone may begin now, beside what runs or at rest.
    #[must_use]
    pub fn may_be_built(&self) -> bool {
        match &self.state {
            State::Created | State::Ready(_) | State::Stopped(_) => true,
            State::Building(building) => !building.then.is_start(),
            State::Error(failed) => failed.retry.is_none() && self.instance_manifest.is_none(),
            State::Starting(_) | State::Stopping(_) | State::Removed => false,
        }
    }

    /// Returns whether the program is to be removed, from the command to remove it on.
    #[must_use]
    pub fn is_being_removed(&self) -> bool {
        match &self.state {
            State::Stopping(stopping) => stopping.then == AfterStop::Remove,
            State::Removed => true,
            State::Created
            | State::Building(_)
            | State::Starting(_)
            | State::Ready(_)
            | State::Stopped(_)
            | State::Error(_) => false,
        }
    }

    /// Returns the id of the instance that is up, when one is.
    #[must_use]
    pub fn ready_instance(&self) -> Option<InstanceId> {
        let number = self.state.ready()?.instance;
        Some(InstanceId {
            program: self.id.clone(),
            number,
        })
    }

    /// Returns whether the program accounts for an instance, which means that the program will stop it in
    /// time. An instance that it does not account for is an orphan.
    #[must_use]
    pub fn accounts_for(&self, instance: InstanceNumber) -> bool {
        match &self.state {
            State::Starting(starting) => starting.instance == instance,
            State::Ready(ready) => ready.instances().any(|number| number == instance),
            // The stop removes all instances of the program.
            State::Stopping(stopping) => stopping.step == StopStep::Instances,
            // Instances that could not be stopped wait for a retry or for a person.
            State::Error(_) => self.instance_manifest.is_some(),
            State::Created | State::Building(_) | State::Stopped(_) | State::Removed => false,
        }
    }
}

impl State {
    /// Returns the details of Building, while folders and image are being made.
    #[must_use]
    pub fn building(&self) -> Option<&Building> {
        match self {
            Self::Building(building) => Some(building),
            Self::Created
            | Self::Starting(_)
            | Self::Ready(_)
            | Self::Stopping(_)
            | Self::Stopped(_)
            | Self::Error(_)
            | Self::Removed => None,
        }
    }

    /// Returns the build that is under way: on the way up, or beside an instance that is up.
    #[must_use]
    pub fn any_build(&self) -> Option<&Building> {
        let beside = self.rollout().and_then(|rollout| match &rollout.step {
            RolloutStep::Building(building) => Some(building),
            RolloutStep::Starting { .. } => None,
        });
        self.building().or(beside)
    }

    /// Returns the source that is built, or started beside the instance that is up.
    #[must_use]
    pub fn source_under_way(&self) -> Option<&Source> {
        let building = self.building().map(|building| &building.source);
        building.or(self.rollout().map(|rollout| rollout.step.source()))
    }

    /// Returns the rollout beside the instance that is up, while one is under way.
    #[must_use]
    pub fn rollout(&self) -> Option<&Rollout> {
        self.ready()?.rollout.as_deref()
    }

    /// Returns the instance that is brought up beside the one that is up, while there is one.
    #[must_use]
    pub fn starting_beside(&self) -> Option<&Starting> {
        match &self.rollout()?.step {
            RolloutStep::Building(_) => None,
            RolloutStep::Starting { starting, .. } => Some(starting),
        }
    }

    /// Returns the details of Ready, while the program is up.
    #[must_use]
    pub fn ready(&self) -> Option<&Ready> {
        match self {
            Self::Ready(ready) => Some(ready),
            Self::Created
            | Self::Building(_)
            | Self::Starting(_)
            | Self::Stopping(_)
            | Self::Stopped(_)
            | Self::Error(_)
            | Self::Removed => None,
        }
    }

    /// Returns the details of Error, while the program waits for a retry or a person.
    #[must_use]
    pub fn failed(&self) -> Option<&Failed> {
        match self {
            Self::Error(failed) => Some(failed),
            Self::Created
            | Self::Building(_)
            | Self::Starting(_)
            | Self::Ready(_)
            | Self::Stopping(_)
            | Self::Stopped(_)
            | Self::Removed => None,
        }
    }

    /// Returns the image of the instance that is up or on its way up.
    #[must_use]
    pub fn image(&self) -> Option<&ImageId> {
        match self {
            Self::Starting(starting) => Some(&starting.image),
            Self::Ready(ready) => Some(&ready.image),
            Self::Created
            | Self::Building(_)
            | Self::Stopping(_)
            | Self::Stopped(_)
            | Self::Error(_)
            | Self::Removed => None,
        }
    }

    /// Returns the runtime's id for the instance that is up, when one is.
    #[must_use]
    pub fn container(&self) -> Option<&ContainerId> {
        Some(&self.ready()?.container)
    }
}
