//! Whole watchers in virtual time: the real loop, a paused clock, no thread, no socket.

mod acting;
mod chaos;
mod ends;
mod failures;
mod flowing;
#[cfg(feature = "api")]
mod health;
mod hooks;
mod mail;
mod recording;
mod remembering;
mod signals;
mod timing;
mod unwatching;
mod watching;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::testing::play_here;
use crate::{Builder, Context, Ending, Error, Watched, Watcher};

/// Runs a watcher beside a script that holds its handle, until both are over.
async fn play<F, E>(builder: Builder, managed: F, script: impl AsyncFnOnce(&Watcher)) -> Ending
where
    F: AsyncFnMut(&mut Context) -> Result<(), E>,
    E: Into<Error>,
{
    let playing = play_here(builder, managed, script);
    LocalSet::new().run_until(playing).await
}

/// Default settings.
fn plain() -> Builder {
    Watcher::builder("test")
}

/// Notes with the virtual time at which they were made.
#[derive(Clone)]
struct Notes {
    start: Instant,
    notes: Rc<RefCell<Vec<(u64, String)>>>,
}

impl Notes {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            notes: Rc::default(),
        }
    }

    fn add(&self, note: impl Into<String>) {
        let at_ms = u64::try_from(self.start.elapsed().as_millis()).unwrap();
        self.notes.borrow_mut().push((at_ms, note.into()));
    }

    fn texts(&self) -> Vec<String> {
        let notes = self.notes.borrow();
        notes.iter().map(|(_, text)| text.clone()).collect()
    }

    fn times_ms(&self) -> Vec<u64> {
        self.notes.borrow().iter().map(|(at, _)| *at).collect()
    }
}

/// Lets `ms` of virtual time pass.
async fn pass(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// Makes a note when it is dropped.
struct Guard(Notes, &'static str);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.add(self.1);
    }
}

/// Returns `value error initial triggered` of a variable.
fn seen<T: std::fmt::Debug>(value: &Watched<T>, cx: &Context) -> String {
    let error = value.error().unwrap_or("-");
    let (initial, triggered) = (value.is_initial(), value.is_triggered(cx));
    format!("{:?} {error} {initial} {triggered}", **value)
}

/// Lets every commit of a watcher fail from now on.
fn break_disk(folder: &tempfile::TempDir) {
    std::fs::write(folder.path().join(crate::store::FAILS), "").unwrap();
}

fn mend_disk(folder: &tempfile::TempDir) {
    std::fs::remove_file(folder.path().join(crate::store::FAILS)).unwrap();
}
