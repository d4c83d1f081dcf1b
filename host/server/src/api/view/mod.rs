//! Turns domain types into the wire types that the API shows. Only this module knows both.

mod account;
mod program;
mod stats;

pub(super) use account::{quota, role, scope, user_view};
pub(super) use program::{build_view, event_view, log_line, program_view, receipt_view};
pub(super) use stats::stats_view;
