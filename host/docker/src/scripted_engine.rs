//! A played engine for tests: it gives to each request the answer that the test wants, or no answer. It
//! stands for what real engines do too seldom, or too late, to wait for.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
};

/// The reaction of a played engine to a request.
pub(super) enum ScriptedReply {
    /// Answers at once.
    Say(u16, &'static str),
    /// Answers after a while by the runtime's clock.
    SayAfter(Duration, u16, &'static str),
    /// Never answers.
    Hang,
}

type Script = dyn Fn(&str) -> ScriptedReply + Send + Sync;

/// The engine, with the folder of the socket on which it listens.
pub(super) struct ScriptedEngine {
    folder: tempfile::TempDir,
    asked: Arc<Mutex<Vec<String>>>,
    waiting: Arc<Semaphore>,
}

impl ScriptedEngine {
    /// Starts an engine. `script` gets the method and path of each request, without version and query.
    pub(super) fn new(script: impl Fn(&str) -> ScriptedReply + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("sock")).unwrap();
        let engine = Self {
            folder,
            asked: Arc::default(),
            waiting: Arc::new(Semaphore::new(0)),
        };
        let (script, asked): (Arc<Script>, _) = (Arc::new(script), Arc::clone(&engine.asked));
        let waiting = Arc::clone(&engine.waiting);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, asked) = (Arc::clone(&script), Arc::clone(&asked));
                let waiting = Arc::clone(&waiting);
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    while let Some(request) = request(&mut stream).await {
                        asked.lock().unwrap().push(request.clone());
                        let (status, text) = match script(&request) {
                            ScriptedReply::Say(status, text) => (status, text),
                            ScriptedReply::SayAfter(pause, status, text) => {
                                let pause = tokio::time::sleep(pause);
                                waiting.add_permits(1);
                                pause.await;
                                (status, text)
                            }
                            ScriptedReply::Hang => {
                                waiting.add_permits(1);
                                std::future::pending().await
                            }
                        };
                        // The answer to a HEAD has no body.
                        let text = if request.starts_with("HEAD") {
                            ""
                        } else {
                            text
                        };
                        say(&mut stream, status, text).await;
                    }
                });
            }
        });
        engine
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("sock")
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the requests so far that begin with `beginning`.
    pub(super) fn asked(&self, beginning: &str) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        let fitting = asked.iter().filter(|it| it.starts_with(beginning));
        fitting.cloned().collect()
    }

    /// Waits for the next request that is not answered at once.
    pub(super) async fn waits(&self) {
        self.waiting.acquire().await.unwrap().forget();
    }
}

async fn say(stream: &mut BufReader<UnixStream>, status: u16, text: &str) {
    let answer = format!(
        "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    );
    // A client may be gone by now.
    let _ = stream.write_all(answer.as_bytes()).await;
}

/// Reads a whole request and returns its method and path.
async fn request(stream: &mut BufReader<UnixStream>) -> Option<String> {
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") {
        let from = head.len();
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
        let line = head[from..].to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let is_chunked = head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked");
    loop {
        if is_chunked {
            let mut size = String::new();
            stream.read_line(&mut size).await.ok()?;
            length = usize::from_str_radix(size.trim(), 16).ok()? + 2;
        }
        stream.read_exact(&mut vec![0; length]).await.ok()?;
        if !is_chunked || length == 2 {
            break;
        }
    }
    let (method, rest) = head.split_once(' ')?;
    let path = rest.split([' ', '?']).next()?;
    let path = path
        .strip_prefix("/v1.")
        .map_or(path, |it| &it[it.find('/').unwrap_or(0)..]);
    Some(format!("{method} {path}"))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use bollard::models::SystemInfo;
    use hersh_program::{BuildId, BuildRules, ImageId, ProgramId};
    use hersh_storage::{Storage, output::LogStore};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::{
        DockerConfig, DockerRuntime,
        build::user_entry,
        doctor::trial::{self, TrialError},
        engine::Engine,
    };
    use hersh_sandbox::{BuildPermit, BuildRequest, Incarnation};

    const VERSION: &str = "{\"ApiVersion\":\"1.41\",\"Version\":\"20.10.27\"}";
    const IMAGE: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const BUILT: &str = "{\"aux\":{\"ID\":\"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}}\n";
    const CREATED: &str = "{\"Id\":\"c1\",\"Warnings\":[]}";

    /// The runtime's clock, stopped until this value is dropped. The clock does not jump while a blocking
    /// task runs, and the blocking task of this value runs until its channel closes.
    struct StoppedClock {
        _held: mpsc::Sender<()>,
    }

    impl StoppedClock {
        fn new() -> Self {
            let (permit, until_dropped) = mpsc::channel::<()>();
            tokio::task::spawn_blocking(move || until_dropped.recv());
            tokio::time::pause();
            Self { _held: permit }
        }
    }

    impl Drop for StoppedClock {
        fn drop(&mut self) {
            tokio::time::resume();
        }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Runs a trial on an engine that does not answer the request `hangs`.
    async fn late(hangs: &'static str) -> (Result<String, TrialError>, Vec<String>) {
        let engine = ScriptedEngine::new(move |request| match request {
            // The build is answered before the request that hangs, so that the trial's own time is over
            // first.
            "POST /build" => ScriptedReply::SayAfter(seconds(1), 200, BUILT),
            request if request == hangs => ScriptedReply::Hang,
            "GET /version" => ScriptedReply::Say(200, VERSION),
            "POST /containers/create" => ScriptedReply::Say(201, CREATED),
            _removal => ScriptedReply::Say(200, "[]"),
        });
        let client = Engine::new(engine.socket());
        client.client().await.unwrap();
        let info = SystemInfo::default();
        let _stopped = StoppedClock::new();
        let clock = async {
            engine.waits().await;
            // Timers count whole milliseconds and are never early.
            tokio::time::advance(seconds(1) + Duration::from_millis(2)).await;
            engine.waits().await;
            tokio::time::advance(seconds(58)).await;
            tokio::task::yield_now().await;
            assert_eq!(engine.asked("DELETE"), [""; 0], "it has a second left");
            tokio::time::advance(seconds(1)).await;
        };
        let (said, ()) = tokio::join!(trial::steps(&client, &info, "x"), clock);
        (said, engine.asked("DELETE"))
    }

    #[tokio::test]
    async fn a_late_trial_is_over_after_60_s_and_leaves_nothing() {
        let (said, removed) = late("HEAD /containers/c1/archive").await;
        assert_eq!(said, Err(TrialError::Late { what: "build" }));
        let image = format!("DELETE /images/{IMAGE}");
        assert_eq!(removed, ["DELETE /containers/c1".to_owned(), image.clone()]);
        let (said, removed) = late("POST /containers/create").await;
        assert_eq!(said, Err(TrialError::Late { what: "build" }));
        assert_eq!(removed, [image]);
    }

    #[tokio::test]
    async fn an_image_whose_user_entry_fails_gets_its_name_all_the_same() {
        for refusal in [
            ScriptedReply::Say as fn(u16, &'static str) -> ScriptedReply,
            |_, _| ScriptedReply::Say(200, "{\"error\":\"no space left on device\"}\n"),
            |_, _| ScriptedReply::Say(200, "{\"stream\":\"no image follows\"}\n"),
        ] {
            let engine = ScriptedEngine::new(move |request| match request {
                "GET /version" => ScriptedReply::Say(200, VERSION),
                "POST /containers/create" => ScriptedReply::Say(201, CREATED),
                "HEAD /containers/c1/archive" => ScriptedReply::Say(404, "{\"message\":\"none\"}"),
                "POST /build" => refusal(500, "{\"message\":\"no space left on device\"}"),
                _tag_or_removal => ScriptedReply::Say(201, ""),
            });
            let config = DockerConfig {
                socket: engine.socket(),
                ..DockerConfig::default()
            };
            let storage = Storage::open(&engine.folder().join("data")).unwrap();
            let runtime =
                DockerRuntime::new(config, storage.clone(), LogStore::new(storage)).unwrap();
            let image = ImageId::parse(IMAGE).unwrap();
            let request = BuildRequest {
                program: ProgramId::parse("shop").unwrap(),
                incarnation: Incarnation::new(1, 7),
                build: BuildId::parse("build-0123456789ab").unwrap(),
                context_dir: engine.folder().to_owned(),
                log_path: engine.folder().join("log"),
                rules: BuildRules::default(),
                free_bytes: None,
                permit: BuildPermit::default(),
                cancel: CancellationToken::new(),
            };
            let named = user_entry::complete(&runtime.inner, &request, image.clone()).await;
            assert_eq!(named, Ok(image));
            assert_eq!(
                engine.asked("POST /images"),
                [format!("POST /images/{IMAGE}/tag")]
            );
            let removed = engine.asked("DELETE /containers");
            assert_eq!(
                removed,
                ["DELETE /containers/c1"],
                "the look leaves nothing"
            );
        }
    }
}
