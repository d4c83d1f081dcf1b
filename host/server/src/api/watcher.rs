//! The routes that lead to a program's WatcherAPI.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::{Request, State},
    http::Method,
    response::{IntoResponse, Response},
};
use hersh_program::ProgramId;
use hersh_proxy::{Admittance, Guard, TunnelRight};
use hersh_wire::Code;
use tokio_util::sync::CancellationToken;

use super::{
    extract::OwnedProgram,
    pipeline::{AdmittedCaller, Destination, Supervision},
    problem::Failure,
};
use crate::{
    auth::{Caller, Grant, audit::Particulars},
    connections::Client,
    host::{Host, ProgramEntry},
    words,
};

/// The route for everything below a WatcherAPI's root. It is the route that is asked for most.
pub(super) const WATCHER_ROUTE: &str = "/programs/{id}/watcher/{*path}";

/// The client that sent a request, if the server passed it on.
type Sender = Option<Extension<Client>>;

/// Makes a pair of handlers for one path: one that looks, for scope read, and one that steers, for scope
/// operate. The document knows only one path for each handler, so each path has its own pair.
macro_rules! ways {
    ($path:expr, $look:ident, $steer:ident, $($below:tt)*) => {
        /// A look at the program's WatcherAPI. A WebSocket needs scope operate.
        #[utoipa::path(
            method(get, head),
            path = $path,
            tag = "watcher",
            security(("bearer" = ["read"])),
            params(("id" = String, Path, description = "The program's id"), $($below)*),
            responses((status = 200, description = "What the program answers, with its own status")),
        )]
        pub(super) async fn $look(
            host: State<Host>,
            caller: Extension<Caller>,
            particulars: Extension<Particulars>,
            program: OwnedProgram,
            client: Sender,
            request: Request,
        ) -> Result<Response, Failure> {
            forward(host, (caller, particulars), program, client, request).await
        }

        /// What steers the program by its WatcherAPI.
        #[utoipa::path(
            method(post, put, patch, delete),
            path = $path,
            tag = "watcher",
            security(("bearer" = ["operate"])),
            params(("id" = String, Path, description = "The program's id"), $($below)*),
            responses((status = 200, description = "What the program answers, with its own status")),
        )]
        pub(super) async fn $steer(
            host: State<Host>,
            caller: Extension<Caller>,
            particulars: Extension<Particulars>,
            program: OwnedProgram,
            client: Sender,
            request: Request,
        ) -> Result<Response, Failure> {
            forward(host, (caller, particulars), program, client, request).await
        }
    };
}

ways!("/programs/{id}/watcher", look, steer,);
ways!("/programs/{id}/watcher/", look_root, steer_root,);
ways!(
    WATCHER_ROUTE,
    look_below,
    steer_below,
    (
        "path" = String,
        Path,
        description = "What to ask the program for"
    )
);
// The older path for the same requests.
ways!(
    "/programs/{id}/proxy/watcher/{*path}",
    look_older,
    steer_older,
    (
        "path" = String,
        Path,
        description = "What to ask the program for"
    )
);

/// A request that looks at what is below a WatcherAPI's root and goes there without the router.
pub(super) struct DirectRequest<'a> {
    host: &'a Host,
    program: ProgramId,
    client: &'a Client,
}

impl<'a> DirectRequest<'a> {
    /// Returns the look that a request asks for, if the request goes to [`WATCHER_ROUTE`] and its path spells
    /// that without escapes. Returns `None` for a request that asks for a tunnel: that is more than a look.
    pub(super) fn asked_for(request: &Request, host: &'a Host, client: &'a Client) -> Option<Self> {
        let is_look = [Method::GET, Method::HEAD].contains(request.method());
        if !is_look || hersh_proxy::is_offered(request.headers()) {
            return None;
        }
        let rest = request.uri().path().strip_prefix("/programs/")?;
        let (program, below) = rest.split_once('/')?;
        below.strip_prefix("watcher/").filter(|it| !it.is_empty())?;
        let program = ProgramId::parse(program).ok()?;
        Some(Self {
            host,
            program,
            client,
        })
    }

    async fn take(&self, request: &mut Request, caller: &Caller) -> Result<Response, Failure> {
        let (host, id) = (self.host, &self.program);
        let entry = host.get(caller, id)?;
        pass_on(host, caller, (id, &entry), Some(self.client), request).await
    }
}

impl Destination for &DirectRequest<'_> {
    /// The destination: the proxy checks the right before it passes a request on, and ends the program's
    /// answer once the right is lost. This needs no timer for each request.
    const SUPERVISION: Supervision = Supervision::Destination;

    #[expect(
        clippy::manual_async_fn,
        reason = "a function would hold the caller twice, and all of it moves with each request"
    )]
    fn answer(
        self,
        request: &mut Request,
        admitted: Option<AdmittedCaller>,
    ) -> impl Future<Output = Response> + Send {
        async move {
            let Some(admitted) = &admitted else {
                let error = Failure::internal(&"nobody in particular looks at programs");
                return error.into_response();
            };
            self.take(request, admitted.caller()).await.into_response()
        }
    }
}

async fn forward(
    State(host): State<Host>,
    (Extension(caller), Extension(particulars)): (Extension<Caller>, Extension<Particulars>),
    OwnedProgram(entry): OwnedProgram,
    client: Sender,
    mut request: Request,
) -> Result<Response, Failure> {
    // The host changes nothing: what the program does with the request is the program's own business.
    particulars.changes_nothing();
    let client = client.map(|Extension(client)| client);
    let program = (&entry.id(), &entry);
    pass_on(&host, &caller, program, client.as_ref(), &mut request).await
}

async fn pass_on(
    host: &Host,
    caller: &Caller,
    (id, entry): (&ProgramId, &Arc<ProgramEntry>),
    client: Option<&Client>,
    request: &mut Request,
) -> Result<Response, Failure> {
    let path = hersh_proxy::watcher_path(request.uri(), id.as_str())
        .map_err(hersh_proxy::ForwardError::from)?;
    let Some(upstream) = host.upstream(entry).await? else {
        let detail = entry.supervisor().with_state(words::not_ready);
        return Err(Failure::new(Code::NotReady, detail).in_state(entry.state_name()));
    };
    let passing = RequestAdmittance {
        host,
        caller,
        client,
    };
    let told = client.map(Client::as_told);
    let proxy = host.proxy();
    let forwarded = proxy.forward(request, &path, upstream, told, &passing);
    Ok(forwarded.await?.map(Body::new))
}

/// Answers what the proxy asks about a request that is passed on.
struct RequestAdmittance<'a> {
    host: &'a Host,
    caller: &'a Caller,
    client: Option<&'a Client>,
}

impl RequestAdmittance<'_> {
    fn grant(&self) -> Grant {
        self.host.grant(self.caller.clone())
    }
}

impl Admittance for RequestAdmittance<'_> {
    fn holds(&self) -> bool {
        self.grant().holds()
    }

    fn watch(&self, container: CancellationToken) -> Option<Guard> {
        let open = self.client?.connection.open(self.grant(), container);
        Some(Box::new(open))
    }

    fn tunnel(&self) -> TunnelRight {
        let connection = self.client.map(|client| client.connection.clone());
        TunnelRight {
            user: self.caller.user.clone(),
            share: self.caller.role.share(),
            revoked: Box::pin(self.grant().over()),
            connection: connection.map(|held| Box::new(held) as Guard),
        }
    }
}
