//! A client that shows what is on the wire, and watchers to be asked.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use hersh::{Builder, Context, Result, Watcher};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// Longest that any answer of these tests may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Where an API is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl From<SocketAddr> for Place {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl From<&Place> for Place {
    fn from(place: &Place) -> Self {
        place.clone()
    }
}

pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

pub(crate) async fn connect(place: impl Into<Place>) -> Box<dyn Io> {
    match place.into() {
        Place::Tcp(address) => Box::new(TcpStream::connect(address).await.unwrap()),
        Place::Unix(path) => Box::new(UnixStream::connect(path).await.unwrap()),
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect(&self.body)
    }

    pub(crate) fn error(&self) -> (u16, String) {
        let json = self.json();
        assert_eq!(json.as_object().unwrap().len(), 1, "{json}");
        (self.status, json["error"].as_str().unwrap().into())
    }
}

/// Sends raw bytes and reads until the server closes.
pub(crate) async fn raw(place: impl Into<Place>, request: &[u8]) -> Answer {
    let place = place.into();
    let talk = async {
        let mut stream = connect(place).await;
        // A server that refuses early closes before all is written: what it says counts.
        let _ = stream.write_all(request).await;
        let mut reply = Vec::new();
        let _ = stream.read_to_end(&mut reply).await;
        String::from_utf8(reply).unwrap()
    };
    let reply = tokio::time::timeout(PATIENCE, talk).await.unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").expect(&reply);
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_ascii_lowercase(),
        body: body.into(),
    }
}

pub(crate) async fn call(place: impl Into<Place>, method: &str, path: &str, body: &str) -> Answer {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    raw(place, request.as_bytes()).await
}

pub(crate) async fn get(place: impl Into<Place>, path: &str) -> Answer {
    call(place, "GET", path, "").await
}

pub(crate) async fn send(place: impl Into<Place>, content: &str) -> Answer {
    let body = json!({ "content": content }).to_string();
    call(place, "POST", "/watcher/message", &body).await
}

/// The value of a metric without labels.
pub(crate) async fn metric(place: impl Into<Place>, name: &str) -> u64 {
    let text = get(place, "/watcher/metrics").await.body;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.expect(&text).parse().unwrap()
}

/// A stream of events. Asked for with HTTP/1.0, so that nothing but events is on the wire.
pub(crate) struct Events {
    stream: Box<dyn Io>,
    text: String,
}

impl Events {
    /// Connects, and reads the head of the answer.
    pub(crate) async fn open(place: impl Into<Place>) -> Self {
        let mut stream = connect(place).await;
        let request = b"GET /watcher/events HTTP/1.0\r\nhost: x\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let text = String::new();
        let mut events = Self { stream, text };
        let head = events.part("\r\n\r\n").await.unwrap().to_ascii_lowercase();
        assert!(head.starts_with("http/1.0 200"), "{head}");
        assert!(head.contains("content-type: text/event-stream"), "{head}");
        assert!(head.contains("cache-control: no-store"), "{head}");
        events
    }

    /// The next event, `None` at the end. It is written as it has to be.
    pub(crate) async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            let event = self.part("\n\n").await?;
            if event.starts_with(':') {
                continue;
            }
            let lines: Vec<&str> = event.split(['\n', '\r']).collect();
            let [name, data] = lines[..] else {
                panic!("not two lines: {event:?}");
            };
            let name = name.strip_prefix("event: ").expect(&event);
            let data = data.strip_prefix("data: ").expect(&event);
            return Some((name.into(), serde_json::from_str(data).expect(&event)));
        }
    }

    /// The next event of this name.
    pub(crate) async fn find(&mut self, wanted: &str) -> Value {
        loop {
            let (name, data) = self.next().await.expect("the stream goes on");
            if name == wanted {
                return data;
            }
        }
    }

    /// Reads some bytes without a look at them; how many.
    pub(crate) async fn read_bytes(&mut self) -> usize {
        let mut chunk = vec![0; 64 * 1024];
        let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut chunk));
        read.await.expect("something comes").unwrap()
    }

    async fn part(&mut self, end: &str) -> Option<String> {
        let mut chunk = vec![0; 64 * 1024];
        loop {
            if let Some((part, rest)) = self.text.split_once(end) {
                let (part, rest) = (part.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(part);
            }
            let read = tokio::time::timeout(PATIENCE, self.stream.read(&mut chunk));
            let count = read.await.expect("something comes").unwrap();
            if count == 0 {
                assert_eq!(self.text, "", "the last event is whole");
                return None;
            }
            self.text
                .push_str(std::str::from_utf8(&chunk[..count]).unwrap());
        }
    }
}

pub(crate) fn builder() -> Builder {
    Watcher::builder("shown").api((Ipv4Addr::LOCALHOST, 0))
}

/// Adds numbers; blocks on `wait` until it is dropped.
pub(crate) async fn adder(cx: &mut Context) -> Result {
    cx.watch_tick("slow", Duration::from_secs(3_600))?;
    match cx.message().as_deref() {
        Some("wait") => std::future::pending().await,
        Some(number) => {
            let number: i64 = number.parse()?;
            cx.update("total", |total: i64| total + number)?;
        }
        None => {}
    }
    Ok(())
}

pub(crate) async fn up(builder: Builder) -> (Watcher, SocketAddr) {
    let watcher = builder.start(adder).await.unwrap();
    watcher.ready().await.unwrap();
    let address = watcher.api_address().unwrap();
    (watcher, address)
}

pub(crate) fn keys(json: &Value) -> Vec<&str> {
    json.as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

pub(crate) fn is_time(text: &Value) -> bool {
    let text = text.as_str().unwrap();
    text.len() == 24 && text.ends_with('Z') && &text[10..11] == "T"
}
