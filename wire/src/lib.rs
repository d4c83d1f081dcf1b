//! The data that a Hersh host and its clients exchange, version 1.
//!
//! It holds plain data: requests, replies, the manifest as people write it, and problem details with stable
//! codes. It also holds the code that client and host must share: the end of an archive, and `.dockerignore`.
//! Nothing here knows how a host works; the host converts these types to its own in one file.

mod account;
mod archive;
mod cause;
mod deploy;
mod ignore;
mod liveness;
mod manifest;
mod plain;
mod problem;
mod program;
mod restart;
mod revision;
mod stats;
mod units;

pub use account::{
    AuditList, AuditView, ChangeUser, CreateToken, CreateUser, Quota, Role, Scope, TokenCreated,
    TokenList, TokenView, Usage, UserList, UserView, Whoami,
};
pub use archive::{
    ARCHIVE_COUNTED, ARCHIVE_ENTRIES, ARCHIVE_SHA256, SOURCE_BYTES_MAX, SOURCE_DEPTH_MAX,
    SOURCE_ENTRIES_MAX, SOURCE_PATH_BYTES_MAX,
};
pub use cause::CauseView;
pub use deploy::{Deploy, DeployStrategy};
pub use ignore::{IGNORE_BYTES_MAX, Ignore, IgnoreError, IgnoreMatch};
pub use liveness::{Liveness, LivenessKind, OnFailure};
pub use manifest::{
    BUILD_ARGS_HEADER, Build, Manifest, Network, ProbeKind, Proxy, Readiness, Resources, Timeouts,
};
pub use plain::{is_hidden, shown};
pub use problem::{Code, Problem};
pub use program::{
    BuildList, BuildView, CreateProgram, EventList, EventView, Evidence, Health, LogLine,
    NotAliveView, ProgramList, ProgramView, PropertyView, ReceiptView, RetryView, SourceAccepted,
    VerifiedContract,
};
pub use restart::{Restart, RestartPolicy};
pub use revision::{
    REVISION_MESSAGE_CHARS_MAX, RevisionList, RevisionMessageError, RevisionView, RolloutEndView,
    RolloutOutcome, RolloutStep, RolloutView, check_revision_message,
};
pub use stats::StatsView;
pub use units::{ByteSize, Span, UnitError};
