//! Whether the engine goes on: for whoever starts a watcher again when it does not.
//!
//! The API is served on another thread than the engine's, and asks nobody: it judges what the
//! engine's thread left. So the answer comes while a run blocks that thread.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::reply::Timestamp;
use super::state::Api;
use crate::shared::{Health, Holder, Stall};

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct HealthReply {
    /// `turning`, or `stalled`.
    engine: &'static str,
    /// Why it is stalled.
    cause: Option<&'static str>,
    /// What the watcher is doing, such as `Ready`.
    state: &'static str,
    /// The run that is under way.
    run: Option<RunShown>,
    /// When the last run ended.
    last_run: Option<Timestamp>,
    /// When the next tick, poll or retry is due.
    next_due: Option<Timestamp>,
    /// Since when a save of the durable context or the journal is under way.
    saving: Option<Timestamp>,
}

/// A run that is under way.
#[derive(Serialize, ToSchema)]
struct RunShown {
    /// When it began.
    since: Timestamp,
}

/// Whether the engine goes on, which is not whether it does well: a watcher that idles, that fails
/// and retries or that has not succeeded yet goes on, and so does one whose run awaits something
/// within its time-out. It is stalled when a run is past its time-out by more than 5 s, when a save
/// takes more than 10 s, when its thread has not come back from a run, a poll or the cleanup for
/// more than 10 s or has not taken in for as long what waits or is due, and when it is over.
#[utoipa::path(
    get,
    path = "/watcher/health",
    responses(
        (status = 200, description = "It goes on", body = HealthReply),
        (status = 503, description = "It is stalled", body = HealthReply),
    )
)]
pub(super) async fn health(State(api): State<Arc<Api>>) -> (StatusCode, Json<HealthReply>) {
    let health = api.shared.health().await;
    let code = match health.stall {
        None => StatusCode::OK,
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, Json(health.into()))
}

impl From<Health> for HealthReply {
    fn from(health: Health) -> Self {
        let run = health.run_since_ms.map(|since_ms| RunShown {
            since: Timestamp::from_ms(since_ms),
        });
        Self {
            engine: match health.stall {
                None => "turning",
                Some(_) => "stalled",
            },
            cause: health.stall.map(cause),
            state: health.state.as_str(),
            run,
            last_run: health.last_run_ms.map(Timestamp::from_ms),
            next_due: health.next_due_ms.map(Timestamp::from_ms),
            saving: health.saving_since_ms.map(Timestamp::from_ms),
        }
    }
}

/// Returns one sentence: what is wrong, and what to do if the program can do something.
fn cause(stall: Stall) -> &'static str {
    match stall {
        Stall::Over => "the watcher is over",
        Stall::LateRun => {
            "a run is past its time-out by more than 5 s: it blocks its thread, so move what blocks to hersh::blocking"
        }
        Stall::Held(Holder::Loop) => {
            "a run, the cleanup or a write holds the engine's thread for more than 10 s: move what blocks to hersh::blocking"
        }
        Stall::Held(Holder::Source) => {
            "the source of a variable holds the engine's thread for more than 10 s: move what blocks to hersh::blocking"
        }
        Stall::Save => "a save has been under way for more than 10 s: look at the disk",
        Stall::NotTakenIn => {
            "what waits or is due has not been taken in for more than 10 s: a task on the engine's thread holds it"
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};
    use tokio::time::advance;

    use super::*;
    use crate::WatcherState;
    use crate::base::clock::Clock;
    use crate::inbox::Inbox;
    use crate::shared::{Logbook, Shared};

    fn api() -> Arc<Api> {
        let (clock, inbox) = (Clock::paused(0), Inbox::new(1));
        let shared = Shared::new("x".into(), clock, inbox, Logbook::new(None));
        Arc::new(Api::new(Arc::new(shared), 0, Vec::new))
    }

    async fn ask(api: &Arc<Api>) -> (u16, Value) {
        let (status, Json(reply)) = health(State(api.clone())).await;
        (status.as_u16(), serde_json::to_value(reply).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_blocked_run_is_told_with_its_beginning() {
        let api = api();
        api.shared.publish(WatcherState::Running, 0, 0);
        api.shared.heartbeat.begin_turn(0);
        let mut expected = json!({
            "engine": "turning", "cause": null, "state": "Running", "lastRun": null,
            "run": {"since": "1970-01-01T00:00:00.000Z"}, "nextDue": null, "saving": null,
        });
        advance(Duration::from_secs(10)).await;
        assert_eq!(ask(&api).await, (200, expected.clone()));
        advance(Duration::from_millis(1)).await;
        expected["engine"] = "stalled".into();
        expected["cause"] = cause(Stall::Held(Holder::Loop)).into();
        assert_eq!(ask(&api).await, (503, expected));
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_goes_on_meanwhile_is_not_stalled() {
        let api = api();
        api.shared.publish(WatcherState::Running, 0, 0);
        api.shared.heartbeat.begin_turn(0);
        // Like a process that was frozen for an hour: the clock is ahead of the engine.
        advance(Duration::from_secs(3_600)).await;
        let engine = async {
            tokio::task::yield_now().await;
            api.shared.heartbeat.begin_turn(api.shared.clock.now_ms());
        };
        let ((status, _), ()) = tokio::join!(ask(&api), engine);
        assert_eq!(status, 200);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watcher_that_is_over_goes_on_no_more() {
        for state in WatcherState::ALL {
            let api = api();
            api.shared.publish(state, 0, 0);
            let (status, reply) = ask(&api).await;
            let is_over = matches!(
                state,
                WatcherState::Stopped | WatcherState::Killed | WatcherState::Crashed
            );
            assert_eq!(status, if is_over { 503 } else { 200 }, "{state}");
            assert_eq!(reply["state"], state.as_str());
        }
    }
}
