//! What becomes of programs, in words for people.

mod events;
mod folders;
mod line;
mod not_ready;
mod state;

pub(crate) use events::record_words;
pub(crate) use folders::without_folders;
pub(crate) use line::one_line;
pub(crate) use not_ready::not_ready;
pub(crate) use state::{STATE_NAMES, state_name};
