//! News on its way to a real server: refused, lost, and taken once after a restart.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

use std::path::Path;
use std::time::Duration;

use hersh::Watcher;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uptime::uptime;

/// Longest that any wait of these tests may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A post that came in: its idempotency key and its body.
#[derive(Debug, PartialEq, Eq)]
struct Post {
    key: String,
    news: String,
}

/// Takes one post and answers it; no answer closes the connection.
async fn post(server: &TcpListener, answer: Option<u16>) -> Post {
    let taken = async {
        let (mut stream, _) = server.accept().await.unwrap();
        let (key, news) = read(&mut stream).await;
        if let Some(status) = answer {
            let reply = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n");
            // Who posted may be gone: a watcher that was killed.
            let _ = stream.write_all(reply.as_bytes()).await;
        }
        Post { key, news }
    };
    tokio::time::timeout(PATIENCE, taken)
        .await
        .expect("a post comes")
}

async fn read(stream: &mut TcpStream) -> (String, String) {
    let mut text = String::new();
    loop {
        text.push(char::from(stream.read_u8().await.unwrap()));
        if text.ends_with("\r\n\r\n") {
            break;
        }
    }
    let head = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().to_owned()
    };
    let mut body = vec![0; head("content-length:").parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    (head("idempotency-key:"), String::from_utf8(body).unwrap())
}

async fn start(state: &Path, notify: &TcpListener) -> Watcher {
    let notify = notify.local_addr().unwrap();
    // Nobody listens on the first port: the target is down from the beginning.
    let env = [
        ("TARGETS", "http://127.0.0.1:1".to_owned()),
        ("INTERVAL", "1h".to_owned()),
        ("NOTIFY", format!("http://{notify}/news")),
    ];
    let builder = Watcher::builder("uptime").state_dir(state).env(env);
    builder.start(uptime).await.unwrap()
}

#[tokio::test]
async fn news_is_posted_until_it_is_taken_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let server = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let watcher = start(folder.path(), &server).await;
    let refused = post(&server, Some(503)).await;
    assert_eq!(
        refused.news,
        "127.0.0.1:1 is down: Connection refused (os error 111)"
    );
    let lost = post(&server, None).await;
    assert_eq!(lost, refused);
    watcher.kill("now");
    watcher.wait().await;

    let watcher = start(folder.path(), &server).await;
    // Whatever comes is taken: the killed watcher may have posted once more before its end.
    let takes = tokio::spawn(async move {
        loop {
            assert_eq!(post(&server, Some(204)).await, refused);
        }
    });
    let settled = async {
        // The start, the answer of the target, the outcome.
        while watcher.status().runs < 3 {
            assert!(!takes.is_finished(), "another post came");
            tokio::task::yield_now().await;
        }
    };
    let settled = tokio::time::timeout(PATIENCE, settled).await;
    settled.expect("the outcome has its run");
    takes.abort();
    watcher.stop("seen");
    watcher.wait().await;
    let kept = std::fs::read_to_string(folder.path().join("context.json")).unwrap();
    assert!(kept.contains("\"open\":{}"), "{kept}");
}
