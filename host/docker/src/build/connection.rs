//! The connection of one build. Its end shows that the build has ended.
//!
//! ```text
//! client ─ pair of sockets ─ copied ─► engine        given up: closed for writing, read on ─► permit let go
//! ```
//!
//! The engine's builder checks only between two instructions whether its client still waits, and the engine
//! does not tell that an abandoned build still goes on. But the builder's answer ends when the build ends.
//! So the host does not close an abandoned connection at once. It closes the connection for writing, which
//! the engine takes for the end of its client, and drops what the engine still sends until the engine
//! closes the connection. Until then the build holds its owner's turn.

use std::{io, path::PathBuf, time::Duration};

use bollard::{BollardRequest, Docker, errors::Error};
use hyper::{
    client::conn::http1,
    header::{HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncWriteExt, copy, sink},
    net::UnixStream,
};

use hersh_sandbox::BuildPermit;

/// How long an abandoned build may hold its owner's turn. An engine that does not end a build within this
/// time has come to a stop as a whole.
const GIVEN_UP: Duration = Duration::from_secs(10 * 60);

/// Makes a client that opens a connection of its own for every request, and drops `permit` when the
/// connection ends.
pub(super) fn client(
    known: &Docker,
    socket: PathBuf,
    permit: BuildPermit,
    limit: Duration,
) -> Result<Docker, Error> {
    let transport = move |request| {
        let (socket, permit) = (socket.clone(), permit.clone());
        async move {
            let near = connect(socket, permit).await?;
            let (mut sender, connection) = http1::handshake(TokioIo::new(near)).await?;
            // This task ends with the request, or when nobody waits for the answer any more.
            tokio::spawn(connection);
            Ok(sender.send_request(plain(request)).await?)
        }
    };
    let version = known.client_version();
    Docker::connect_with_custom_transport(
        transport,
        Some("http://localhost"),
        limit.as_secs(),
        &version,
    )
}

/// Returns the request without the name of a server in its first line, the usual form of a request.
fn plain(mut request: BollardRequest) -> BollardRequest {
    if let Some(path) = request.uri().path_and_query() {
        *request.uri_mut() = path.clone().into();
    }
    let host = HeaderValue::from_static("localhost");
    request.headers_mut().insert(HOST, host);
    request
}

/// Connects to the engine and returns the near end of the connection.
async fn connect(socket: PathBuf, permit: BuildPermit) -> io::Result<UnixStream> {
    let engine = UnixStream::connect(socket).await?;
    let (near, far) = UnixStream::pair()?;
    tokio::spawn(async move {
        carry(far, engine).await;
        drop(permit);
    });
    Ok(near)
}

/// Carries the bytes of both sides until the engine is done.
async fn carry(client: UnixStream, engine: UnixStream) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_engine, mut to_engine) = engine.into_split();
    let request = async {
        let _ = copy(&mut from_client, &mut to_engine).await;
        let _ = to_engine.shutdown().await;
        tokio::time::sleep(GIVEN_UP).await;
    };
    let answer = async {
        // This copy fails when nobody takes the answer any more.
        let _ = copy(&mut from_engine, &mut to_client).await;
        let _ = copy(&mut from_engine, &mut sink()).await;
    };
    tokio::select! {
        () = answer => {}
        () = request => tracing::warn!("the engine does not end a build that nobody waits for"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_place_is_held_until_the_engine_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("engine");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let place = Arc::new(());
        let near = connect(socket, BuildPermit::new(Arc::clone(&place)))
            .await
            .unwrap();
        let (mut engine, _) = listener.accept().await.unwrap();
        drop(near);
        // The engine sees that nobody waits, but the build has not ended yet.
        assert_eq!(engine.read(&mut [0; 9]).await.unwrap(), 0);
        engine.write_all(&[b'x'; 1_000]).await.unwrap();
        assert_eq!(Arc::strong_count(&place), 2);
        drop(engine);
        while Arc::strong_count(&place) > 1 {
            tokio::task::yield_now().await;
        }
    }
}
