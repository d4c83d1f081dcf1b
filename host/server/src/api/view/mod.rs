//! What the API shows: the only place that knows domain types and wire types.

mod account;
mod program;
mod stats;

pub(super) use account::{quota, role, scope, user_view};
pub(super) use program::{build_view, event_view, log_line, program_view, receipt_view};
pub(super) use stats::stats_view;
