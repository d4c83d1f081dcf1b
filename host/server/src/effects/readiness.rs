//! Finds out whether a started program is up.

use std::time::Duration;

use hersh_base::endpoint::Endpoint;
use hersh_program::{Manifest, ProgramId, Readiness};
use hersh_proxy::{ProbeFailure, Rules};
use tokio::time::Instant;

/// The pause between looks at the container itself while its program is probed. Containers that end before
/// they are ready mostly do so soon, and the engine tells of later ends by itself.
const OBSERVE_EARLY: Duration = Duration::from_millis(200);
const OBSERVE_LATE: Duration = Duration::from_secs(1);

/// The longest time that one probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause between probes: short at first, since most programs are up within a second, then longer.
const INTERVAL_EARLY: Duration = Duration::from_millis(10);
const INTERVAL_LATE: Duration = Duration::from_millis(250);
const EARLY: Duration = Duration::from_secs(2);

/// Returns how long to wait until the next look at the container of a program that has been probed for
/// `since`.
pub(crate) fn observe_interval(since: Duration) -> Duration {
    if since < EARLY {
        OBSERVE_EARLY
    } else {
        OBSERVE_LATE
    }
}

/// The program was not up in time.
#[derive(Debug)]
pub(crate) struct NotReady {
    /// The result of the last probe.
    pub(crate) last_probe: ProbeFailure,
}

/// Probes the program at `endpoint` until it is up, at most for `limit`, and tells `saw` what each probe saw
/// before that. A probe asks as the proxy asks later: on the same port, under the same name, and the answer
/// is read by the same rules.
pub(crate) async fn wait(
    program: &ProgramId,
    manifest: &Manifest,
    endpoint: &Endpoint,
    limit: Duration,
    saw: impl Fn(&str),
) -> Result<(), NotReady> {
    let rules = Rules::new(manifest);
    let began = Instant::now();
    let mut last_probe = ProbeFailure::Unready("no probe was made".to_string());
    let outcome = tokio::time::timeout(limit, async {
        loop {
            match tokio::time::timeout(PROBE_TIMEOUT, probe(program, manifest, &rules, endpoint))
                .await
            {
                Ok(Ok(())) => return,
                Ok(Err(miss)) => last_probe = miss,
                Err(_) => {
                    let seen = format!("no answer within {} s", PROBE_TIMEOUT.as_secs());
                    last_probe = ProbeFailure::Unready(seen);
                }
            }
            saw(last_probe.words());
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

async fn probe(
    program: &ProgramId,
    manifest: &Manifest,
    rules: &Rules,
    endpoint: &Endpoint,
) -> Result<(), ProbeFailure> {
    match &manifest.readiness {
        Readiness::None { .. } => Ok(()),
        Readiness::Tcp { port } => {
            let connected = endpoint.dial(*port).await;
            connected
                .map(drop)
                .map_err(|error| ProbeFailure::from(&error))
        }
        Readiness::Http { path, .. } => {
            hersh_proxy::probe(endpoint, rules, program.as_str(), path).await
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, path::PathBuf};

    use hersh_base::sandbox::{SANDBOX_ID, SOCKET_NAME};
    use hersh_storage::Storage;
    use tokio::{
        io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
        net::{TcpListener, UnixListener},
    };

    use super::*;

    const ENOUGH: Duration = Duration::from_secs(5);

    async fn probed(
        readiness: Readiness,
        endpoint: &Endpoint,
        limit: Duration,
    ) -> Result<(), String> {
        let program = ProgramId::parse("shop").unwrap();
        let manifest = Manifest {
            readiness,
            ..Manifest::default()
        };
        let waited = wait(&program, &manifest, endpoint, limit, |_| {}).await;
        waited.map_err(|not| not.last_probe.words().to_owned())
    }

    fn http(port: u16, path: &str) -> Readiness {
        let path = path.into();
        Readiness::Http { port, path }
    }

    fn loopback() -> Endpoint {
        Endpoint::at(IpAddr::from([127, 0, 0, 1]))
    }

    /// Returns the data folder, the endpoint of a program without a network, and the folder of its socket.
    fn socket_of_program() -> (tempfile::TempDir, Endpoint, PathBuf) {
        let data = tempfile::tempdir().unwrap();
        let storage = Storage::open(data.path()).unwrap();
        let program = ProgramId::parse("shop").unwrap();
        let state = storage.ensure_folders(&program).unwrap().state;
        (data, storage.state_socket(&program), state)
    }

    /// Reads a request's head and answers with these bytes and the end of the connection.
    async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> String {
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await.unwrap() == 0 {
                return head;
            }
        }
        stream.write_all(bytes).await.unwrap();
        head
    }

    /// Starts a program that answers each connection once, and returns its port.
    async fn program(bytes: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                answer(stream, bytes.as_bytes()).await;
            }
        });
        port
    }

    #[tokio::test]
    async fn an_answer_in_one_piece_with_the_end_counts() {
        for bytes in [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\nok",
            "HTTP/1.0 200 Alles gr\u{fc}n\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ] {
            let port = program(bytes).await;
            // Many times, since such an answer can be lost to a race.
            for _ in 0..20 {
                let ready = probed(http(port, "/"), &loopback(), ENOUGH).await;
                assert_eq!(ready, Ok(()), "{bytes:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_program_is_asked_by_its_own_name() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            answer(stream, b"HTTP/1.1 200 OK\r\n\r\n").await
        });
        assert_eq!(
            probed(http(port, "/x?y=z"), &loopback(), ENOUGH).await,
            Ok(())
        );
        let head = asked.await.unwrap();
        assert!(head.starts_with("GET /x?y=z HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("\r\nhost: shop\r\n"), "{head}");
    }

    #[tokio::test]
    async fn a_program_without_a_network_is_ready_by_its_socket() {
        let (_data, endpoint, state) = socket_of_program();
        let path = state.join(SOCKET_NAME);
        let listener = UnixListener::bind(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(SANDBOX_ID), None).unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                answer(stream, b"HTTP/1.1 200 OK\r\n\r\n").await;
            }
        });
        assert_eq!(probed(http(8080, "/"), &endpoint, ENOUGH).await, Ok(()));
        let tcp = Readiness::Tcp { port: 8080 };
        assert_eq!(probed(tcp, &endpoint, ENOUGH).await, Ok(()));
    }

    #[tokio::test]
    async fn what_the_last_probe_saw_is_told() {
        let soon = Duration::from_millis(200);
        for (bytes, seen) in [
            (
                "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 19\r\n\r\n{\"state\":\"InitRun\"}",
                "GET /: status 503 Service Unavailable ({\"state\":\"InitRun\"})",
            ),
            (
                "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
                "GET /: status 302 Found",
            ),
            ("", "GET /: it closed the connection too early"),
            ("SSH-2.0-x\r\n", "GET /: what it says is not HTTP/1.1"),
        ] {
            let port = program(bytes).await;
            let said = probed(http(port, "/"), &loopback(), soon)
                .await
                .unwrap_err();
            assert!(said.starts_with(seen), "{said}");
            let tcp = Readiness::Tcp { port };
            assert_eq!(probed(tcp, &loopback(), ENOUGH).await, Ok(()));
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let said = probed(http(port, "/"), &loopback(), soon)
            .await
            .unwrap_err();
        assert!(
            said.starts_with(&format!("connect to port {port}")),
            "{said}"
        );
        let (_data, endpoint, _state) = socket_of_program();
        let said = probed(http(port, "/"), &endpoint, soon).await.unwrap_err();
        assert!(said.contains("$HERSH_WATCHER_SOCKET"), "{said}");
        let none = Readiness::None { port };
        assert_eq!(probed(none, &endpoint, soon).await, Ok(()));
    }
}
