//! Turns domain types into the wire types that the API shows. Only this module knows both.

mod account;
mod cause;
mod program;
mod revision;
mod stats;

pub(super) use account::{quota, role, scope, user_view};
pub(super) use program::{build_view, event_view, log_line, program_view, receipt_view};
pub(super) use revision::revision_list;
pub(super) use stats::stats_view;
