//! What crosses the wire between a Hersh host and its clients, version 1.
//!
//! Plain data: requests, replies, the manifest as people write it, and problem details with
//! stable codes; and what both sides must read alike: the end of an archive, `.dockerignore`. Nothing here knows how a host works; the host converts these types to its own in
//! one place.

mod account;
mod archive;
mod ignore;
mod manifest;
mod plain;
mod problem;
mod program;
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
pub use ignore::{IGNORE_BYTES_MAX, Ignore, IgnoreError, Looked};
pub use manifest::{
    BUILD_ARGS_HEADER, Build, Manifest, Network, ProbeKind, Proxy, Readiness, Resources, Restart,
    Timeouts,
};
pub use plain::{is_hidden, shown};
pub use problem::{Code, Problem};
pub use program::{
    BuildList, BuildView, CauseView, CreateProgram, EventList, EventView, Evidence, Health,
    LogLine, ProgramCreated, ProgramList, ProgramView, PropertyView, ReceiptView, RetryView,
    VerifiedContract,
};
pub use stats::StatsView;
pub use units::{ByteSize, Span, UnitError};
