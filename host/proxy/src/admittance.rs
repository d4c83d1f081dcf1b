//! What the proxy is told of whoever asks: all that it needs to know of accounts and connections.

use std::{net::IpAddr, pin::Pin};

use hersh_base::permits::Share;
use hersh_program::UserId;
use tokio_util::sync::CancellationToken;

/// Who asks, as a program is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client's address.
    pub address: IpAddr,
    /// What the client speaks to reach the host: `http` or `https`.
    pub scheme: &'static str,
}

/// Something that is kept for as long as what was opened is open.
pub type Guard = Box<dyn Send + Sync>;

/// By what a request was let in. Whoever let it in answers, and is asked only about what takes a while.
pub trait Admittance: Sync {
    /// Returns whether the client would be let in now as it was then.
    fn holds(&self) -> bool;

    /// Sees to it that the client's connection is cut once the client would not be let in any more, or
    /// `container` is cancelled, until the guard is dropped. A body that nobody reads does nothing, so
    /// it can't see to its own end.
    fn watch(&self, container: CancellationToken) -> Option<Guard>;

    /// Returns what a tunnel needs, which outlives the request.
    fn tunnel(&self) -> TunnelRight;
}

/// By what a tunnel is open.
pub struct TunnelRight {
    /// The user whose tunnel it is.
    pub user: UserId,
    /// Which of the places for tunnels the user may have.
    pub share: Share,
    /// Resolves when the client would not be let in any more.
    pub revoked: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// The client's connection, which is the tunnel's until its end.
    pub connection: Option<Guard>,
}
