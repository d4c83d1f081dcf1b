//! What is known of one target: pure, and durable between restarts.

use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::Answer;

/// The past of one target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// How it was when it was last asked; `None` when it never was.
    pub last: Option<State>,
    /// How often it was asked.
    pub asked: u64,
    /// How often it was not well.
    pub failed: u64,
}

/// How a target is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Whether it is well.
    pub up: bool,
    /// Since when, whole seconds of the Unix epoch.
    pub since_s: u64,
    /// How long its last good answer took.
    pub response_ms: Option<u64>,
    /// What is wrong with it, if anything.
    pub fault: Option<String>,
}

impl History {
    /// Takes in what a target answered, or its fault; gives back what is news.
    pub fn add(
        &mut self,
        answer: Option<&Answer>,
        fault: Option<&str>,
        now: SystemTime,
    ) -> Option<String> {
        let now_s = seconds(now);
        let up = fault.is_none();
        self.asked += 1;
        self.failed += u64::from(!up);
        let before = self.last.take();
        let was_up = before.as_ref().map(|state| state.up);
        let since_s = before.as_ref().map_or(now_s, |state| state.since_s);
        self.last = Some(State {
            up,
            since_s: if was_up == Some(up) { since_s } else { now_s },
            response_ms: answer.map(|answer| answer.response_ms),
            fault: fault.map(Into::into),
        });
        let lasted = humantime::format_duration(Duration::from_secs(now_s.saturating_sub(since_s)));
        match (was_up, fault) {
            (None, None) => Some("is up".into()),
            (Some(false), None) => Some(format!("is up again after {lasted}")),
            (None | Some(true), Some(fault)) => Some(format!("is down: {fault}")),
            (Some(true), None) | (Some(false), Some(_)) => None,
        }
    }
}

fn seconds(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

/// What stands behind the target's name in a report.
impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(state) = &self.last else {
            return f.write_str("was not asked yet");
        };
        let since = SystemTime::UNIX_EPOCH + Duration::from_secs(state.since_s);
        let since = humantime::format_rfc3339_seconds(since);
        match &state.fault {
            None => write!(f, "is up since {since}")?,
            Some(fault) => write!(f, "is down since {since}: {fault}")?,
        }
        if let Some(response_ms) = state.response_ms {
            write!(f, "; it last answered in {response_ms} ms")?;
        }
        write!(f, "; {} of {} answers were bad", self.failed, self.asked)
    }
}
