//! Phase 3: a whole host, steered over HTTP as any client would, runs `examples/counter`.
//!
//! ```text
//! serve ─► deploy ─► Ready ─► message ─► serve again ─► restart ─► remove ─► nothing left
//! ```

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode, header::CONTENT_TYPE};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    counter,
    engine::Engine,
    host::{self, Host},
    patience::{Interrupted, Signals, until},
    report::{PhaseOver, Report, Seen, same, seen},
};

/// What the message adds to the counter's total.
const ADDED: i64 = 5;

/// One host, which is there or not, and one program on it.
struct System {
    engine: Engine,
    program: String,
    folder: TempDir,
    host: Option<Host>,
}

/// The container of the program, as the engine tells it.
#[derive(Debug, PartialEq)]
struct Container {
    id: String,
    started_at: String,
}

/// Runs the phase. A check that fails ends it; what it made is removed all the same.
///
/// # Errors
/// [`Interrupted`], after it has cleaned up.
pub(crate) async fn run(
    report: &mut Report,
    engine: &Engine,
    signals: &mut Signals,
) -> Result<(), Interrupted> {
    report.phase("Phase 3, full system");
    let Ok(mut system) = report.check("a folder for a host", System::new(engine)) else {
        return Ok(());
    };
    let ended = signals
        .unless_interrupted(checks(report, &mut system))
        .await;
    // Nothing stands on this one.
    let _ = report.check(
        "nothing is left on the engine and the disk",
        system.close().await,
    );
    ended.map(drop)
}

async fn checks(report: &mut Report, system: &mut System) -> Result<(), PhaseOver> {
    report.check("a host starts", system.serve().await)?;
    report.check("nobody is let in without the token", system.knock().await)?;
    report.check("a tar is taken in", system.deploy().await)?;
    let first = report.check("the program gets Ready", system.start().await)?;
    report.check("its receipt proves the sandbox", system.receipt().await)?;
    report.check("a message changes its total", system.send().await)?;
    report.check("the host ends and starts again", system.serve_again().await)?;
    let untouched = system.compare(&first).await;
    report.check("the program did not notice", untouched)?;
    let kept = system.restart(&first).await;
    report.check("a restart keeps the total", kept)?;
    report.check("it is removed", system.remove().await)
}

impl System {
    fn new(engine: &Engine) -> Result<Seen<Self>> {
        let folder = tempfile::tempdir()?;
        let evidence = folder.path().display().to_string();
        let system = Self {
            engine: engine.clone(),
            program: format!("validation-{}", std::process::id()),
            folder,
            host: None,
        };
        seen(system, evidence)
    }

    /// Ends with nothing left, whatever the checks came to.
    async fn close(mut self) -> Result<Seen<()>> {
        let stopped = match self.host.take() {
            Some(host) => {
                // What is under way ends before anything is looked at. A failure shows in what
                // is left, and a program that is gone already is no failure.
                let _ = host::answer(host.ask(Method::DELETE, &self.path("?wait=60s"))).await;
                host.stop().await
            }
            None => Ok(()),
        };
        let gone = self.engine.clean_up(&self.program, self.folder).await;
        stopped.and(gone)
    }

    async fn serve(&mut self) -> Result<Seen<()>> {
        let host = Host::start(self.folder.path(), &self.engine).await?;
        let address = host.address;
        host.get("/readyz").await?;
        self.host = Some(host);
        seen((), format!("http://{address} is ready"))
    }

    async fn knock(&self) -> Result<Seen<()>> {
        let request = self.host()?.stranger(Method::GET, "/programs");
        let (status, _) = host::answer(request).await?;
        same("status", &status, &StatusCode::UNAUTHORIZED)?;
        seen((), status.to_string())
    }

    async fn deploy(&self) -> Result<Seen<()>> {
        let archive = counter::pack(&counter::files()?)?;
        let size = archive.len();
        let path = format!("/programs?name={}", self.program);
        let request = self.host()?.ask(Method::POST, &path);
        let created = host::json(
            request
                .header(CONTENT_TYPE, "application/x-tar")
                .body(archive),
        )
        .await?;
        same("state", text(&created, "state")?, "Created")?;
        let build = text(&created, "build_id")?;
        seen((), format!("{size} bytes are {} of {build}", self.program))
    }

    async fn start(&self) -> Result<Seen<Container>> {
        let view = self.host()?.post(&self.path("/start?wait=60s")).await?;
        let container = self.ready(&view).await?;
        let evidence = format!("container {:.12}", container.id);
        seen(container, evidence)
    }

    async fn receipt(&self) -> Result<Seen<()>> {
        let receipt = self.host()?.get(&self.path("/receipt")).await?;
        let kernel = text(&receipt, "kernel")?.trim();
        ensure!(
            kernel.to_lowercase().contains("gvisor"),
            "its kernel says {kernel:?}"
        );
        let contracts = receipt["contracts"].as_array().context("no contracts")?;
        let names = contracts
            .iter()
            .map(|contract| text(contract, "name"))
            .collect::<Result<Vec<_>>>()?;
        same("contracts", &names.len(), &7)?;
        seen((), format!("kernel {kernel:?}; {}", names.join(", ")))
    }

    async fn send(&self) -> Result<Seen<()>> {
        let before = self.total().await?;
        let request = self
            .host()?
            .ask(Method::POST, &self.path("/watcher/message"));
        host::json(request.json(&json!({"content": format!("add {ADDED}")}))).await?;
        until("the message is counted", || async {
            Ok((self.total().await? == before + ADDED).then_some(()))
        })
        .await?;
        seen(
            (),
            format!("{before}, 'add {ADDED}', {}", self.total().await?),
        )
    }

    async fn serve_again(&mut self) -> Result<Seen<()>> {
        self.host.take().context("no host runs")?.stop().await?;
        self.serve().await
    }

    async fn compare(&self, before: &Container) -> Result<Seen<()>> {
        let view = self.host()?.get(&self.path("?wait=60s")).await?;
        same("container", &self.ready(&view).await?, before)?;
        same("total", &self.total().await?, &ADDED)?;
        let since = &before.started_at;
        seen((), format!("the same container, running since {since}"))
    }

    async fn restart(&self, before: &Container) -> Result<Seen<()>> {
        let view = self.host()?.post(&self.path("/restart?wait=60s")).await?;
        let after = self.ready(&view).await?;
        ensure!(after.id != before.id, "the container before still runs");
        let total = self.total().await?;
        same("total", &total, &ADDED)?;
        let evidence = format!("{total} in a new container, {:.12}", after.id);
        seen((), evidence)
    }

    async fn remove(&self) -> Result<Seen<()>> {
        let host = self.host()?;
        let asked = host.ask(Method::DELETE, &self.path("?wait=60s"));
        let (status, body) = host::answer(asked).await?;
        ensure!(status == StatusCode::NO_CONTENT, "{status}: {body}");
        let (status, _) = host::answer(host.ask(Method::GET, &self.path(""))).await?;
        same("status", &status, &StatusCode::NOT_FOUND)?;
        let left = self.engine.leftovers(&self.program).await?;
        same("on the engine", &left, &Vec::new())?;
        let folder = self.folder.path().join("programs").join(&self.program);
        ensure!(!folder.exists(), "{} is still there", folder.display());
        seen((), "the host, the engine and the disk know nothing of it")
    }

    /// The one container of a program that `view` says is Ready.
    async fn ready(&self, view: &Value) -> Result<Container> {
        if text(view, "state")? != "Ready" {
            let (state, cause) = (&view["state"], &view["cause"]);
            anyhow::bail!("it is {state}: {cause}");
        }
        let id = text(view, "container_id")?.to_owned();
        let found = self.engine.containers(&self.program).await?;
        same("containers", &found, &vec![id.clone()])?;
        let started_at = self.engine.started_at(&id).await?;
        Ok(Container { id, started_at })
    }

    /// What the counter has counted, told by its WatcherAPI through the proxy.
    async fn total(&self) -> Result<i64> {
        let context = self.host()?.get(&self.path("/watcher/context")).await?;
        let committed = context.get("context").context("no context is shown")?;
        // Before the first message there is none.
        Ok(committed["total"].as_i64().unwrap_or(0))
    }

    fn host(&self) -> Result<&Host> {
        self.host.as_ref().context("no host runs")
    }

    fn path(&self, rest: &str) -> String {
        format!("/programs/{}{rest}", self.program)
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    let found = value[key].as_str();
    found.with_context(|| format!("no {key} in {value}"))
}
