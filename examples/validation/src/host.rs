//! A Hersh host inside this process, and its HTTP API.

use std::{net::SocketAddr, path::Path};

use anyhow::{Context, Result, anyhow, ensure};
use hersh_host::{Config, HostError, Settings, serve};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{engine::Engine, patience::PATIENCE};

/// A host that serves. Dropped, it goes on until its runtime ends: [`Host::stop`] it.
pub(crate) struct Host {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    client: Client,
    token: String,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), HostError>>,
}

impl Host {
    /// Serves on a free port of 127.0.0.1, with its data in `data`.
    ///
    /// # Errors
    /// Why it does not serve.
    pub(crate) async fn start(data: &Path, engine: &Engine) -> Result<Self> {
        let mut settings = Settings::defaults()?;
        settings.data_dir = data.to_path_buf();
        settings.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        settings.engine = engine
            .socket
            .to_string_lossy()
            .parse()
            .map_err(anyhow::Error::msg)?;
        let config = Config::new(settings)?;
        let (stop, stopped) = oneshot::channel();
        let (listens, listening) = oneshot::channel();
        let serving = tokio::spawn(serve(
            config,
            // A sender that is gone means stop as well.
            async { drop(stopped.await) },
            move |address| {
                let _ = listens.send(address);
            },
        ));
        let Ok(address) = listening.await else {
            serving.await??;
            return Err(anyhow!("the host ended before it listened"));
        };
        let path = data.join("admin-token");
        let token = std::fs::read_to_string(&path)
            .with_context(|| format!("no token in {}", path.display()))?;
        Ok(Self {
            address,
            client: Client::builder().no_proxy().tls_certs_only([]).build()?,
            token: token.trim().to_owned(),
            stop,
            serving,
        })
    }

    /// Asks it to end and waits until it has. Its programs go on running.
    ///
    /// # Errors
    /// How it ended, if not as asked.
    pub(crate) async fn stop(self) -> Result<()> {
        // When it is not there to be told, its end tells why.
        let _ = self.stop.send(());
        let ended = tokio::time::timeout(PATIENCE, self.serving).await;
        ended.context("the host does not end")???;
        Ok(())
    }

    /// A request without the token.
    pub(crate) fn stranger(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("http://{}{path}", self.address);
        // Longer than any `?wait=` here, so that the host's own answer comes first.
        self.client.request(method, url).timeout(PATIENCE * 4)
    }

    /// A request of the host's owner.
    pub(crate) fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.stranger(method, path).bearer_auth(&self.token)
    }

    /// What `path` shows.
    ///
    /// # Errors
    /// When the answer is no success, with the problem it tells.
    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        json(self.ask(Method::GET, path)).await
    }

    /// The answer to a command.
    ///
    /// # Errors
    /// As [`Host::get`].
    pub(crate) async fn post(&self, path: &str) -> Result<Value> {
        json(self.ask(Method::POST, path)).await
    }
}

/// Sends a request whose answer is JSON.
///
/// # Errors
/// When the answer is no success, with the problem it tells.
pub(crate) async fn json(request: RequestBuilder) -> Result<Value> {
    let (status, body) = answer(request).await?;
    ensure!(status.is_success(), "{status}: {body}");
    serde_json::from_str(&body).with_context(|| format!("no JSON: {body}"))
}

/// Sends a request and reads its answer whole.
///
/// # Errors
/// When none comes.
pub(crate) async fn answer(request: RequestBuilder) -> Result<(StatusCode, String)> {
    let answer = request.send().await?;
    let status = answer.status();
    Ok((status, answer.text().await?))
}
