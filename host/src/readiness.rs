//! Telling that a started program is up.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use axum::{body::Body, extract::Request};
use hersh_program::Readiness;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::Instant};

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

/// Probes the program at `address` until it is up, at most for `limit`.
pub(crate) async fn wait(
    readiness: &Readiness,
    address: Option<IpAddr>,
    limit: Duration,
) -> Result<(), NotReady> {
    let began = Instant::now();
    let mut last_probe = "no probe was made".to_string();
    let outcome = tokio::time::timeout(limit, async {
        loop {
            match tokio::time::timeout(PROBE_TIMEOUT, probe(readiness, address)).await {
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

async fn probe(readiness: &Readiness, address: Option<IpAddr>) -> Result<(), String> {
    let (port, path) = match readiness {
        Readiness::None => return Ok(()),
        Readiness::Tcp { port } => (*port, None),
        Readiness::Http { port, path } => (*port, Some(path)),
    };
    let address = address.ok_or("the program has no network address to probe")?;
    let stream = TcpStream::connect(SocketAddr::new(address, port))
        .await
        .map_err(|error| format!("connect to port {port}: {error}"))?;
    match path {
        None => Ok(()),
        Some(path) => get(stream, path)
            .await
            .map_err(|error| format!("GET {path}: {error}")),
    }
}

async fn get(stream: TcpStream, path: &str) -> Result<(), String> {
    let text = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    let request = Request::get(path)
        .header("host", "hersh")
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
    use axum::{Router, http::StatusCode, routing::get};
    use tokio::net::TcpListener;

    use super::*;

    fn http(port: u16, path: &str) -> Readiness {
        Readiness::Http {
            port,
            path: path.into(),
        }
    }

    #[tokio::test]
    async fn a_program_is_ready_once_it_answers_with_success() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Router::new()
            .route("/ok", get(|| async { "up" }))
            .route("/no", get(|| async { StatusCode::SERVICE_UNAVAILABLE }));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let address = Some(IpAddr::from([127, 0, 0, 1]));
        assert!(
            wait(&http(port, "/ok"), address, Duration::from_secs(5))
                .await
                .is_ok()
        );
        assert!(
            wait(&Readiness::Tcp { port }, address, Duration::from_secs(5))
                .await
                .is_ok()
        );
        let not = wait(&http(port, "/no"), address, Duration::from_millis(100))
            .await
            .unwrap_err();
        assert_eq!(not.last_probe, "GET /no: status 503 Service Unavailable");
    }

    #[tokio::test]
    async fn what_the_last_probe_saw_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let address = Some(IpAddr::from([127, 0, 0, 1]));
        let not = wait(&http(port, "/"), address, Duration::from_millis(50))
            .await
            .unwrap_err();
        assert!(
            not.last_probe
                .starts_with(&format!("connect to port {port}")),
            "{}",
            not.last_probe
        );
        let not = wait(&http(port, "/"), None, Duration::from_millis(50))
            .await
            .unwrap_err();
        assert!(
            not.last_probe.contains("no network address"),
            "{}",
            not.last_probe
        );
    }
}
