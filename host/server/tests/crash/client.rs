//! One request to a host that may die meanwhile.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
}

impl Client {
    /// Status and body; `None` if no whole answer came.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
        let mut stream = TcpStream::connect(self.address).await.ok()?;
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        // HTTP/1.0, so that the answer ends where the connection does.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: test\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        if body.len() < length {
            return None;
        }
        Some((status, serde_json::from_str(body).unwrap_or_default()))
    }
}

/// A program whose source differs by `version`.
pub(crate) fn program(name: &str, version: u64) -> Value {
    json!({
        "name": name,
        "dockerfile": "FROM scratch\n",
        "src_files": { "version": version.to_string() },
        "restart": "never",
        "readiness": { "kind": "none" },
    })
}
