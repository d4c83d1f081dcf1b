//! Answers that are good for a while: anybody may ask whether the host is ready.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

/// How long an answer is good for.
const FRESH: Duration = Duration::from_secs(2);

/// The last answer to a question.
#[derive(Debug)]
pub(crate) struct RecentAnswer<T>(Mutex<Option<(Instant, T)>>);

impl<T> Default for RecentAnswer<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone> RecentAnswer<T> {
    /// Returns the last answer if it is at most two seconds old, else what `ask` says now. One question is
    /// under way at a time.
    pub(crate) async fn get(&self, ask: impl Future<Output = T>) -> T {
        let mut last = self.0.lock().await;
        if let Some((at, answer)) = &*last
            && at.elapsed() < FRESH
        {
            return answer.clone();
        }
        let answer = ask.await;
        *last = Some((Instant::now(), answer.clone()));
        answer
    }
}
