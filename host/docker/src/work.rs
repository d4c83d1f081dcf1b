//! Runs one operation at a time about each instance and about each program's builds, every operation on a
//! task of its own.
//!
//! If a future is dropped half-way, its request to the engine stops half-way as well: the engine may then
//! still create a container that nobody waits for. So an operation runs on a task that always comes to an
//! end of its own. Dropping the operation's future, or stopping its instance or build, only asks the task
//! to end soon.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex},
};

use hersh_base::{detached::run_detached, locked::locked};
use hersh_program::{InstanceNumber, Instances, ProgramId};
use tokio::sync::RwLock;
use tokio_util::sync::CancellationToken;

/// The object of an operation, within its program: a build or an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum OperationTarget {
    /// The build of the program's image.
    Build,
    /// One instance of the program.
    Instance(InstanceNumber),
}

/// The error of an operation that was cancelled before its turn came.
#[derive(Debug)]
pub(super) struct CancelledError;

/// The operations in progress, by program.
#[derive(Default)]
pub(super) struct OperationQueue {
    programs: Mutex<HashMap<ProgramId, Arc<Operations>>>,
}

/// The operations of one program.
#[derive(Default)]
struct Operations {
    /// The lock between the operations. An operation about one instance or build holds it for reading, an
    /// operation about the whole program holds it for writing.
    gate: Arc<RwLock<()>>,
    slots: Mutex<HashMap<OperationTarget, Arc<Slot>>>,
}

/// The operations about one instance or build. Only one of them runs at a time.
#[derive(Default)]
struct Slot {
    turn: Arc<tokio::sync::Mutex<()>>,
    cancel: Mutex<CancellationToken>,
}

impl OperationQueue {
    /// Runs `job` when no other operation about the same instance or build runs. The token of the job is
    /// cancelled when the returned future is dropped, or when the instance or build is stopped; the job
    /// then cleans up and ends.
    ///
    /// # Errors
    /// That of the job, or [`CancelledError`] when it was cancelled before its turn came. Without this, a start
    /// whose task is scheduled late could take its turn behind the stop that cancelled it, and create a
    /// container after everybody was told that none is left.
    pub(super) async fn run<T, E, F>(
        &self,
        program: &ProgramId,
        target: OperationTarget,
        job: impl FnOnce(CancellationToken) -> F,
    ) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<CancelledError> + Send + 'static,
    {
        let operations = self.operations(program);
        let slot = operations.slot(target);
        let token = locked(&slot.cancel).child_token();
        let guard = token.clone().drop_guard();
        let job = job(token.clone());
        let unless_cancelled = async move {
            match token.is_cancelled() {
                true => Err(CancelledError.into()),
                false => job.await,
            }
        };
        let result = in_turn(operations, slot, unless_cancelled).await;
        guard.disarm();
        self.tidy();
        result
    }

    /// Cancels the operations about these instances, waits until they have ended, and runs `job` to its
    /// end, even when the returned future is dropped. If `instances` means all, the program's builds are
    /// cancelled, too.
    pub(super) async fn run_instead<T, F>(
        &self,
        program: &ProgramId,
        instances: Instances,
        job: F,
    ) -> T
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let operations = self.operations(program);
        let result = match instances {
            Instances::All => {
                operations.cancel_all();
                alone(operations, job).await
            }
            Instances::One(instance) => {
                let slot = operations.slot(OperationTarget::Instance(instance));
                slot.cancel();
                in_turn(operations, slot, job).await
            }
        };
        self.tidy();
        result
    }

    fn operations(&self, program: &ProgramId) -> Arc<Operations> {
        let mut programs = locked(&self.programs);
        Arc::clone(programs.entry(program.clone()).or_default())
    }

    /// Drops the entries that no operation uses. Otherwise the lists would grow without bound.
    fn tidy(&self) {
        locked(&self.programs).retain(|_, operations| {
            locked(&operations.slots).retain(|_, slot| Arc::strong_count(slot) > 1);
            Arc::strong_count(operations) > 1
        });
    }
}

impl Operations {
    fn slot(&self, target: OperationTarget) -> Arc<Slot> {
        Arc::clone(locked(&self.slots).entry(target).or_default())
    }

    fn cancel_all(&self) {
        locked(&self.slots).values().for_each(|slot| slot.cancel());
    }
}

impl Slot {
    /// Cancels the operations in progress, but not those that are asked for later.
    fn cancel(&self) {
        std::mem::take(&mut *locked(&self.cancel)).cancel();
    }
}

async fn in_turn<T, F>(operations: Arc<Operations>, slot: Arc<Slot>, job: F) -> T
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    run_detached(async move {
        // The gate is taken before the turn. In the other order, an operation could hold its turn and wait
        // at the gate behind an operation about the whole program. It would then keep the turn from an
        // operation that has passed the gate already, and the one about the whole program waits for exactly
        // that operation: none of the three would go on.
        let gate = Arc::clone(&operations.gate);
        let _pass = gate.read().await;
        let turn = Arc::clone(&slot.turn);
        let _turn = turn.lock().await;
        let result = job.await;
        drop((slot, operations));
        result
    })
    .await
}

async fn alone<T, F>(operations: Arc<Operations>, job: F) -> T
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    run_detached(async move {
        let gate = Arc::clone(&operations.gate);
        let _alone = gate.write().await;
        let result = job.await;
        drop(operations);
        result
    })
    .await
}

#[cfg(test)]
mod tests {
    use futures_util::future::BoxFuture;
    use tokio::sync::oneshot;

    use super::*;

    fn program() -> ProgramId {
        ProgramId::parse("counter").unwrap()
    }

    fn target(number: u64) -> OperationTarget {
        OperationTarget::Instance(InstanceNumber(number))
    }

    /// Returns a job that reports when it has begun, and goes on until it is cancelled.
    fn until_cancelled(
        begun: oneshot::Sender<()>,
    ) -> impl FnOnce(CancellationToken) -> BoxFuture<'static, Result<&'static str, CancelledError>>
    {
        move |cancel| {
            Box::pin(async move {
                let _ = begun.send(());
                cancel.cancelled().await;
                Ok("cancelled")
            })
        }
    }

    #[tokio::test]
    async fn a_stop_of_one_instance_leaves_the_other_alone() {
        let work = Arc::new(OperationQueue::default());
        let begin = |number| {
            let (work, (begun, seen)) = (Arc::clone(&work), oneshot::channel());
            let job = until_cancelled(begun);
            let run = async move { work.run(&program(), target(number), job).await };
            (tokio::spawn(run), seen)
        };
        let ((first, begun), (second, begun_too)) = (begin(1), begin(2));
        begun.await.unwrap();
        begun_too.await.unwrap();
        let one = Instances::One(InstanceNumber(1));
        assert_eq!(
            work.run_instead(&program(), one, async { "stopped" }).await,
            "stopped"
        );
        assert_eq!(first.await.unwrap().unwrap(), "cancelled");
        assert!(!second.is_finished());
        work.run_instead(&program(), Instances::All, async {}).await;
        assert_eq!(second.await.unwrap().unwrap(), "cancelled");
        assert!(locked(&work.programs).is_empty(), "nothing is kept");
    }

    #[tokio::test]
    async fn a_start_asked_during_a_stop_of_all_comes_after_it() {
        let work = Arc::new(OperationQueue::default());
        let (begun, stopping) = oneshot::channel();
        let (finish, finished) = oneshot::channel::<()>();
        let stop = {
            let work = Arc::clone(&work);
            tokio::spawn(async move {
                let job = async move {
                    begun.send(()).unwrap();
                    finished.await.unwrap();
                };
                work.run_instead(&program(), Instances::All, job).await;
            })
        };
        stopping.await.unwrap();
        let program = program();
        let mut start = std::pin::pin!(work.run(&program, target(3), |cancel| async move {
            assert!(!cancel.is_cancelled());
            Ok::<(), CancelledError>(())
        }));
        assert!(futures_util::poll!(&mut start).is_pending());
        finish.send(()).unwrap();
        start.await.unwrap();
        stop.await.unwrap();
    }

    #[tokio::test]
    async fn a_start_that_a_stop_overtook_does_not_begin() {
        let work = OperationQueue::default();
        let program = program();
        let begin = |_cancel| async { Ok::<_, CancelledError>("begun") };
        let mut start = std::pin::pin!(work.run(&program, target(1), begin));
        // Holds the start's task back, as a busy machine may, until the stop has been asked for.
        let gate = Arc::clone(&work.operations(&program).gate);
        let held = gate.write().await;
        assert!(futures_util::poll!(&mut start).is_pending());
        let mut stop = std::pin::pin!(work.run_instead(&program, Instances::All, async {}));
        assert!(futures_util::poll!(&mut stop).is_pending());
        drop(held);
        assert!(start.await.is_err());
        stop.await;
    }
}
