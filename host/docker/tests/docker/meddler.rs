//! Somebody between the host and its engine who alters what is to be created.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use hersh_docker::{DockerConfig, DockerRuntime};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::watch,
};

use crate::world::{World, runtime, socket};

type Alter = dyn Fn(&mut Value) + Send + Sync;

pub struct Meddler {
    created: Arc<AtomicU32>,
    open: watch::Sender<bool>,
    folder: tempfile::TempDir,
}

impl Meddler {
    /// Listens on a socket of its own and passes everything on to the engine, requests to create
    /// a container with their body altered. The host's client makes one connection per request.
    pub fn spawn(alter: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("sock")).unwrap();
        let created = Arc::new(AtomicU32::new(0));
        let (alter, count): (Arc<Alter>, _) = (Arc::new(alter), Arc::clone(&created));
        let (open, is_open) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (alter, count) = (Arc::clone(&alter), Arc::clone(&count));
                let mut is_open = is_open.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        biased;
                        _closed = is_open.wait_for(|is_open| !is_open) => {}
                        () = pass_on(client, alter, count) => {}
                    }
                });
            }
        });
        Self {
            created,
            open,
            folder,
        }
    }

    /// Cuts all connections and refuses new ones, as an engine that restarts does, or lets them
    /// through again.
    pub fn set_open(&self, open: bool) {
        self.open.send_replace(open);
    }

    /// The world's host, with this one in between.
    pub fn runtime(&self, world: &World) -> DockerRuntime {
        let config = DockerConfig {
            socket: self.socket(),
            host_id: world.program.to_string(),
            ..DockerConfig::default()
        };
        runtime(config, &world.storage)
    }

    /// How many containers were asked for.
    pub fn created(&self) -> u32 {
        self.created.load(Ordering::SeqCst)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("sock")
    }
}

async fn pass_on(mut client: UnixStream, alter: Arc<Alter>, created: Arc<AtomicU32>) {
    let mut engine = UnixStream::connect(socket()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match client.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_closed) => return,
        }
    }
    let text = String::from_utf8(head).unwrap();
    // One without a name is made to look into an image, and never runs.
    if text.contains("/containers/create?") && text.contains("name=") {
        created.fetch_add(1, Ordering::SeqCst);
        let length = text
            .lines()
            .find_map(|line| {
                line.to_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse()
                    .ok()
            })
            .unwrap();
        let mut body = vec![0; length];
        client.read_exact(&mut body).await.unwrap();
        let mut value: Value = serde_json::from_slice(&body).unwrap();
        alter(&mut value);
        let body = value.to_string();
        let lines = text.lines().filter(|line| !line.is_empty());
        let kept = lines.filter(|line| !line.to_lowercase().starts_with("content-length"));
        let mut head: String = kept.map(|line| format!("{line}\r\n")).collect();
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        engine.write_all(head.as_bytes()).await.unwrap();
        engine.write_all(body.as_bytes()).await.unwrap();
    } else {
        engine.write_all(text.as_bytes()).await.unwrap();
    }
    // Either side may simply go away.
    let _ = tokio::io::copy_bidirectional(&mut client, &mut engine).await;
}
