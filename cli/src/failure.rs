//! Failures of a command, with their exit codes.

use hersh_wire::{Code, Problem};
use serde_json::json;

/// The reason why a command did not do what was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The operation failed.
    Failed(String),
    /// The command line can't be read.
    Usage(String),
    /// The input can't be used.
    Input(String),
    /// No token, or none that can be read.
    Token(String),
    /// The host does not answer.
    Unreachable(String),
    /// The host can't do this now.
    Unavailable(String),
    /// The host refused.
    Refused(Problem),
    /// The data on the host's disk can't be used as it is. Another start of the host does not help.
    NeedsPerson(String),
    /// Somebody pressed Ctrl-C.
    Interrupted(String),
}

impl Failure {
    /// Returns the exit code, as `hersh --help` lists them.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Input(_) => 3,
            Self::Token(_) => 5,
            Self::Unreachable(_) => 6,
            Self::Unavailable(_) => 7,
            Self::NeedsPerson(_) => 8,
            Self::Interrupted(_) => 130,
            Self::Refused(problem) => match problem.code {
                Code::BadRequest
                | Code::BadManifest
                | Code::BadSource
                | Code::TooLarge
                | Code::QuotaExceeded
                | Code::IdempotencyMismatch
                | Code::AlreadyExists => 3,
                Code::NotFound => 4,
                Code::Unauthorized | Code::Forbidden => 5,
                Code::EngineUnavailable
                | Code::ShuttingDown
                | Code::StorageFull
                | Code::QueueFull
                | Code::RateLimited => 7,
                Code::MethodNotAllowed
                | Code::NotAcceptable
                | Code::RequestTimeout
                | Code::Conflict
                | Code::NotReady
                | Code::BadGateway
                | Code::GatewayTimeout
                | Code::WaitTimedOut
                | Code::Internal => 1,
            },
        }
    }
}

impl Failure {
    /// Returns the failure as JSON for programs. Its code is the host's own, if there is one, otherwise it
    /// names the kind of failure.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let code = match self {
            Self::Failed(_) => "failed",
            Self::Usage(_) => "wrong_usage",
            Self::Input(_) => "bad_input",
            Self::Token(_) => "no_token",
            Self::Unreachable(_) => "unreachable",
            Self::Unavailable(_) => "unavailable",
            Self::NeedsPerson(_) => "unusable",
            Self::Interrupted(_) => "interrupted",
            Self::Refused(problem) => problem.code.name(),
        };
        let state = match self {
            Self::Refused(problem) => problem.state.as_deref(),
            Self::Failed(_)
            | Self::Usage(_)
            | Self::Input(_)
            | Self::Token(_)
            | Self::Unreachable(_)
            | Self::Unavailable(_)
            | Self::NeedsPerson(_)
            | Self::Interrupted(_) => None,
        };
        let mut error = json!({
            "code": code,
            "message": self.to_string(),
            "exit_code": self.exit_code(),
        });
        if let Some(state) = state {
            error["state"] = state.into();
        }
        json!({ "error": error })
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(message)
            | Self::Usage(message)
            | Self::Input(message)
            | Self::Token(message)
            | Self::Unreachable(message)
            | Self::Unavailable(message)
            | Self::NeedsPerson(message)
            | Self::Interrupted(message) => f.write_str(message),
            Self::Refused(problem) if problem.code == Code::Unauthorized => f.write_str(
                "the host does not know this token, or it has expired: set HERSH_TOKEN to one of yours, or name the file that holds it with --token-file or HERSH_TOKEN_FILE; an admin makes one with 'hersh token create --user YOU'",
            ),
            Self::Refused(problem) => f.write_str(&problem.detail),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_not_restarted_for_what_a_restart_meets_again() {
        let unit = include_str!("../../deploy/hersh-host.service");
        let listed = unit
            .lines()
            .find_map(|line| line.strip_prefix("RestartPreventExitStatus="))
            .unwrap();
        let listed: Vec<u8> = listed
            .split(' ')
            .map(|code| code.parse().unwrap())
            .collect();
        let code = |failure: fn(String) -> Failure| failure(String::new()).exit_code();
        for fatal in [Failure::Input, Failure::NeedsPerson] {
            assert!(listed.contains(&code(fatal)));
        }
        for passing in [Failure::Failed, Failure::Unavailable] {
            assert!(!listed.contains(&code(passing)));
        }
    }

    #[test]
    fn programs_read_code_message_state_and_exit_code() {
        let mut problem = Problem::new(Code::NotReady, "counter is starting");
        problem.state = Some("Building".to_owned());
        let refused = Failure::Refused(problem).to_json();
        assert_eq!(
            refused,
            json!({ "error": {
                "code": "not_ready",
                "message": "counter is starting",
                "exit_code": 1,
                "state": "Building",
            } })
        );
        let unreachable = Failure::Unreachable("nobody there".to_owned()).to_json();
        assert_eq!(unreachable["error"]["code"], "unreachable");
        assert_eq!(unreachable["error"]["exit_code"], 6);
        assert_eq!(unreachable["error"].get("state"), None);
    }
}
