//! What the environment asks for.

use std::time::Duration;

use hersh::{Context, Control, INTERVAL_MAX, INTERVAL_MIN};
use hyper::Uri;

/// Which web servers to ask, how often, and who is told.
pub(crate) struct Settings {
    pub(crate) targets: Vec<Target>,
    pub(crate) interval: Duration,
    /// Where the news is posted to, if anywhere.
    pub(crate) notify: Option<Uri>,
}

/// A web server.
pub(crate) struct Target {
    /// Its address without the scheme.
    pub(crate) name: String,
    pub(crate) url: Uri,
}

impl Settings {
    /// Reads `TARGETS`, addresses with commas between them, `INTERVAL`, by default 30 s, and `NOTIFY`, an address,
    /// by default none.
    ///
    /// # Errors
    /// A wish to crash, because no later run could do better.
    pub(crate) fn from_env(cx: &Context) -> Result<Self, Control> {
        let list = cx.env("TARGETS").unwrap_or_default();
        let targets: Option<Vec<Target>> = list.split(',').map(target).collect();
        let targets = targets.ok_or_else(|| {
            let example = "http://example.com,http://example.org/health";
            Control::crash(format!(
                "TARGETS is {list:?}: give addresses, such as {example}"
            ))
        })?;

        let mut names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
        names.sort_unstable();
        if let Some([name, _]) = names.array_windows().find(|[one, next]| one == next) {
            return Err(Control::crash(format!(
                "TARGETS names {name} twice: name each address once"
            )));
        }

        let asked = cx.env("INTERVAL").unwrap_or_else(|| "30s".into());
        let usable = |every: &Duration| (INTERVAL_MIN..=INTERVAL_MAX).contains(every);
        let interval = humantime::parse_duration(&asked)
            .ok()
            .filter(usable)
            .ok_or_else(|| {
                Control::crash(format!("INTERVAL is {asked:?}: give a time, such as 30s"))
            })?;
        let notify = match cx.env("NOTIFY").as_deref() {
            None | Some("") => None,
            Some(text) => Some(target(text).ok_or_else(|| {
                let example = "http://example.net/news";
                Control::crash(format!(
                    "NOTIFY is {text:?}: give an address, such as {example}"
                ))
            })?),
        };
        Ok(Self {
            targets,
            interval,
            notify: notify.map(|target| target.url),
        })
    }
}

fn target(text: &str) -> Option<Target> {
    let text = text.trim();
    let name = text.strip_prefix("http://")?.trim_end_matches('/');
    let url: Uri = text.parse().ok()?;
    url.host().filter(|host| !host.is_empty())?;
    Some(Target {
        name: name.into(),
        url,
    })
}
