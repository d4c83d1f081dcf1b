//! A program that is one watcher and nothing else: environment, signals, exit code.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit_codes::{EXIT_CRASHED, EXIT_KILLED, EXIT_NOT_STARTED};
use super::replaying::{compare_exit, replay_exit};
use crate::shared::{Level, LogKind, Logbook};
use crate::{Builder, Context, EndKind, Ending, Error, Watcher};

/// Environment variable for the name of the watcher; default the program's file name.
const ENV_ID: &str = "HERSH_WATCHER_ID";
/// Environment variable for the address that the API listens on, `host:port`, or `none`. Default
/// all interfaces, port 8080: in a sandbox the proxy connects to the container's address, and
/// nobody else can.
#[cfg(feature = "api")]
const ENV_ADDRESS: &str = "HERSH_WATCHER_ADDRESS";
/// Environment variable for the Unix socket that the API listens on as well; none by default.
#[cfg(feature = "api")]
const ENV_SOCKET: &str = "HERSH_WATCHER_SOCKET";
/// Environment variable for the folder of the durable context; default `/state` when that exists.
const ENV_STATE_DIR: &str = "HERSH_STATE_DIR";
/// Environment variable for the folder of the journal; none by default.
const ENV_JOURNAL_DIR: &str = "HERSH_JOURNAL_DIR";
/// Environment variable for a journal that is replayed instead of serving.
const ENV_REPLAY: &str = "HERSH_REPLAY";
/// Environment variable for a journal that is compared with instead of serving.
const ENV_COMPARE: &str = "HERSH_COMPARE";
/// Environment variable for the time from the stop signal to the forced end, milliseconds.
const ENV_STOP_GRACE: &str = "HERSH_STOP_GRACE_MS";

#[cfg(feature = "api")]
const DEFAULT_ADDRESS: &str = "0.0.0.0:8080";
const DEFAULT_STATE_DIR: &str = "/state";
/// Default time from the stop signal to the forced end. It is shorter than the ten seconds that a
/// host usually grants before it kills.
const DEFAULT_STOP_GRACE: Duration = Duration::from_secs(9);

/// Longest time that writing the last line may take.
const LAST_LINE_TIMEOUT: Duration = Duration::from_millis(500);

/// Runs a watcher as a whole program, with its settings from the environment. Call it from a plain
/// `main`, outside any async runtime.
///
/// The durable context is in `HERSH_STATE_DIR` (default `/state` when that folder exists), the
/// API listens on `HERSH_WATCHER_ADDRESS` (default `0.0.0.0:8080`; `none` for none) and on the
/// Unix socket `HERSH_WATCHER_SOCKET` if that is set, log lines go to stdout as JSON, runs are
/// recorded in `HERSH_JOURNAL_DIR` if that is set. SIGTERM and SIGINT stop the watcher within
/// `HERSH_STOP_GRACE_MS` (default 9,000); a second signal ends it at once.
///
/// With `HERSH_REPLAY` set to a journal, nothing is served: the journal is replayed, and the last
/// line says whether all runs were as recorded ([`crate::replay`]). With `HERSH_COMPARE` set to one, each run
/// that differs has a line, and the last ones sum up ([`crate::compare`]). No effect is acted on.
///
/// Exit code: 0 stopped as asked (or replayed as recorded), 1 crashed or did not stop in time, 2
/// could not start (or the journal cannot be read), 3 ended by [`crate::Control::Kill`], 4 a
/// replayed run differs.
pub fn main<F, E>(managed: F) -> ExitCode
where
    F: AsyncFnMut(&mut Context) -> Result<(), E> + Send + 'static,
    E: Into<Error> + 'static,
{
    Watcher::from_env().main(managed)
}

impl Watcher {
    /// Returns settings from the environment, as [`crate::main`] uses them.
    pub fn from_env() -> Builder {
        let env: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(key, value)| Some((text(key)?, text(value)?)))
            .collect();
        let get = |wanted: &str| {
            let pair = env.iter().find(|(key, _)| key == wanted);
            pair.map(|(_, value)| value.clone())
        };
        let id = get(ENV_ID).unwrap_or_else(file_name);
        let state_dir = get(ENV_STATE_DIR).map(PathBuf::from).or_else(|| {
            let default = PathBuf::from(DEFAULT_STATE_DIR);
            default.is_dir().then_some(default)
        });
        let mut builder = Builder::new(id).log_to_stdout(true);
        if let Some(folder) = state_dir {
            builder = builder.state_dir(folder);
        }
        if let Some(folder) = get(ENV_JOURNAL_DIR) {
            builder = builder.journal_dir(folder);
        }
        #[cfg(feature = "api")]
        {
            let address = get(ENV_ADDRESS).unwrap_or_else(|| DEFAULT_ADDRESS.into());
            let on = address != "none";
            builder.api.address = on.then_some(crate::api::Address::Text(address));
            builder.api.socket = get(ENV_SOCKET).map(PathBuf::from);
        }
        builder.env(env)
    }
}

impl Builder {
    /// Runs the watcher as a whole program: see [`crate::main`].
    pub fn main<F, E>(self, managed: F) -> ExitCode
    where
        F: AsyncFnMut(&mut Context) -> Result<(), E> + Send + 'static,
        E: Into<Error> + 'static,
    {
        let log = Logbook::new(Some(self.id.clone()));
        let say = |level, message: &str| {
            log.write(SystemTime::now(), level, LogKind::Reduce, 0, message);
        };
        if let Some(journal) = self.env.get(ENV_REPLAY).cloned() {
            let (code, level, message) = replay_exit(self.replay(journal, managed));
            say(level, &message);
            return ExitCode::from(code);
        }
        if let Some(journal) = self.env.get(ENV_COMPARE).cloned() {
            let (code, lines) = compare_exit(self.compare(journal, managed));
            for (level, line) in lines {
                say(level, &line);
            }
            return ExitCode::from(code);
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let ended = match runtime {
            Ok(runtime) => runtime.block_on(serve(self, managed)),
            Err(error) => Err((EXIT_NOT_STARTED, format!("cannot start: {error}"))),
        };
        match ended {
            Ok(ending) => match ending.kind {
                EndKind::Stopped => ExitCode::SUCCESS,
                EndKind::Killed => ExitCode::from(EXIT_KILLED),
                EndKind::Crashed => ExitCode::from(EXIT_CRASHED),
            },
            Err((code, message)) => {
                // A thread of its own prints: a reader of stdout that has stalled must not keep the
                // process from ending.
                let (told, is_told) = std::sync::mpsc::channel();
                std::thread::spawn(move || {
                    log.write(
                        SystemTime::now(),
                        Level::Error,
                        LogKind::Reduce,
                        0,
                        &message,
                    );
                    told.send(())
                });
                let _ = is_told.recv_timeout(LAST_LINE_TIMEOUT);
                ExitCode::from(code)
            }
        }
    }

    /// Returns how long a stop by signal may take as a whole.
    fn signal_grace(&self) -> Result<Duration, String> {
        match self.env.get(ENV_STOP_GRACE) {
            None => Ok(DEFAULT_STOP_GRACE),
            Some(text) => text.parse().map(Duration::from_millis).map_err(|_| {
                format!("{ENV_STOP_GRACE} is {text:?}: give whole milliseconds, such as 9000")
            }),
        }
    }
}

/// Runs the watcher until it or the grace period is over; errors carry their exit code.
async fn serve<F, E>(builder: Builder, managed: F) -> Result<Ending, (u8, String)>
where
    F: AsyncFnMut(&mut Context) -> Result<(), E> + Send + 'static,
    E: Into<Error> + 'static,
{
    let not_started = |message: String| (EXIT_NOT_STARTED, format!("cannot start: {message}"));
    let grace = builder.signal_grace().map_err(not_started)?;
    // The run in progress may take half of the grace, so that the cleanup has the other half.
    let builder = builder.stop_grace_at_most(grace / 2);
    // The signals are handled before the start: the first process of a container ignores signals
    // that it does not handle.
    let mut signals = OsSignals::new().map_err(|error| not_started(error.to_string()))?;
    let watcher = builder
        .start(managed)
        .await
        .map_err(|error| not_started(error.to_string()))?;
    let name = tokio::select! {
        ending = watcher.wait() => return Ok(ending),
        name = signals.next() => name,
    };
    watcher.stop(name);
    tokio::select! {
        // The watcher's end is looked at first: a watcher that has ended well counts as such, even
        // if the signal was sent twice.
        biased;
        ending = watcher.wait() => Ok(ending),
        name = signals.next() => {
            Err((EXIT_CRASHED, format!("ended at once by a second signal, {name}")))
        }
        () = tokio::time::sleep(grace) => {
            let limit_ms = grace.as_millis();
            Err((EXIT_CRASHED, format!("did not stop within {limit_ms} ms after {name}")))
        }
    }
}

struct OsSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl OsSignals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

fn text(value: OsString) -> Option<String> {
    value.into_string().ok()
}

fn file_name() -> String {
    let path = std::env::current_exe().ok();
    let name = path.as_deref().and_then(|path| path.file_name());
    name.map_or_else(
        || "watcher".into(),
        |name| name.to_string_lossy().into_owned(),
    )
}
