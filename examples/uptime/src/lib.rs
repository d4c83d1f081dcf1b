//! Asks web servers whether they are well, and tells when one goes down and comes back.

mod client;
mod history;
mod settings;

use hersh::{Context, Result};

pub use client::Answer;
pub use history::History;

use client::Client;
use settings::Settings;

/// The managed function: runs at the start, for each answer of a target, and for each message.
///
/// # Errors
/// When a stored value cannot be read; and, as a wish to end, when the environment makes no sense.
/// A target that does not answer is no error of a run: that is what it is here to see.
pub async fn uptime(cx: &mut Context) -> Result {
    let settings = Settings::from_env(cx)?;
    let client = cx.memo("client", Client::new)?;
    let message = cx.message();
    let report = message.as_deref() == Some("report");

    for target in settings.targets {
        let name = target.name;
        let client = client.clone();
        let ask = async move || client.ask(&target.url).await.map(Some);
        let answer = cx.watch_call(&name, settings.interval, None, ask)?;

        let mut history: History = cx.value(&name)?.unwrap_or_default();
        if answer.is_triggered(cx) {
            let fault = answer.error();
            if let Some(news) = history.add(answer.as_ref(), fault, cx.now()) {
                cx.log(format!("{name} {news}"));
            }
            cx.set(&name, &history)?;
        }
        if report {
            cx.log(format!("{name} {history}"));
        }
    }
    if let Some(message) = message.filter(|_| !report) {
        cx.log(format!("{message:?} is not: report"));
    }
    Ok(())
}
