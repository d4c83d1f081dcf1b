//! One operation a program at a time, each on a task of its own.
//!
//! A future that is dropped half-way leaves a request half-way: the engine may still create what
//! nobody waits for. So operations run on tasks that always come to an end of their own; dropping
//! the future, or stopping the program, only asks them to make it soon.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use hersh_base::whole::whole;
use hersh_program::ProgramId;
use tokio_util::sync::CancellationToken;

/// The operations in progress, by program.
#[derive(Default)]
pub(super) struct Work {
    slots: Mutex<HashMap<ProgramId, Arc<Slot>>>,
}

struct Slot {
    turn: Arc<tokio::sync::Mutex<()>>,
    cancel: Mutex<CancellationToken>,
}

impl Work {
    /// Runs `job` when nothing else of the program runs. Its token is cancelled when the returned
    /// future is dropped or the program is stopped; the job then cleans up and ends.
    pub(super) async fn run<T, F>(
        &self,
        program: &ProgramId,
        job: impl FnOnce(CancellationToken) -> F,
    ) -> T
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let slot = self.slot(program);
        let token = lock(&slot.cancel).child_token();
        let guard = token.clone().drop_guard();
        let result = on_its_own(slot, job(token)).await;
        guard.disarm();
        self.tidy();
        result
    }

    /// Cancels what runs for the program, waits for its end, and runs `job` to its end even when
    /// the returned future is dropped.
    pub(super) async fn run_instead<T, F>(&self, program: &ProgramId, job: F) -> T
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let slot = self.slot(program);
        std::mem::take(&mut *lock(&slot.cancel)).cancel();
        let result = on_its_own(slot, job).await;
        self.tidy();
        result
    }

    fn slot(&self, program: &ProgramId) -> Arc<Slot> {
        let mut slots = lock(&self.slots);
        let slot = slots.entry(program.clone()).or_insert_with(|| {
            Arc::new(Slot {
                turn: Arc::default(),
                cancel: Mutex::default(),
            })
        });
        Arc::clone(slot)
    }

    /// Drops the slots that nobody uses, so that they are bounded by what is in progress.
    fn tidy(&self) {
        lock(&self.slots).retain(|_, slot| Arc::strong_count(slot) > 1);
    }
}

async fn on_its_own<T, F>(slot: Arc<Slot>, job: F) -> T
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    whole(async move {
        let turn = Arc::clone(&slot.turn);
        let _turn = turn.lock().await;
        let result = job.await;
        drop(slot);
        result
    })
    .await
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
