//! Domain types to wire types and back: the only place that knows both.

mod manifest;
mod view;

pub(crate) use manifest::{ManifestError, manifest};
pub(crate) use view::{event_view, log_line, program_view, receipt_view, state_name};
