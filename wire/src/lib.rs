//! What crosses the wire between a Hersh host and its clients, version 1.
//!
//! Plain data: requests, replies, the manifest as people write it, and problem details with
//! stable codes. Nothing here knows how a host works; the host converts these types to its own in
//! one place.

mod account;
mod manifest;
mod problem;
mod program;
mod stats;
mod units;

pub use account::{
    AuditList, AuditView, ChangeUser, CreateToken, CreateUser, Quota, Role, Scope, TokenCreated,
    TokenList, TokenView, Usage, UserList, UserView, Whoami,
};
pub use manifest::{Build, Manifest, Network, ProbeKind, Readiness, Resources, Restart, Timeouts};
pub use problem::{Code, Problem};
pub use program::{
    BuildList, BuildView, CauseView, CreateProgram, EventList, EventView, Health, LogLine,
    ProgramCreated, ProgramList, ProgramView, ReceiptView, RetryView, VerifiedContract,
};
pub use stats::StatsView;
pub use units::{ByteSize, Span, UnitError};
