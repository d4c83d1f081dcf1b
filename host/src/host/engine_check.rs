//! Whether the engine can work, asked at most every so often: anybody may ask.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::runtime::{Runtime, Unavailable};

/// How long an answer is good for.
const FRESH: Duration = Duration::from_secs(2);

/// How long the engine may take to answer. One that locked up takes questions and answers none.
const ANSWER: Duration = Duration::from_secs(5);

type Answer = Result<(), Unavailable>;

/// The engine's last answer.
#[derive(Debug, Default)]
pub(crate) struct EngineCheck(Mutex<Option<(Instant, Answer)>>);

impl EngineCheck {
    /// The engine's answer, at most two seconds old. One question is under way at a time.
    ///
    /// # Errors
    /// [`Unavailable`] as the engine says, or when it says nothing in time.
    pub(crate) async fn get(&self, runtime: &dyn Runtime) -> Answer {
        let mut last = self.0.lock().await;
        if let Some((at, answer)) = &*last
            && at.elapsed() < FRESH
        {
            return answer.clone();
        }
        let answer = match tokio::time::timeout(ANSWER, runtime.check()).await {
            Ok(answer) => answer.map(|_info| ()),
            Err(_late) => Err(Unavailable {
                message: format!("the container engine gave no answer within {ANSWER:?}"),
            }),
        };
        *last = Some((Instant::now(), answer.clone()));
        answer
    }
}
