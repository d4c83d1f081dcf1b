//! What the proxy is told about the client of a request. It needs to know no more about accounts and
//! connections.

use std::{net::IpAddr, pin::Pin};

use hersh_base::permits::Share;
use hersh_program::UserId;
use tokio_util::sync::CancellationToken;

/// The client of a request, as a program is told about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client's address.
    pub address: IpAddr,
    /// The scheme by which the client reaches the host: `http` or `https`.
    pub scheme: &'static str,
}

/// Something that is kept as long as an answer or a tunnel is open.
pub type Guard = Box<dyn Send + Sync>;

/// The right by which a request was let in. The code that let the request in implements this, and is asked
/// only about requests that take a while.
pub trait Admittance: Sync {
    /// Returns whether the client would still be let in now.
    fn holds(&self) -> bool;

    /// Cuts the client's connection once the client would not be let in any more, or once `container` is
    /// cancelled, until the guard is dropped. The body of an answer can't end itself: a body that nobody
    /// reads is not polled, so it would stay open.
    fn watch(&self, container: CancellationToken) -> Option<Guard>;

    /// Returns what a tunnel needs, since the tunnel outlives the request.
    fn tunnel(&self) -> TunnelRight;
}

/// The right by which a tunnel is open, and what the tunnel keeps.
pub struct TunnelRight {
    /// The user whose tunnel it is.
    pub user: UserId,
    /// The share of the permits for tunnels that the user may take.
    pub share: Share,
    /// A future that resolves when the client would not be let in any more.
    pub revoked: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// The guard of the client's connection, which the tunnel keeps until its end.
    pub connection: Option<Guard>,
}
