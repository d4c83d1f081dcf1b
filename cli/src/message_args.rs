//! The arguments of what is about a watcher's messages.

use clap::Args;

/// `hersh send`
#[derive(Args, Debug)]
pub(crate) struct SendOptions {
    /// Wait until its run is committed, 25 s at most, and show what the run replied.
    #[arg(short, long)]
    pub(crate) wait: bool,
    /// A key that names the message: sent again under it within a day, it still has one run.
    #[arg(short, long)]
    pub(crate) key: Option<String>,
    /// The program's name.
    pub(crate) program: String,
    /// The message; it may begin with a dash. Several words are joined by blanks.
    #[arg(allow_hyphen_values = true)]
    pub(crate) message: String,
    /// More words.
    #[arg(allow_negative_numbers = true, hide = true)]
    pub(crate) more: Vec<String>,
}

/// `hersh inbox`
#[derive(Args, Debug)]
pub(crate) struct InboxOptions {
    /// The program's name.
    pub(crate) program: String,
    /// Send the message with this number again.
    #[arg(long, value_name = "NUMBER", conflicts_with = "drop")]
    pub(crate) again: Option<u64>,
    /// Drop the message with this number for good.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) drop: Option<u64>,
}
