//! Chores that are also tests: `tidy` runs as one.

pub mod tidy;
