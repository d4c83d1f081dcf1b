//! Takes programs in, and replaces their source.

use std::sync::{Arc, atomic::AtomicU64};

use hersh_base::{detached::run_detached, permits::Permit, sandbox::StateUsage};
use hersh_journal::JournalError;
use hersh_machine::driver::{self, Config};
use hersh_program::{
    Event, Manifest, Program, ProgramId, ProgramStepper, Refusal, RevisionNote, RevisionNumber,
    Source, Supervisor, UserId,
};
use hersh_storage::StagedSource;

use super::{CommandError, CreateError, Host, Outcome, ReplaceError, quota::QuotaChange};
use crate::{
    idempotency::ClaimedRequest,
    programs::{ProgramEntry, ProgramJournal, StateLog},
};

/// A program that is to be created.
pub(crate) struct NewProgram {
    pub(crate) id: ProgramId,
    pub(crate) owner: UserId,
    pub(crate) revision: NewRevision,
    /// The claimed key, if the call may be repeated.
    pub(crate) claimed: Option<ClaimedRequest>,
}

/// A revision that is to be stored.
pub(crate) struct NewRevision {
    pub(crate) staged: StagedSource,
    /// The permit of the client that sent the source. It is kept until the source is stored: a client that
    /// hangs up has made no room.
    pub(crate) permit: Permit,
    pub(crate) manifest: Manifest,
    pub(crate) note: RevisionNote,
}

/// How a revision was stored.
pub(crate) struct StoredRevision {
    /// [`Outcome::Already`] if the revision that the next command starts is just so.
    pub(crate) outcome: Outcome,
    /// The number of the revision.
    pub(crate) revision: Option<RevisionNumber>,
}

impl Host {
    /// Makes an id for a program that was given no name.
    pub(crate) fn new_id(&self) -> Result<ProgramId, getrandom::Error> {
        loop {
            let id = ProgramId::parse(&format!("p-{:016x}", self.0.surroundings.random()?));
            // Hex digits after `p-` are always a valid id; a taken one is drawn again.
            if let Ok(id) = id
                && self.0.registry.get(&id).is_none()
            {
                return Ok(id);
            }
        }
    }

    /// Takes a program in. The program is durable when this returns; nothing is left of a program that fails.
    ///
    /// # Errors
    /// [`CreateError`]. If the owner's quota is the reason, nothing was stored before.
    pub(crate) async fn create(&self, new: NewProgram) -> Result<Arc<ProgramEntry>, CreateError> {
        let host = self.clone();
        run_detached(async move { host.create_detached(new).await }).await
    }

    async fn create_detached(&self, new: NewProgram) -> Result<Arc<ProgramEntry>, CreateError> {
        let quota = self.quota(&new.owner)?;
        let _turn = self.turn(&new.owner, &quota).await;
        self.usage(&new.owner)
            .with(&new.revision.manifest.limits, false)
            .fits(&new.owner, &quota)?;
        let id = new.id.clone();
        if !self.0.registry.reserve(&id, &new.owner) {
            return Err(JournalError::Exists(id).into());
        }
        let created = self.create_reserved(new).await;
        if created.is_err() {
            self.undo_create(id).await;
        }
        created
    }

    async fn undo_create(&self, id: ProgramId) {
        let program = id.clone();
        let removed = self
            .blocking(move |host| host.storage().remove(&program))
            .await;
        if let Ok(Err(error)) = removed {
            tracing::warn!(%id, %error, "folders of a failed create stay until the next start");
        }
        self.0.registry.remove(&id);
    }

    async fn create_reserved(&self, new: NewProgram) -> Result<Arc<ProgramEntry>, CreateError> {
        let NewProgram {
            id,
            owner,
            revision,
            claimed,
        } = new;
        let NewRevision {
            staged,
            permit,
            manifest,
            note,
        } = revision;
        let program = id.clone();
        let build = self
            .blocking(move |host| host.storage().commit(&program, staged))
            .await
            .map_err(|_| JournalError::Closed)??;
        drop(permit);
        let source = Source {
            build,
            manifest: Arc::new(manifest),
        };
        let seed = self
            .0
            .surroundings
            .random()
            .map_err(|error| JournalError::Sqlite(error.to_string()))?;
        let created_at_ms = self.now_ms();
        let program = Program::deployed(id.clone(), source, note, created_at_ms, seed);
        // The claim is held on to: otherwise another call could look the key up before the answer is kept.
        let kept = claimed.as_ref();
        let kept = kept.map(|claimed| claimed.kept(id.to_string(), created_at_ms));
        let row = self
            .0
            .journal
            .create_once(&owner, created_at_ms, &program, kept)
            .await?;
        let last_event_ms = Arc::new(AtomicU64::new(created_at_ms));
        let journal = ProgramJournal::new(
            self.0.journal.clone(),
            row,
            Arc::clone(&last_event_ms),
            0,
            self.0.metrics.clone(),
            StateLog::new(&program),
        );
        let supervisor = Supervisor::run(
            ProgramStepper::new(program),
            self.effects(),
            journal,
            self.surroundings(),
            Config::default(),
        );
        let entry = ProgramEntry::new(row, owner, created_at_ms, last_event_ms, supervisor);
        let entry = Arc::new(entry);
        // The new program's `/state` is empty: whatever the first look finds was written since.
        entry.state_readings().take(StateUsage::Bytes(0), u64::MAX);
        self.0.registry.insert(id.clone(), Arc::clone(&entry));
        tracing::info!(program = %id, owner = %entry.owner(), "created");
        Ok(entry)
    }

    /// Stores a new revision, which the next start that somebody asks for runs. Trees go that no revision and no
    /// build needs.
    ///
    /// # Errors
    /// [`ReplaceError`]. If the owner's quota is the reason, or that the program is being removed, nothing
    /// was stored before.
    pub(crate) async fn replace_source(
        &self,
        entry: Arc<ProgramEntry>,
        new: NewRevision,
    ) -> Result<StoredRevision, ReplaceError> {
        let host = self.clone();
        run_detached(async move { host.replace_detached(&entry, new).await }).await
    }

    async fn replace_detached(
        &self,
        entry: &ProgramEntry,
        new: NewRevision,
    ) -> Result<StoredRevision, ReplaceError> {
        let NewRevision {
            staged,
            permit: _permit,
            manifest,
            note,
        } = new;
        let quota = self.quota(entry.owner())?;
        let _turn = self.turn(entry.owner(), &quota).await;
        self.check_quota(entry, QuotaChange::Source(&manifest.limits), &quota)?;
        let _alone = entry.replacing().await;
        if entry.is_being_removed() {
            return Err(CommandError::Refused {
                refusal: Refusal::BeingRemoved,
                state: entry.state_name(),
            }
            .into());
        }
        let id = entry.id();
        let build = self
            .blocking(move |host| host.storage().commit(&id, staged))
            .await
            .map_err(CommandError::Interrupted)??;
        let source = Source {
            build,
            manifest: Arc::new(manifest),
        };
        let sent = self.store_revision(entry, source, note).await;
        match &sent {
            Ok(_) => {}
            // The new source is surely not the program's, so its tree is removed with the older ones.
            Err(CommandError::Journal(driver::JournalError::Revoked)) => {}
            Err(_) => return Ok(sent?),
        }
        let kept = entry.supervisor().with_state(|program| {
            let kept = program.kept_builds().into_iter().cloned();
            kept.collect::<Vec<_>>()
        });
        let id = entry.id();
        let pruned = self
            .blocking(move |host| host.storage().retain_builds(&id, &kept))
            .await;
        if let Ok(Err(error)) = pruned {
            tracing::warn!(%error, "older source stays until the next one comes");
        }
        Ok(sent?)
    }
    /// Tells the program of a revision whose tree is in its place. Nobody else stores one meanwhile, so the newest
    /// one is this one afterwards.
    async fn store_revision(
        &self,
        entry: &ProgramEntry,
        source: Source,
        note: RevisionNote,
    ) -> Result<StoredRevision, CommandError> {
        let same = entry.supervisor().with_state(|program| {
            let is_same = program.source == source;
            is_same.then(|| program.wanted_revision())
        });
        if let Some(revision) = same {
            let outcome = Outcome::Already;
            return Ok(StoredRevision { outcome, revision });
        }
        let event = Event::SourceReplaced { source, note };
        let outcome = self.send(entry, event).await?;
        let newest = |program: &Program| {
            let revisions = program.revisions.as_ref()?;
            Some(revisions.iter().next_back()?.number)
        };
        let revision = entry.supervisor().with_state(newest);
        Ok(StoredRevision { outcome, revision })
    }
}
