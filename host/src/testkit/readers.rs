//! Readers of what strangers send, by themselves: for those who send them anything.

use hersh_program::Manifest;
use hersh_wire::CreateProgram;
use hyper::header::{HeaderName, HeaderValue};

use crate::{convert, proxy};

/// Takes in a `hersh.toml`.
///
/// # Errors
/// What is wrong with it.
pub fn manifest_from_toml(text: &str) -> Result<Manifest, String> {
    let asked = toml::from_str(text).map_err(|error| error.to_string())?;
    convert::manifest(&asked).map_err(|error| error.to_string())
}

/// Takes in the manifest of a `POST /programs`.
///
/// # Errors
/// What is wrong with it.
pub fn manifest_from_json(text: &str) -> Result<Manifest, String> {
    let asked: CreateProgram = serde_json::from_str(text).map_err(|error| error.to_string())?;
    convert::manifest(&asked.manifest).map_err(|error| error.to_string())
}

/// The manifest as the API shows it, as JSON.
#[must_use]
pub fn shown_manifest(manifest: &Manifest) -> String {
    serde_json::json!(convert::manifest_view(manifest)).to_string()
}

/// What `program` is asked for by a request for `target`; `None` if that is not forwarded.
#[must_use]
pub fn forwarded_path(target: &str, program: &str) -> Option<String> {
    proxy::watcher_path(&target.parse().ok()?, program).ok()
}

/// What a client gets of a program's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeardAnswer {
    /// The status.
    pub status: u16,
    /// Names and values of headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

/// What a client gets of an answer whose bytes come in these pieces and then the end of the
/// connection; `None` if that is not all of one. `is_head` tells that it answers a HEAD.
#[must_use]
pub fn heard_answer(pieces: &[&[u8]], is_head: bool) -> Option<HeardAnswer> {
    let (head, body) = proxy::hear_out(pieces, is_head)?;
    let header =
        |(name, value): &(HeaderName, HeaderValue)| (name.to_string(), value.as_bytes().to_vec());
    Some(HeardAnswer {
        status: head.status.as_u16(),
        headers: head.headers.iter().map(header).collect(),
        body,
    })
}
