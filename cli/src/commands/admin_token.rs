//! Makes a new admin token for a host that does not run.

use hersh_host::{IssueError, IssuedToken};
use hersh_journal::Home;

use crate::{failure::Failure, output};

/// Makes a new admin token without a running host.
pub(super) async fn issue(home: Home, revoke_others: bool) -> Result<IssuedToken, Failure> {
    let issued = hersh_host::issue_admin_token(home, output::now_ms(), revoke_others).await;
    issued.map_err(not_issued)
}

pub(super) fn not_issued(error: IssueError) -> Failure {
    match error {
        IssueError::Missing(_) => Failure::Input(error.to_string()),
        IssueError::Lock(_) | IssueError::Open(_) | IssueError::Bootstrap(_) => {
            Failure::Failed(error.to_string())
        }
    }
}
