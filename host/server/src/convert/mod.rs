//! Domain types to wire types and back: the only place that knows both.

mod account;
mod folders;
mod machine;
mod manifest;
mod not_ready;
mod reach;
mod recipe;
mod stats;
mod view;
mod words;

pub(crate) use account::{quota, role, scope, token_view, user_view};
pub(crate) use folders::without_folders;
pub(crate) use machine::fits;
pub(crate) use manifest::{ManifestError, manifest};
pub(crate) use not_ready::not_ready;
pub(crate) use stats::stats_view;
#[cfg(any(test, feature = "testkit"))]
pub(crate) use view::manifest_view;
pub(crate) use view::{
    STATE_NAMES, build_view, event_view, log_line, program_view, receipt_view, state_name,
};
