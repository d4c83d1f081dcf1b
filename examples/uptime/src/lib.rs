//! Asks web servers whether they are well, and tells when one goes down and comes back: in the log, and to a web
//! server that is there for that.

mod client;
mod history;
mod settings;

use std::time::Duration;

use hersh::{Context, Policy, Result};

pub use client::Answer;
pub use history::History;

use client::Client;
use settings::Settings;

/// How long news is posted again that was not taken. Later it is no news.
const NEWS_AGE: Duration = Duration::from_secs(60 * 60);

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

    let (teller, notify) = (client.clone(), settings.notify.clone());
    let policy = Policy::at_least_once()
        .within(NEWS_AGE)
        .timeout(Duration::from_secs(10));
    let news = cx.effects(
        "news",
        policy,
        async move |id, news: String| match &notify {
            Some(url) => teller.tell(url, id, news).await,
            None => Ok(()),
        },
    )?;
    if let Some(told) = news.settled(cx)?
        && let Err(why) = told.outcome.result()
    {
        cx.log(format!("not told: {}: {why}", told.input));
    }

    for target in settings.targets {
        let name = target.name;
        let client = client.clone();
        let ask = async move || client.ask(&target.url).await.map(Some);
        let answer = cx.watch_call(&name, settings.interval, None, ask)?;

        let mut history: History = cx.value(&name)?.unwrap_or_default();
        if answer.is_triggered(cx) {
            let fault = answer.error();
            if let Some(change) = history.add(answer.as_ref(), fault, cx.now()) {
                let line = format!("{name} {change}");
                cx.log(&line);
                if settings.notify.is_some() {
                    // What is told of one server comes in its order.
                    cx.start_in_order(&news, &name, &line)?;
                }
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
