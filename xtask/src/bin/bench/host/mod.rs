//! The host, part by part.

mod api;
mod peers;
mod proxy;

use anyhow::{Result, bail};

use crate::row::Row;

const SUITE: &str = "host";

/// Measures one part, or all.
pub(crate) fn suite(part: Option<&str>) -> Result<Vec<Row>> {
    match part {
        None => Ok([api::rows()?, proxy::rows()?].concat()),
        Some("api") => api::rows(),
        Some("proxy") => proxy::rows(),
        Some(other) => bail!("the suite host has no part {other}: there are api and proxy"),
    }
}

/// What a fresh process of these measurements does.
pub(crate) fn child(what: &str) -> Result<()> {
    match what {
        "upstream" => proxy::upstream(),
        "serve" => proxy::serve(),
        other => bail!("no child {other}"),
    }
}
