//! The stored output of programs and builds: bounded files that can be read from their end and followed.

mod build_log;
mod build_log_reader;
mod log_file;
mod log_store;
mod logs;

pub use build_log::{BUILD_LOG_BYTES, BuildLog};
pub use build_log_reader::BuildLogReader;
pub use log_file::Marks;
pub use log_store::{FOLLOW_LINES, LogStore, LogSubscription};
pub use logs::{CAUSE_LINES, LINE_BYTES, LogLine, Stream, for_cause, normal_time};
