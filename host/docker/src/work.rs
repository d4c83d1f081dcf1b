//! One operation at a time about each instance and about each program's builds, every one on a task of
//! its own.
//!
//! A future that is dropped half-way leaves a request half-way: the engine may still create what
//! nobody waits for. So operations run on tasks that always come to an end of their own; dropping
//! the future, or stopping what it is about, only asks them to make it soon.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex},
};

use hersh_base::{detached::run_detached, locked::locked};
use hersh_program::{InstanceNumber, Instances, ProgramId};
use tokio::sync::RwLock;
use tokio_util::sync::CancellationToken;

/// What an operation is about, besides its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum About {
    /// The program's image.
    Build,
    /// One of its instances.
    Instance(InstanceNumber),
}

/// The operations in progress, by program.
#[derive(Default)]
pub(super) struct Work {
    programs: Mutex<HashMap<ProgramId, Arc<Operations>>>,
}

/// The operations of one program.
#[derive(Default)]
struct Operations {
    /// Read by what is about one thing, written by what is about all of the program.
    gate: Arc<RwLock<()>>,
    slots: Mutex<HashMap<About, Arc<Slot>>>,
}

/// The operations about one thing, of which one is carried out at a time.
#[derive(Default)]
struct Slot {
    turn: Arc<tokio::sync::Mutex<()>>,
    cancel: Mutex<CancellationToken>,
}

impl Work {
    /// Runs `job` when nothing else is done about the same thing. Its token is cancelled when the
    /// returned future is dropped or what it is about is stopped; the job then cleans up and ends.
    pub(super) async fn run<T, F>(
        &self,
        program: &ProgramId,
        about: About,
        job: impl FnOnce(CancellationToken) -> F,
    ) -> T
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let operations = self.operations(program);
        let slot = operations.slot(about);
        let token = locked(&slot.cancel).child_token();
        let guard = token.clone().drop_guard();
        let result = in_turn(operations, slot, job(token)).await;
        guard.disarm();
        self.tidy();
        result
    }

    /// Cancels what is in progress about these instances, waits for its end, and runs `job` to its end
    /// even when the returned future is dropped. With all instances go their program's builds.
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
                let slot = operations.slot(About::Instance(instance));
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

    /// Drops what nobody uses, so that this is bounded by what is in progress.
    fn tidy(&self) {
        locked(&self.programs).retain(|_, operations| {
            locked(&operations.slots).retain(|_, slot| Arc::strong_count(slot) > 1);
            Arc::strong_count(operations) > 1
        });
    }
}

impl Operations {
    fn slot(&self, about: About) -> Arc<Slot> {
        Arc::clone(locked(&self.slots).entry(about).or_default())
    }

    fn cancel_all(&self) {
        locked(&self.slots).values().for_each(|slot| slot.cancel());
    }
}

impl Slot {
    /// Cancels what is in progress, and nothing that is asked for later.
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
        // The gate before the turn: in the other order, an operation that holds its turn and waits at
        // the gate behind a stop of all would keep the turn from one that is let through already, for
        // which that stop waits.
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
    use tokio::sync::oneshot;

    use super::*;

    fn program() -> ProgramId {
        ProgramId::parse("counter").unwrap()
    }

    fn about(number: u64) -> About {
        About::Instance(InstanceNumber(number))
    }

    /// A job that says when it has begun and goes on until it is cancelled.
    fn until_cancelled(
        begun: oneshot::Sender<()>,
    ) -> impl FnOnce(CancellationToken) -> futures_util::future::BoxFuture<'static, &'static str>
    {
        move |cancel| {
            Box::pin(async move {
                let _ = begun.send(());
                cancel.cancelled().await;
                "cancelled"
            })
        }
    }

    #[tokio::test]
    async fn a_stop_of_one_instance_leaves_the_other_alone() {
        let work = Arc::new(Work::default());
        let begin = |number| {
            let (work, (begun, seen)) = (Arc::clone(&work), oneshot::channel());
            let job = until_cancelled(begun);
            let run = async move { work.run(&program(), about(number), job).await };
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
        assert_eq!(first.await.unwrap(), "cancelled");
        assert!(!second.is_finished());
        work.run_instead(&program(), Instances::All, async {}).await;
        assert_eq!(second.await.unwrap(), "cancelled");
        assert!(locked(&work.programs).is_empty(), "nothing is kept");
    }

    #[tokio::test]
    async fn a_start_asked_during_a_stop_of_all_comes_after_it() {
        let work = Arc::new(Work::default());
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
        let mut start = std::pin::pin!(work.run(&program, about(3), |cancel| async move {
            assert!(!cancel.is_cancelled());
        }));
        assert!(futures_util::poll!(&mut start).is_pending());
        finish.send(()).unwrap();
        start.await;
        stop.await.unwrap();
    }
}
