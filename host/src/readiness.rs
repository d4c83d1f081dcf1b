//! Telling that a started program is up.

use std::time::Duration;

use axum::{body::Body, extract::Request};
use hersh_program::Readiness;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use crate::place::{Place, Wire};

/// How often the container itself is looked at while its program is probed.
pub(crate) const OBSERVE_INTERVAL: Duration = Duration::from_millis(200);

/// One probe may take this long.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Between probes: soon at first, since most programs are up within a second, then at ease.
const INTERVAL_EARLY: Duration = Duration::from_millis(10);
const INTERVAL_LATE: Duration = Duration::from_millis(250);
const EARLY: Duration = Duration::from_secs(2);

/// It was not up in time.
#[derive(Debug)]
pub(crate) struct NotReady {
    /// What the last probe saw.
    pub(crate) last_probe: String,
}

/// Probes the program at `place` until it is up, at most for `limit`.
pub(crate) async fn wait(
    readiness: &Readiness,
    place: &Place,
    limit: Duration,
) -> Result<(), NotReady> {
    let began = Instant::now();
    let mut last_probe = "no probe was made".to_string();
    let outcome = tokio::time::timeout(limit, async {
        loop {
            match tokio::time::timeout(PROBE_TIMEOUT, probe(readiness, place)).await {
                Ok(Ok(())) => return,
                Ok(Err(message)) => last_probe = message,
                Err(_) => last_probe = format!("no answer within {} s", PROBE_TIMEOUT.as_secs()),
            }
            let interval = if began.elapsed() < EARLY {
                INTERVAL_EARLY
            } else {
                INTERVAL_LATE
            };
            tokio::time::sleep(interval).await;
        }
    });
    outcome.await.map_err(|_| NotReady { last_probe })
}

async fn probe(readiness: &Readiness, place: &Place) -> Result<(), String> {
    let (port, path) = match readiness {
        Readiness::None => return Ok(()),
        Readiness::Tcp { port } => (*port, None),
        Readiness::Http { port, path } => (*port, Some(path)),
    };
    let wire = place.connect(port).await.map_err(|it| it.to_string())?;
    match path {
        None => Ok(()),
        Some(path) => get(wire, path)
            .await
            .map_err(|error| format!("GET {path}: {error}")),
    }
}

async fn get(wire: Wire, path: &str) -> Result<(), String> {
    let text = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(wire)).await.map_err(text)?;
    let request = Request::get(path)
        .header("host", "localhost")
        .header("user-agent", "hersh-readiness")
        .body(Body::empty())
        .map_err(|error| error.to_string())?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(text)?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(format!("status {}", answer.status()))
        }
    };
    // The connection must be driven for the answer to come; it ends with this probe.
    tokio::select! {
        answer = answer => answer,
        ended = connection => Err(ended.map_or_else(text, |()| "connection closed without an answer".into())),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use axum::{Router, http::StatusCode, routing::get};
    use tokio::net::{TcpListener, UnixListener};

    use super::*;
    use crate::compose::{SANDBOX_ID, SOCKET_NAME};

    fn http(port: u16, path: &str) -> Readiness {
        Readiness::Http {
            port,
            path: path.into(),
        }
    }

    fn loopback() -> Place {
        Place::Address(IpAddr::from([127, 0, 0, 1]))
    }

    fn router() -> Router {
        Router::new()
            .route("/ok", get(|| async { "up" }))
            .route("/no", get(|| async { StatusCode::SERVICE_UNAVAILABLE }))
    }

    /// Probes that must succeed, and one that must not.
    async fn check(place: &Place, port: u16) {
        let enough = Duration::from_secs(5);
        assert!(wait(&http(port, "/ok"), place, enough).await.is_ok());
        assert!(wait(&Readiness::Tcp { port }, place, enough).await.is_ok());
        let not = wait(&http(port, "/no"), place, Duration::from_millis(100))
            .await
            .unwrap_err();
        assert_eq!(not.last_probe, "GET /no: status 503 Service Unavailable");
    }

    #[tokio::test]
    async fn a_program_is_ready_once_it_answers_with_success() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, router()).await.unwrap() });
        check(&loopback(), port).await;
    }

    #[tokio::test]
    async fn a_program_without_a_network_is_ready_once_it_answers_on_its_socket() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join(SOCKET_NAME);
        let listener = UnixListener::bind(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(SANDBOX_ID), None).unwrap();
        tokio::spawn(async move { axum::serve(listener, router()).await.unwrap() });
        check(&Place::Socket(state.path().into()), 8080).await;
    }

    #[tokio::test]
    async fn what_the_last_probe_saw_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let not = wait(&http(port, "/"), &loopback(), Duration::from_millis(50))
            .await
            .unwrap_err();
        let said = not.last_probe;
        assert!(
            said.starts_with(&format!("connect to port {port}")),
            "{said}"
        );
        let state = tempfile::tempdir().unwrap();
        let place = Place::Socket(state.path().into());
        let not = wait(&http(port, "/"), &place, Duration::from_millis(50))
            .await
            .unwrap_err();
        let said = not.last_probe;
        assert!(said.contains("$HERSH_WATCHER_SOCKET"), "{said}");
    }
}
