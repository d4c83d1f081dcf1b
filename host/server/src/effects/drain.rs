//! The end of the requests that are under way with an instance that leaves its program.

use std::{future::Future, pin::Pin, time::Duration};

use hersh_program::{Cause, InstanceNumber, Instances, OperationContext, ProgramId};

/// A function that lets the requests under way with an instance of a program end, at most for this long, and then
/// ends the rest.
pub(crate) type Drain = Box<
    dyn Fn(&ProgramId, InstanceNumber, Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>
        + Send
        + Sync,
>;

/// Lets the requests under way with an instance end, before it is stopped.
///
/// # Errors
/// Any cause, when the stop is cancelled: nobody hears of it, and the instance goes on.
pub(super) async fn wait(
    drain: &Drain,
    operation: &OperationContext,
    instances: Instances,
    drain_ms: u64,
) -> Result<(), Cause> {
    let number = match instances {
        Instances::One(number) if drain_ms > 0 => number,
        Instances::One(_) | Instances::All => return Ok(()),
    };
    let patience = Duration::from_millis(drain_ms);
    tokio::select! {
        () = drain(&operation.program, number, patience) => Ok(()),
        () = operation.cancel.cancelled() => Err(Cause::HostRestarted),
    }
}
