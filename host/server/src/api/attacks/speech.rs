//! How clients and programs speak here: bytes out, and what comes read by the letter of RFC 9112.

use std::time::Duration;

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// How long anything may take before a test gives up, but for what is slow on purpose.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// The program's side of one connection.
pub(super) type Conversation = BufReader<Box<dyn Bytes>>;

pub(super) trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// A client's side of a connection.
pub(super) struct Client {
    stream: BufReader<TcpStream>,
    token: String,
}

/// An answer as the client got it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Status line and headers.
    pub(super) head: String,
    pub(super) body: String,
    /// False when the connection closed before the body's end.
    pub(super) is_whole: bool,
}

impl Answer {
    /// The code of a problem.
    pub(super) fn code(&self) -> String {
        let problem: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        problem["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Client {
    pub(super) fn new(stream: TcpStream, token: String) -> Self {
        let stream = BufReader::new(stream);
        Self { stream, token }
    }

    /// Sends bytes; `AUTH` among them becomes the header with the token.
    pub(super) async fn send(&mut self, bytes: &str) {
        let auth = format!("Authorization: Bearer {}", self.token);
        let bytes = bytes.replace("AUTH", &auth);
        // A host that refuses need not take it all.
        let _ = self.stream.write_all(bytes.as_bytes()).await;
    }

    /// The same by a client that looks for no answer before it has sent all, and gives up if it
    /// can't.
    pub(super) async fn send_all(&mut self, bytes: &str) {
        let auth = format!("Authorization: Bearer {}", self.token);
        let bytes = bytes.replace("AUTH", &auth);
        let sent = self.stream.write_all(bytes.as_bytes());
        sent.await.expect("all of it is taken");
    }

    /// The next answer; `None` when the connection is closed instead.
    pub(super) async fn answer(&mut self) -> Option<Answer> {
        let answer = tokio::time::timeout(PATIENCE, self.next(true)).await;
        answer.expect("no answer came")
    }

    /// The next answer, however long it takes.
    pub(super) async fn answer_late(&mut self) -> Answer {
        self.next(true).await.expect("an answer")
    }

    /// The answer to a HEAD.
    pub(super) async fn head(&mut self) -> Option<Answer> {
        let answer = tokio::time::timeout(PATIENCE, self.next(false)).await;
        answer.expect("no answer came")
    }

    /// All answers until the host closes the connection, however long that takes.
    pub(super) async fn rest(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        while let Some(answer) = self.next(true).await {
            answers.push(answer);
        }
        answers
    }

    /// The next bytes, at least one, at most 4,096; none at the end.
    pub(super) async fn bytes(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 4_096];
        let count = self.stream.read(&mut bytes).await.unwrap_or(0);
        bytes.truncate(count);
        bytes
    }

    async fn next(&mut self, has_body: bool) -> Option<Answer> {
        let head = head(&mut self.stream).await?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let (body, is_whole) = match status {
            100..200 | 204 | 304 => (String::new(), true),
            _ if !has_body => (String::new(), true),
            _ => match framed(&mut self.stream, &head).await {
                Framed::Whole(body) => (body, true),
                Framed::Cut(body) => (body, false),
                Framed::Open => {
                    let mut body = Vec::new();
                    let ended = self.stream.read_to_end(&mut body).await.is_ok();
                    (text(body), ended)
                }
            },
        };
        Some(Answer {
            status,
            head: head.to_lowercase(),
            body,
            is_whole,
        })
    }
}

/// The next request that comes to a program, head and body; `None` at the end, or when it was cut.
pub(super) async fn request(stream: &mut Conversation) -> Option<String> {
    let head = head(stream).await?;
    match framed(stream, &head).await {
        Framed::Whole(body) => Some(format!("{head}{body}")),
        Framed::Open => Some(head),
        Framed::Cut(_) => None,
    }
}

/// Writes; a host that has had enough is no fault.
pub(super) async fn say(stream: &mut Conversation, bytes: &str) {
    let _ = stream.write_all(bytes.as_bytes()).await;
    let _ = stream.flush().await;
}

/// Reads until the host closes the connection.
pub(super) async fn closed(stream: &mut Conversation) {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
}

async fn head(stream: &mut (impl AsyncBufReadExt + Unpin)) -> Option<String> {
    let mut head = String::new();
    loop {
        let mut line = Vec::new();
        stream.read_until(b'\n', &mut line).await.ok()?;
        if line.is_empty() {
            return None;
        }
        let line = text(line);
        head.push_str(&line);
        if line == "\r\n" {
            return Some(head);
        }
    }
}

enum Framed {
    Whole(String),
    Cut(String),
    /// The head says nothing about the body's length.
    Open,
}

/// The body, read by the letter of RFC 9112.
async fn framed(stream: &mut (impl AsyncBufReadExt + Unpin), head: &str) -> Framed {
    let head = head.to_lowercase();
    let header = |name: &str| {
        let lines = head.lines().filter_map(|line| line.strip_prefix(name));
        lines.map(str::trim).collect::<Vec<_>>()
    };
    let (lengths, encodings) = (header("content-length:"), header("transfer-encoding:"));
    assert!(lengths.len() + encodings.len() <= 1, "two framings: {head}");
    if let [length] = lengths[..] {
        let length: usize = length.parse().unwrap();
        let mut body = Vec::new();
        let _ = stream.take(length as u64).read_to_end(&mut body).await;
        let is_whole = body.len() == length;
        let body = text(body);
        return if is_whole {
            Framed::Whole(body)
        } else {
            Framed::Cut(body)
        };
    }
    if encodings.is_empty() {
        return Framed::Open;
    }
    assert_eq!(encodings, ["chunked"], "{head}");
    let mut body = String::new();
    loop {
        let mut line = String::new();
        let _ = stream.read_line(&mut line).await;
        let Some(size) = line.strip_suffix("\r\n") else {
            return Framed::Cut(body);
        };
        let size = usize::from_str_radix(size, 16).unwrap();
        let mut chunk = vec![0; size + 2];
        if stream.read_exact(&mut chunk).await.is_err() {
            return Framed::Cut(body);
        }
        assert_eq!(
            &chunk[size..],
            b"\r\n",
            "a chunk ends, or the last one has trailers"
        );
        if size == 0 {
            return Framed::Whole(body);
        }
        chunk.truncate(size);
        body.push_str(&text(chunk));
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}
