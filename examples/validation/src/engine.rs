//! The container engine, asked directly: a witness that is no part of Hersh.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    patience::PATIENCE,
    report::{Seen, same, seen},
};

/// The engine behind a socket. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Engine {
    /// The socket's path.
    pub(crate) socket: PathBuf,
    client: Client,
}

impl Engine {
    /// The engine that `HERSH_ENGINE` or `HERSH_TEST_ENGINE` names, or this machine's own. It is
    /// not contacted yet.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub(crate) fn from_environment() -> Result<Self> {
        let named = ["HERSH_ENGINE", "HERSH_TEST_ENGINE"]
            .into_iter()
            .find_map(|name| std::env::var(name).ok())
            .unwrap_or_else(|| "/var/run/docker.sock".to_owned());
        let socket = PathBuf::from(named.strip_prefix("unix://").unwrap_or(&named));
        let client = Client::builder()
            .unix_socket(socket.as_path())
            .no_proxy()
            .tls_certs_only([])
            .timeout(PATIENCE)
            .build()?;
        Ok(Self { socket, client })
    }

    /// Containers and images of one program, those of its builds included.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub(crate) async fn leftovers(&self, program: &str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for id in self.containers(program).await? {
            found.push(format!("container {id}"));
        }
        for name in self.images(program).await? {
            found.push(format!("image {name}"));
        }
        Ok(found)
    }

    /// The ids of the program's containers, dead ones too.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub(crate) async fn containers(&self, program: &str) -> Result<Vec<String>> {
        let filters = json!({"label": [format!("hersh.program={program}")]}).to_string();
        let query = [("all", "1"), ("filters", filters.as_str())];
        let list = self.ask(Method::GET, "containers/json", &query).await?;
        Ok(texts(&list, |one| one["Id"].as_str().map(str::to_owned)))
    }

    /// When a container began to run, as the engine writes it.
    ///
    /// # Errors
    /// When there is no such container.
    pub(crate) async fn started_at(&self, container: &str) -> Result<String> {
        let path = format!("containers/{container}/json");
        let told = self.ask(Method::GET, &path, &[]).await?;
        let started = told["State"]["StartedAt"].as_str();
        Ok(started.context("the engine tells no start")?.to_owned())
    }

    /// Removes what is left of one program on the engine and the folder that held its data.
    ///
    /// # Errors
    /// What is still there.
    pub(crate) async fn clean_up(&self, program: &str, folder: TempDir) -> Result<Seen<()>> {
        // The folder goes even when the engine does not answer.
        let cleared = self.clear(program).await;
        let path = folder.path().to_path_buf();
        folder.close()?;
        cleared?;
        let left = self.leftovers(program).await?;
        same("on the engine", &left, &Vec::new())?;
        ensure!(!path.exists(), "{} is still there", path.display());
        seen((), format!("no container, no image, no {}", path.display()))
    }

    async fn clear(&self, program: &str) -> Result<()> {
        let force = [("force", "1"), ("v", "1")];
        for id in self.containers(program).await? {
            let path = format!("containers/{id}");
            self.ask(Method::DELETE, &path, &force).await?;
        }
        for name in self.images(program).await? {
            let path = format!("images/{name}");
            self.ask(Method::DELETE, &path, &force[..1]).await?;
        }
        Ok(())
    }

    async fn images(&self, program: &str) -> Result<Vec<String>> {
        let filters = json!({"reference": [format!("hersh/*/{program}")]}).to_string();
        let query = [("filters", filters.as_str())];
        let list = self.ask(Method::GET, "images/json", &query).await?;
        // An image may carry the tags of several programs.
        let ours = format!("/{program}:");
        let is_ours = |tag: &&Value| tag.as_str().is_some_and(|tag| tag.contains(&ours));
        Ok(texts(&list, |one| {
            let mut tags = one["RepoTags"].as_array()?.iter();
            Some(tags.find(is_ours)?.as_str()?.to_owned())
        }))
    }

    async fn ask(&self, method: Method, path: &str, query: &[(&str, &str)]) -> Result<Value> {
        let answer = self
            .client
            .request(method, format!("http://engine/{path}"))
            .query(query)
            .send()
            .await
            .map_err(reqwest::Error::without_url)
            .with_context(|| format!("the engine at {} does not answer", self.socket.display()))?;
        let (status, body) = (answer.status(), answer.bytes().await?);
        ensure!(
            status.is_success(),
            "the engine answered {status} to {path}: {}",
            String::from_utf8_lossy(&body)
        );
        Ok(serde_json::from_slice(&body).unwrap_or_default())
    }
}

fn texts(list: &Value, text: impl Fn(&Value) -> Option<String>) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(text)
        .collect()
}
