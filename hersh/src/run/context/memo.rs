//! The hooks that remember: computed once, kept for the life of the watcher.

use std::any::type_name;
use std::sync::Arc;

use super::Context;
use crate::error::check_name;
use crate::{Error, HookError, MEMO_LIMIT};

impl Context {
    /// Returns a value that is computed once and then kept until the watcher ends or the value is
    /// cleared: a client, a table, a parsed file. The value is not durable, and need not be data.
    ///
    /// When `compute` panics the run fails, and nothing is kept.
    ///
    /// ```
    /// # hersh::testing::once(async |cx: &mut hersh::Context| -> hersh::Result {
    /// let squares = cx.memo("squares", || (0..1_000_u64).map(|n| n * n).collect::<Vec<_>>())?;
    /// assert_eq!(squares[12], 144);
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// [`HookError`] when the name is unusable or taken for another type, or [`MEMO_LIMIT`]
    /// values are kept.
    pub fn memo<T: Send + Sync + 'static>(
        &mut self,
        name: &str,
        compute: impl FnOnce() -> T,
    ) -> Result<Arc<T>, HookError> {
        match self.memoised("memo", name)? {
            Some(value) => Ok(value),
            None => Ok(self.keep(name, compute())),
        }
    }

    /// Like [`Context::memo`], for a computation that waits or may fail. An error is not kept:
    /// the next run tries again.
    ///
    /// ```
    /// # hersh::testing::once(async |cx: &mut hersh::Context| -> hersh::Result {
    /// # async fn connect() -> Result<String, std::io::Error> { Ok("client".into()) }
    /// let client = cx.memo_async("client", async || connect().await).await?;
    /// # assert_eq!(*client, "client");
    /// # Ok(())
    /// # });
    /// ```
    ///
    /// # Errors
    /// What `compute` fails with, and as [`Context::memo`].
    pub async fn memo_async<T, E>(
        &mut self,
        name: &str,
        compute: impl AsyncFnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, Error>
    where
        T: Send + Sync + 'static,
        E: Into<Error>,
    {
        match self.memoised("memo_async", name)? {
            Some(value) => Ok(value),
            None => {
                let value = compute().await.map_err(Into::into)?;
                Ok(self.keep(name, value))
            }
        }
    }

    /// Forgets a memoised value, so that the next call computes it anew. Returns whether there was
    /// one.
    pub fn clear_memo(&mut self, name: &str) -> bool {
        self.memos.remove(name, &self.shared.memos)
    }

    /// Returns the kept value; `None` when it may be computed.
    fn memoised<T: Send + Sync + 'static>(
        &self,
        hook: &'static str,
        name: &str,
    ) -> Result<Option<Arc<T>>, HookError> {
        check_name(hook, name)?;
        match self.memos.get(name) {
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(registered)) => Err(HookError::Clash {
                hook,
                name: name.into(),
                registered: format!("a memo of type {registered}"),
                asked: format!("a memo of type {}", type_name::<T>()),
            }),
            None if self.memos.len() >= MEMO_LIMIT => Err(HookError::Limit {
                hook,
                name: name.into(),
                limit: MEMO_LIMIT,
            }),
            None => Ok(None),
        }
    }

    fn keep<T: Send + Sync + 'static>(&mut self, name: &str, value: T) -> Arc<T> {
        let value = Arc::new(value);
        let memos = &self.shared.memos;
        self.memos.insert(name, value.clone(), self.now, memos);
        value
    }
}
