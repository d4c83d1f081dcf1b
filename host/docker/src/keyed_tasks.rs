//! Runs tasks under keys: for each key one task at a time, and at most one task that waits behind it.
//!
//! ```text
//! begin(key) ─► its task ─► ended
//!      └─ one is under way ─► waits behind it; a newer one takes its place
//! ```

use std::{collections::HashMap, future::pending, hash::Hash};

use futures_util::future::BoxFuture;
use tokio::task::{Id, JoinError, JoinSet};

/// Tasks under keys. All tasks end when this value is dropped.
pub(super) struct KeyedTasks<K, T> {
    tasks: JoinSet<T>,
    keys: HashMap<Id, K>,
    /// The tasks under way, by key, each with the task that waits behind it.
    behind: HashMap<K, Option<BoxFuture<'static, T>>>,
}

impl<K: Clone + Eq + Hash, T: Send + 'static> KeyedTasks<K, T> {
    pub(super) fn new() -> Self {
        Self {
            tasks: JoinSet::new(),
            keys: HashMap::new(),
            behind: HashMap::new(),
        }
    }

    /// Begins a task, at once or when the task under way under its key is over. A task that waits
    /// already is replaced.
    pub(super) fn begin(&mut self, key: K, task: impl Future<Output = T> + Send + 'static) {
        if let Some(behind) = self.behind.get_mut(&key) {
            *behind = Some(Box::pin(task));
        } else {
            let task = self.tasks.spawn(task);
            self.keys.insert(task.id(), key.clone());
            self.behind.insert(key, None);
        }
    }

    /// Returns whether a task is under way under this key.
    pub(super) fn is_under_way(&self, key: &K) -> bool {
        self.behind.contains_key(key)
    }

    /// Waits until a task ends, and forever while there are none. The future may be dropped at any time
    /// without losing a result.
    ///
    /// # Errors
    /// [`JoinError`] of a task that panicked.
    pub(super) async fn ended(&mut self) -> Result<T, JoinError> {
        let Some(ended) = self.tasks.join_next_with_id().await else {
            return pending().await;
        };
        self.clear(ended)
    }

    /// Returns the result of a task that has ended and that nobody took yet.
    pub(super) fn ended_already(&mut self) -> Option<Result<T, JoinError>> {
        let ended = self.tasks.try_join_next_with_id()?;
        Some(self.clear(ended))
    }

    /// Takes a task off the list and begins the one that waits behind it.
    fn clear(&mut self, ended: Result<(Id, T), JoinError>) -> Result<T, JoinError> {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        if let Some(key) = self.keys.remove(&id)
            && let Some(task) = self.behind.remove(&key).flatten()
        {
            self.begin(key, task);
        }
        ended.map(|(_, outcome)| outcome)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn an_errand_that_never_ends_holds_up_its_own_key_only() {
        let mut tasks = KeyedTasks::new();
        tasks.begin("a", pending());
        tasks.begin("a", async { 1 });
        tasks.begin("b", async { 2 });
        assert_eq!(tasks.ended().await.unwrap(), 2);
        assert!(tasks.is_under_way(&"a"));
        assert!(!tasks.is_under_way(&"b"));
        assert!(tasks.ended().now_or_never().is_none());
    }

    #[tokio::test]
    async fn the_newest_that_came_meanwhile_is_the_next() {
        let mut tasks = KeyedTasks::new();
        for number in 1..=4 {
            tasks.begin("a", async move { number });
        }
        assert_eq!(tasks.ended().await.unwrap(), 1);
        assert_eq!(tasks.ended().await.unwrap(), 4);
        assert!(!tasks.is_under_way(&"a"));
    }

    #[tokio::test]
    async fn one_that_panics_makes_room_for_the_next() {
        let mut tasks = KeyedTasks::<_, u8>::new();
        tasks.begin("a", async { panic!("a defect") });
        tasks.begin("a", async { 2 });
        assert!(tasks.ended().await.is_err());
        assert_eq!(tasks.ended().await.unwrap(), 2);
    }
}
