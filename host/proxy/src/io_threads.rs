//! The threads that carry connections: each has a reactor, timers and connections to programs of
//! its own, and shares none of them while it answers.
//!
//! ```text
//! accept ──► the lane with the fewest connections ──► looks at programs are answered there
//!                                                 └─► everything else, beside it by the main runtime
//! ```
//! A runtime that moves work between threads serves the host's many kinds of work well. A proxy
//! with short requests pays much for each move: on two processors one thread alone passed more
//! than two that share, and two that share nothing pass more than one.

use std::{
    cell::RefCell,
    io,
    num::NonZeroUsize,
    panic,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};
use tokio_util::task::AbortOnDropHandle;

/// Lanes of one host; it has one for each processor, up to this.
const LANES_MAX: usize = 16;

/// Which lane a thread is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaneId(usize);

/// No lane: the main runtime's threads.
const MAIN: LaneId = LaneId(0);

thread_local! {
    /// The lane that this thread is, and the main runtime.
    static HERE: RefCell<Option<(LaneId, Handle)>> = const { RefCell::new(None) };
}

/// The lanes of one host. Dropped, they end with all that goes on in them.
pub struct Lanes(Vec<Lane>);

struct Lane {
    handle: Handle,
    connections: Arc<AtomicUsize>,
    /// Its thread ends when this is dropped.
    _end: oneshot::Sender<()>,
}

/// A place in a lane, taken until it is dropped.
pub struct Seat {
    handle: Handle,
    connections: Arc<AtomicUsize>,
}

impl Lanes {
    /// None: everything runs where it is asked for.
    #[cfg(any(test, feature = "testkit"))]
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// Starts one for each processor; a lane with nothing to do takes none of it. The runtime that
    /// this is called in is the main one.
    ///
    /// # Errors
    /// When the system gives no more threads or descriptors.
    pub fn start() -> io::Result<Self> {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self::start_so_many(processors.min(LANES_MAX))
    }

    fn start_so_many(count: usize) -> io::Result<Self> {
        let lanes = (1..=count).map(|number| Lane::start(LaneId(number)));
        lanes.collect::<io::Result<_>>().map(Self)
    }

    /// A place in the lane with the fewest connections.
    pub fn enter(&self) -> Seat {
        let count = |lane: &&Lane| lane.connections.load(Ordering::Relaxed);
        let (handle, connections) = match self.0.iter().min_by_key(count) {
            Some(lane) => (lane.handle.clone(), Arc::clone(&lane.connections)),
            None => (Handle::current(), Arc::default()),
        };
        connections.fetch_add(1, Ordering::Relaxed);
        Seat {
            handle,
            connections,
        }
    }
}

impl Lane {
    fn start(id: LaneId) -> io::Result<Self> {
        let main = Handle::current();
        let (end, ended) = oneshot::channel();
        let (built, building) = mpsc::channel();
        let LaneId(number) = id;
        thread::Builder::new()
            .name(format!("lane-{number}"))
            .spawn(move || run(id, main, &built, ended))?;
        // Blocks for as long as a thread takes to start.
        let handle = building.recv().map_err(io::Error::other)?;
        Ok(Self {
            handle: handle?,
            connections: Arc::default(),
            _end: end,
        })
    }
}

/// A lane's thread. It builds its runtime itself: where a thread can't be had, one that was built
/// before could not be dropped, for whoever asks is in a runtime already.
fn run(
    id: LaneId,
    main: Handle,
    built: &mpsc::Sender<io::Result<Handle>>,
    ended: oneshot::Receiver<()>,
) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            // Whoever asks waits for this.
            let _ = built.send(Err(error));
            return;
        }
    };
    let _ = built.send(Ok(runtime.handle().clone()));
    HERE.set(Some((id, main)));
    // An error says that the sender was dropped, which is what is waited for.
    let _ = runtime.block_on(ended);
    runtime.shutdown_background();
}

impl Seat {
    /// The lane's runtime.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The lane of this thread.
pub(crate) fn here() -> LaneId {
    HERE.with_borrow(|here| here.as_ref().map_or(MAIN, |(id, _)| *id))
}

/// Does something on the main runtime's threads, so that it holds up no lane. It ends when this is
/// dropped, and panics here if it panics there.
pub async fn beside<F>(work: F) -> F::Output
where
    F: Future<Output: Send> + Send + 'static,
{
    let main = HERE.with_borrow(|here| here.as_ref().map(|(_, main)| main.clone()));
    let Some(main) = main else {
        return work.await;
    };
    match AbortOnDropHandle::new(main.spawn(work)).await {
        Ok(output) => output,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => panic::resume_unwind(panic),
            // The main runtime is over, and soon the process.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    async fn in_lane<T: Send + 'static>(
        seat: &Seat,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let joined = tokio::time::timeout(PATIENCE, seat.handle().spawn(work)).await;
        joined.expect("done in time").unwrap()
    }

    #[tokio::test]
    async fn connections_are_spread_and_places_come_free() {
        let lanes = Lanes::start_so_many(3).unwrap();
        let mut seats: Vec<Seat> = (0..9).map(|_| lanes.enter()).collect();
        let mut taken = [0; 4];
        for seat in &seats {
            let LaneId(number) = in_lane(seat, async { here() }).await;
            taken[number] += 1;
        }
        assert_eq!(taken, [0, 3, 3, 3], "none of them runs on the main runtime");
        let left = seats.remove(4);
        let lane = in_lane(&left, async { here() }).await;
        drop(left);
        assert_eq!(in_lane(&lanes.enter(), async { here() }).await, lane);
    }

    #[tokio::test]
    async fn what_is_done_beside_a_lane_is_done_by_the_main_runtime_and_ends_with_who_asks() {
        let lanes = Lanes::start().unwrap();
        let seat = lanes.enter();
        assert_eq!(here(), MAIN);
        assert_eq!(
            in_lane(&seat, async { beside(async { here() }).await }).await,
            MAIN
        );
        assert_eq!(beside(async { here() }).await, MAIN);

        let (held, dropped) = oneshot::channel::<()>();
        let (begun, began) = oneshot::channel();
        let asking = seat.handle().spawn(beside(async move {
            begun.send(()).unwrap();
            std::future::pending::<()>().await;
            drop(held);
        }));
        began.await.unwrap();
        asking.abort();
        let ended = tokio::time::timeout(PATIENCE, dropped).await;
        assert!(
            ended.expect("ended in time").is_err(),
            "dropped, not sent to"
        );

        let panicked = seat.handle().spawn(beside(async { panic!("on purpose") }));
        assert!(panicked.await.unwrap_err().is_panic());
    }

    #[tokio::test]
    async fn a_lane_ends_with_what_goes_on_in_it() {
        let lanes = Lanes::start().unwrap();
        let seat = lanes.enter();
        let (held, dropped) = oneshot::channel::<()>();
        seat.handle().spawn(async move {
            std::future::pending::<()>().await;
            drop(held);
        });
        drop(lanes);
        let ended = tokio::time::timeout(PATIENCE, dropped).await;
        assert!(ended.expect("ended in time").is_err());
    }
}
