//! Sends a folder. It is packed while it is sent, and never held in memory as a whole.

use std::{io, path::Path, sync::Arc};

use hersh_wire::{Code, SourceAccepted};
use reqwest::{Body, Method};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::check::Source;
use crate::{
    client::Client,
    commands::{
        archive::{self, Listing, Sink},
        build_query::BuildQuery,
    },
    failure::Failure,
    output,
};

/// The largest number of pieces that are read but not yet sent.
const PIECES: usize = 4;

/// Sends the source: as a new program, or in place of the source that the host has.
///
/// # Errors
/// [`Failure`]: the host has stored nothing of this source.
pub(super) async fn send(
    client: &Client,
    folder: &Path,
    source: Source,
) -> Result<SourceAccepted, Failure> {
    let Source {
        name,
        listing,
        build,
    } = source;
    let kib = listing.total_bytes().div_ceil(1024);
    output::note(&format!("sending {} entries, {kib} KiB", listing.len()));
    let listing = Arc::new(listing);
    if client.find(&name).await?.is_some() {
        return put(client, folder, &name, listing, &build).await;
    }
    let request = client
        .request(Method::POST, &["programs"])
        .query(&[("name", &name)]);
    let request = build.add_to(request);
    match stream(client, request, folder, Arc::clone(&listing)).await {
        // Somebody made the program meanwhile. If this user can see it, another deploy of the same user made
        // it.
        Err(Failure::Refused(problem)) if problem.code == Code::AlreadyExists => {
            match client.find(&name).await? {
                Some(_) => put(client, folder, &name, listing, &build).await,
                None => Err(Failure::Refused(problem)),
            }
        }
        sent => sent,
    }
}

async fn put(
    client: &Client,
    folder: &Path,
    name: &str,
    listing: Arc<Listing>,
    build: &BuildQuery,
) -> Result<SourceAccepted, Failure> {
    let request = client.request(Method::PUT, &["programs", name, "source"]);
    stream(client, build.add_to(request), folder, listing).await
}

async fn stream(
    client: &Client,
    request: reqwest::RequestBuilder,
    folder: &Path,
    listing: Arc<Listing>,
) -> Result<SourceAccepted, Failure> {
    let (sender, pieces) = mpsc::channel(PIECES);
    let packing = {
        let folder = folder.to_path_buf();
        tokio::task::spawn_blocking(move || archive::write(&folder, &listing, Sink::new(sender)))
    };
    let request = request
        .header("content-type", "application/x-tar")
        .body(Body::wrap_stream(ReceiverStream::new(pieces)));
    let sent = client.read(request).await;
    let packed = packing.await.map_err(io::Error::other).flatten();
    match (sent, packed) {
        // When the host refuses the source it hangs up, so packing fails too. The refusal says more than that
        // error.
        (Err(failure @ Failure::Refused(_)), _) => Err(failure),
        (_, Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Input(format!("nothing was deployed: {error}")))
        }
        (sent, _) => sent,
    }
}
