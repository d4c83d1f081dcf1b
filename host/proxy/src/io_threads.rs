//! The threads that carry connections: each has a reactor, timers and connections to programs of
//! its own, and shares none of them while it answers.
//!
//! ```text
//! accept ──► the I/O thread with the fewest connections ──► reads of a program's watcher are answered there
//!                                                 └─► everything else, beside it by the main runtime
//! ```
//! A tokio runtime that moves work between threads serves the host's many kinds of work well. But a proxy
//! with short requests pays much for each move: on two processors, one thread alone passed more requests
//! than two threads that share work, and two threads that share nothing pass more than one.

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

/// The most I/O threads of one host. Up to this number, a host has one for each processor.
const IO_THREADS_MAX: usize = 16;

/// The number of an I/O thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IoThreadId(usize);

/// The id that stands for the main runtime's threads, which are no I/O threads.
const MAIN: IoThreadId = IoThreadId(0);

thread_local! {
    /// The id of this I/O thread, and the main runtime; `None` on all other threads.
    static HERE: RefCell<Option<(IoThreadId, Handle)>> = const { RefCell::new(None) };
}

/// The I/O threads of one host. When this is dropped, they end with all that goes on in them.
pub struct IoThreads(Vec<IoThread>);

struct IoThread {
    handle: Handle,
    connections: Arc<AtomicUsize>,
    /// Ends the thread when this is dropped.
    _end: oneshot::Sender<()>,
}

/// One connection of an I/O thread, counted until this is dropped.
pub struct ThreadShare {
    handle: Handle,
    connections: Arc<AtomicUsize>,
}

impl IoThreads {
    /// Returns no I/O threads: everything runs on the runtime of its caller.
    #[cfg(any(test, feature = "testkit"))]
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// Starts one I/O thread for each processor. An I/O thread with nothing to do takes no processor time.
    /// The runtime that this is called in becomes the main runtime.
    ///
    /// # Errors
    /// Fails when the system gives no more threads or descriptors.
    pub fn start() -> io::Result<Self> {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self::start_so_many(processors.min(IO_THREADS_MAX))
    }

    fn start_so_many(count: usize) -> io::Result<Self> {
        let io_threads = (1..=count).map(|number| IoThread::start(IoThreadId(number)));
        io_threads.collect::<io::Result<_>>().map(Self)
    }

    /// Chooses the I/O thread with the fewest connections, and counts one more for it.
    pub fn enter(&self) -> ThreadShare {
        let count = |io_thread: &&IoThread| io_thread.connections.load(Ordering::Relaxed);
        let (handle, connections) = match self.0.iter().min_by_key(count) {
            Some(io_thread) => (io_thread.handle.clone(), Arc::clone(&io_thread.connections)),
            None => (Handle::current(), Arc::default()),
        };
        connections.fetch_add(1, Ordering::Relaxed);
        ThreadShare {
            handle,
            connections,
        }
    }
}

impl IoThread {
    fn start(id: IoThreadId) -> io::Result<Self> {
        let main = Handle::current();
        let (end, ended) = oneshot::channel();
        let (built, building) = mpsc::channel();
        let IoThreadId(number) = id;
        thread::Builder::new()
            .name(format!("io-{number}"))
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

/// Runs one I/O thread until `ended` fires. This function builds the thread's runtime itself: if the
/// caller built it and no thread started, the caller would have to drop it inside another runtime, which
/// panics.
fn run(
    id: IoThreadId,
    main: Handle,
    built: &mpsc::Sender<io::Result<Handle>>,
    ended: oneshot::Receiver<()>,
) {
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            // The caller waits for this message.
            let _ = built.send(Err(error));
            return;
        }
    };
    let _ = built.send(Ok(runtime.handle().clone()));
    HERE.set(Some((id, main)));
    // The result is an error when the sender was dropped, and that is the signal to end.
    let _ = runtime.block_on(ended);
    runtime.shutdown_background();
}

impl ThreadShare {
    /// Returns the I/O thread's runtime.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for ThreadShare {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns the id of the I/O thread that calls this; `MAIN` for any other thread.
pub(crate) fn here() -> IoThreadId {
    HERE.with_borrow(|here| here.as_ref().map_or(MAIN, |(id, _)| *id))
}

/// Does `work` on the main runtime's threads, so that it holds up no I/O thread. The work ends when the
/// returned future is dropped. If the work panics, the caller panics, too.
pub async fn run_on_main<F>(work: F) -> F::Output
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
            // The main runtime has ended, and soon the process ends, too.
            Err(_) => std::future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    async fn in_io_thread<T: Send + 'static>(
        share: &ThreadShare,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let joined = tokio::time::timeout(PATIENCE, share.handle().spawn(work)).await;
        joined.expect("done in time").unwrap()
    }

    #[tokio::test]
    async fn connections_are_spread_and_places_come_free() {
        let io_threads = IoThreads::start_so_many(3).unwrap();
        let mut permits: Vec<ThreadShare> = (0..9).map(|_| io_threads.enter()).collect();
        let mut taken = [0; 4];
        for share in &permits {
            let IoThreadId(number) = in_io_thread(share, async { here() }).await;
            taken[number] += 1;
        }
        assert_eq!(taken, [0, 3, 3, 3], "none of them runs on the main runtime");
        let left = permits.remove(4);
        let io_thread = in_io_thread(&left, async { here() }).await;
        drop(left);
        assert_eq!(
            in_io_thread(&io_threads.enter(), async { here() }).await,
            io_thread
        );
    }

    #[tokio::test]
    async fn work_on_the_main_runtime_ends_with_who_asks() {
        let io_threads = IoThreads::start().unwrap();
        let share = io_threads.enter();
        assert_eq!(here(), MAIN);
        assert_eq!(
            in_io_thread(&share, async { run_on_main(async { here() }).await }).await,
            MAIN
        );
        assert_eq!(run_on_main(async { here() }).await, MAIN);

        let (held, dropped) = oneshot::channel::<()>();
        let (begun, began) = oneshot::channel();
        let asking = share.handle().spawn(run_on_main(async move {
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

        let panicked = share
            .handle()
            .spawn(run_on_main(async { panic!("on purpose") }));
        assert!(panicked.await.unwrap_err().is_panic());
    }

    #[tokio::test]
    async fn a_lane_ends_with_what_goes_on_in_it() {
        let io_threads = IoThreads::start().unwrap();
        let share = io_threads.enter();
        let (held, dropped) = oneshot::channel::<()>();
        share.handle().spawn(async move {
            std::future::pending::<()>().await;
            drop(held);
        });
        drop(io_threads);
        let ended = tokio::time::timeout(PATIENCE, dropped).await;
        assert!(ended.expect("ended in time").is_err());
    }
}
