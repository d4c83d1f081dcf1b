//! Checks whether the host can work.

use std::time::Duration;

use hersh_journal::JournalError;

use super::Host;
use crate::disks::DiskFullError;
use hersh_sandbox::Unavailable;

/// How long engine and journal may take to answer: an engine that locked up takes questions and
/// answers none, and so does a disk that hangs.
const ANSWER: Duration = Duration::from_secs(5);
/// The journal's key that is written to see that the journal can be written.
const META_PROBE: &str = "probe";

/// Why a host can't work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadinessError {
    /// Programs can't be started.
    #[error(transparent)]
    Engine(#[from] Unavailable),
    /// A disk is nearly full.
    #[error(transparent)]
    Space(#[from] DiskFullError),
    /// What is asked for can't be stored.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Host {
    /// Checks that there is space, that the journal can be written, and that the engine can start programs.
    ///
    /// # Errors
    /// [`ReadinessError`] for the first fault that is found.
    pub(crate) async fn check_ready(&self) -> Result<(), ReadinessError> {
        self.disks().check()?;
        self.check_journal().await?;
        Ok(self.check_engine().await?)
    }

    async fn check_journal(&self) -> Result<(), JournalError> {
        let written = async {
            let value = self.now_ms().to_string();
            let written = self.journal().set_meta(META_PROBE, value);
            let late = || JournalError::Sqlite(format!("nothing was written within {ANSWER:?}"));
            let written = tokio::time::timeout(ANSWER, written).await;
            written.unwrap_or_else(|_late| Err(late()))
        };
        self.0.journal_check.get(written).await
    }

    async fn check_engine(&self) -> Result<(), Unavailable> {
        let asked = async {
            let answer = tokio::time::timeout(ANSWER, self.runtime().check()).await;
            answer
                .unwrap_or_else(|_late| {
                    Err(Unavailable {
                        message: format!("the container engine gave no answer within {ANSWER:?}"),
                    })
                })
                .map(|_info| ())
        };
        self.0.engine_check.get(asked).await
    }
}
