//! A watcher that has all it needs but its managed function.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::context::{ContextParts, Sources};
use super::managed::CleanupFn;
use super::recorder::Recorder;
use super::runner::Runner;
use crate::effects::Desk;
use crate::engine::Policy;
use crate::shared::Shared;
use crate::store::Store;
use crate::{Context, Error};

/// What a start has opened. It is made where the watcher is started, and used on the watcher's
/// thread.
pub(crate) struct WatcherParts {
    pub(crate) shared: Arc<Shared>,
    pub(crate) store: Store,
    pub(crate) env: Arc<BTreeMap<String, String>>,
    pub(crate) seed: u64,
    pub(crate) call_timeout: Duration,
    pub(crate) recorder: Recorder,
    pub(crate) cleanup: Option<CleanupFn>,
    pub(crate) policy: Policy,
}

impl WatcherParts {
    /// Returns the loop that runs `managed`. Called on the thread that the loop runs on.
    pub(crate) fn runner<F, E>(self, managed: F) -> Runner<F>
    where
        F: AsyncFnMut(&mut Context) -> Result<(), E>,
        E: Into<Error>,
    {
        let desk = Desk::new(self.shared.clone());
        let cx = Context::new(ContextParts {
            shared: self.shared,
            store: self.store,
            env: self.env,
            seed: self.seed,
            call_timeout: self.call_timeout,
            sources: Sources::Live,
            desk: Some(desk.clone()),
            records: self.recorder.is_on(),
        });
        let keepers = (desk, self.recorder);
        Runner::new(managed, self.cleanup, cx, keepers, self.policy)
    }
}
