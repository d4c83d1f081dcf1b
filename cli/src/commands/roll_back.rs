//! `hersh rollback`.

use hersh_wire::ProgramView;
use reqwest::Method;

use super::{
    follow::{self, Sent, StartProgress},
    programs,
};
use crate::{
    args::{Output, RollBackOptions},
    client::Client,
    failure::Failure,
};

pub(crate) async fn roll_back(
    client: &Client,
    options: RollBackOptions,
    format: Output,
) -> Result<(), Failure> {
    let path = ["programs", &options.program, "rollback"];
    let request = client.request(Method::POST, &path);
    let request = match options.revision {
        Some(revision) => request.query(&[("revision", revision)]),
        None => request,
    };
    let begun: ProgramView = client.read(request).await?;
    if options.detach {
        return programs::show(&begun, format);
    }
    let (sent, progress) = (Sent::wanted(&begun), StartProgress::default());
    tokio::select! {
        ended = follow::follow(client, &sent, &begun, &progress, format) => ended,
        _ = tokio::signal::ctrl_c() => Err(progress.interrupted(&sent)),
    }
}
