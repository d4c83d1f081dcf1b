//! The way to a program's WatcherAPI.

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
    extract::Owned,
    pipeline::{Admitted, Destination, Supervision},
    problem::Failure,
};
use crate::{
    auth::{Caller, Grant, audit::Particulars},
    connections::Client,
    host::{Entry, Host},
    words,
};

/// What is below a WatcherAPI's root; the route that is asked for most.
pub(super) const WATCHER_ROUTE: &str = "/programs/{id}/watcher/{*path}";

/// Who asks, as the server says.
type Sender = Option<Extension<Client>>;

/// A pair of handlers for one path: looks, for scope read, and what steers, for scope operate. The
/// document knows one path a handler, so each of the paths has its own pair.
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
            program: Owned,
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
            program: Owned,
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
// An older path of the same.
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

/// A look at what is below a WatcherAPI's root, past the router.
pub(super) struct Look<'a> {
    host: &'a Host,
    program: ProgramId,
    client: &'a Client,
}

impl<'a> Look<'a> {
    /// The look that a request asks for, if it goes to [`WATCHER_ROUTE`] and says so without escapes.
    /// What asks for a tunnel is no mere look.
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

impl Destination for &Look<'_> {
    /// The proxy asks for the right before it passes on, and ends what a program answers when that is
    /// over: without a timer for each request.
    const SUPERVISION: Supervision = Supervision::Destination;

    #[expect(
        clippy::manual_async_fn,
        reason = "a function would hold the caller twice, and all of it moves with each request"
    )]
    fn answer(
        self,
        request: &mut Request,
        admitted: Option<Admitted>,
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
    Owned(entry): Owned,
    client: Sender,
    mut request: Request,
) -> Result<Response, Failure> {
    // What the program makes of it is the program's.
    particulars.changes_nothing();
    let client = client.map(|Extension(client)| client);
    let program = (&entry.id(), &entry);
    pass_on(&host, &caller, program, client.as_ref(), &mut request).await
}

async fn pass_on(
    host: &Host,
    caller: &Caller,
    (id, entry): (&ProgramId, &Arc<Entry>),
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

/// A request that is passed on, as the proxy asks about it.
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
