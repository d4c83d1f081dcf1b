//! `hersh deploy`: folder → host → image → sandbox.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::StreamExt;
use hersh_wire::{Manifest, ProgramCreated, ProgramView};
use reqwest::{Body, Method};
use tokio_util::io::{ReaderStream, SyncIoBridge};

use super::{archive, build_query, programs};
use crate::{
    args::{DeployOptions, Output},
    client::Client,
    failure::Failure,
    output,
};

/// Bytes of the archive that wait between reading files and sending them.
const PIPE_BYTES: usize = 256 * 1024;

/// The states in which a program is started; in all others it is restarted.
const AT_REST: [&str; 3] = ["Created", "Stopped", "Error"];

pub(crate) async fn deploy(
    client: &Client,
    options: DeployOptions,
    format: Output,
) -> Result<(), Failure> {
    let manifest = read_manifest(&options.folder, options.build.file.is_some())?;
    let name = name(&options, &manifest)?;
    let asked = build_query::of(&options.build, &options.folder)?;
    let standing = client.find(&name).await?;
    let created = upload(client, &options.folder, &name, standing.is_some(), &asked).await?;
    let at_rest = AT_REST.contains(&created.state.as_str());
    let verb = if at_rest { "start" } else { "restart" };
    let begun: ProgramView = client
        .read(client.request(Method::POST, &["programs", &name, verb]))
        .await?;
    if options.detach {
        return programs::show(&begun, format);
    }
    tokio::select! {
        ended = follow(client, &name, &begun, format) => ended,
        _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted(format!(
            "the host goes on with {name}; 'hersh stop {name}' ends it"
        ))),
    }
}

/// Shows the build and waits until the program has settled.
async fn follow(
    client: &Client,
    name: &str,
    begun: &ProgramView,
    format: Output,
) -> Result<(), Failure> {
    let shown = begun.state == "Building" || begun.image_id.is_none();
    if shown {
        show_build(client, name).await;
    }
    let settled = client
        .request(Method::GET, &["programs", name])
        .query(&[("wait", "1h")]);
    let mut view: ProgramView = client.read(settled).await?;
    if let Some(cause) = view
        .cause
        .as_mut()
        .filter(|cause| shown && cause.code == "build_failed")
    {
        // Its end was on the screen a moment ago.
        cause.logs.clear();
    }
    match programs::failed(&view) {
        Some(failure) => Err(failure),
        None => report(client, &view, format),
    }
}

fn report(client: &Client, view: &ProgramView, format: Output) -> Result<(), Failure> {
    match format {
        Output::Json => output::json(view),
        Output::Table => output::line(&format!(
            "{} is {}   watcher: {}   next: hersh inspect {0}, hersh logs -f {0}",
            view.program_id,
            view.state,
            client.address(&view.proxy_url)
        )),
    }
}

/// `is_named` says that a Dockerfile is, so that none needs to be at the root.
fn read_manifest(folder: &Path, is_named: bool) -> Result<Manifest, Failure> {
    let path = folder.join("hersh.toml");
    match std::fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text)
            .map_err(|error| Failure::Input(format!("{}: {error}", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if is_named || folder.join("Dockerfile").exists() {
                return Ok(Manifest::default());
            }
            if !folder.is_dir() {
                return Err(Failure::Input(format!(
                    "there is no folder {}",
                    folder.display()
                )));
            }
            let folder = folder.display();
            Err(Failure::Input(format!(
                "{folder} has no Dockerfile; name the folder of the program"
            )))
        }
        Err(error) => Err(Failure::Input(format!(
            "{} can't be read: {error}",
            path.display()
        ))),
    }
}

/// `--name`, else the manifest's, else the folder's if it happens to be a valid one.
fn name(options: &DeployOptions, manifest: &Manifest) -> Result<String, Failure> {
    if let Some(name) = options.name.as_ref().or(manifest.name.as_ref()) {
        return Ok(name.clone());
    }
    let folder: PathBuf = options
        .folder
        .canonicalize()
        .unwrap_or_else(|_| options.folder.clone());
    folder
        .file_name()
        .and_then(|name| name.to_str())
        .map(ToString::to_string)
        .ok_or_else(|| {
            Failure::Input("the program has no name: set name in hersh.toml or use --name".into())
        })
}

async fn upload(
    client: &Client,
    folder: &Path,
    name: &str,
    stands: bool,
    asked: &[(&'static str, String)],
) -> Result<ProgramCreated, Failure> {
    let entries = Arc::new(archive::entries(folder)?);
    let kib = archive::total_bytes(&entries).div_ceil(1024);
    output::note(&format!("sending {} entries, {kib} KiB", entries.len()));
    let (writer, reader) = tokio::io::duplex(PIPE_BYTES);
    let packing = {
        let (folder, bridge) = (folder.to_path_buf(), SyncIoBridge::new(writer));
        tokio::task::spawn_blocking(move || archive::write(&folder, &entries, bridge))
    };
    let request = if stands {
        client.request(Method::PUT, &["programs", name, "source"])
    } else {
        client
            .request(Method::POST, &["programs"])
            .query(&[("name", name)])
    };
    let request = request
        .query(asked)
        .header("content-type", "application/x-tar")
        .body(Body::wrap_stream(ReaderStream::new(reader)));
    let sent = client.read(request).await;
    match (sent, packing.await) {
        (Ok(created), _) => Ok(created),
        // A refusal makes packing fail too: the host hung up. Its word matters more.
        (Err(failure @ Failure::Refused(_)), _) => Err(failure),
        (Err(_), Ok(Err(error))) if error.kind() != io::ErrorKind::BrokenPipe => Err(
            Failure::Input(format!("{} can't be packed: {error}", folder.display())),
        ),
        (Err(failure), _) => Err(failure),
    }
}

/// Shows the build as it goes. What goes wrong here is not the deploy's failure.
async fn show_build(client: &Client, name: &str) {
    let request = client
        .request(Method::GET, &["programs", name, "builds", "latest", "logs"])
        .query(&[("follow", "true")]);
    let Ok(lines) = client.lines(request).await else {
        return;
    };
    let mut lines = std::pin::pin!(lines);
    while let Some(Ok(line)) = lines.next().await {
        output::note(&format!("  {}", line.line));
    }
}
