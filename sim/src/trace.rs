//! What happened, in order: equal seeds give equal traces.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::time::Instant;

/// The last lines that are kept to be shown.
const SHOWN_LINES_MAX: usize = 60;

/// The trace of one run. All of it is hashed, the end of it is kept.
pub(crate) struct Trace {
    inner: Mutex<Inner>,
    /// The folder of the data, which is another one each time.
    folder: String,
}

#[derive(Default)]
struct Inner {
    hash: DefaultHasher,
    count: u64,
    last: VecDeque<String>,
    life: u64,
    began: Option<Instant>,
}

impl Trace {
    pub(crate) fn new(data: &Path) -> Self {
        Self {
            inner: Mutex::default(),
            folder: data.to_string_lossy().into_owned(),
        }
    }

    /// A new host: its lines carry its number and the time since now.
    pub(crate) fn begin_life(&self) {
        let mut inner = self.lock();
        inner.life += 1;
        inner.began = Some(Instant::now());
    }

    /// Adds a line.
    pub(crate) fn say(&self, line: &str) {
        let mut inner = self.lock();
        let since_ms = inner.began.map_or(0, |began| began.elapsed().as_millis());
        let line = self.mask(line);
        let line = format!("{}:{since_ms:>8} ms  {line}", inner.life);
        line.hash(&mut inner.hash);
        inner.count += 1;
        if inner.last.len() == SHOWN_LINES_MAX {
            inner.last.pop_front();
        }
        inner.last.push_back(line);
    }

    /// Adds something too long to be shown to the hash.
    pub(crate) fn hash(&self, text: &str) {
        self.mask(text).hash(&mut self.lock().hash);
    }

    /// The hash of all, how many lines there were, and the last of them.
    pub(crate) fn end(&self) -> (u64, u64, Vec<String>) {
        let inner = self.lock();
        let last = inner.last.iter().cloned().collect();
        (inner.hash.finish(), inner.count, last)
    }

    fn mask(&self, text: &str) -> String {
        text.replace(&self.folder, "DATA")
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
