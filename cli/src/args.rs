//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Runs long-lived programs in gVisor sandboxes and keeps them alive.
///
/// Exit codes: 0 done; 1 the operation failed; 2 wrong usage; 3 input refused (manifest, source,
/// name); 4 no such program; 5 token missing or refused; 6 host not reachable; 7 host can't do it
/// now (engine down, runsc missing, disk full, queue full); 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "hersh", version, verbatim_doc_comment)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// How results are printed.
    #[arg(short, long, global = true, value_enum, default_value = "table")]
    pub(crate) output: Output,
    #[command(subcommand)]
    pub(crate) task: Task,
}

const TALK_TO: &str = "The host to talk to";

/// Where the host is and how to be let in.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// The host's address.
    #[arg(
        long,
        global = true,
        env = "HERSH_HOST", help_heading = TALK_TO,
        default_value = "http://127.0.0.1:7700"
    )]
    pub(crate) host: String,
    /// File that holds the token; `HERSH_TOKEN` wins over it.
    #[arg(
        long,
        global = true,
        env = "HERSH_TOKEN_FILE", help_heading = TALK_TO,
        default_value = "/var/lib/hersh/admin-token"
    )]
    pub(crate) token_file: PathBuf,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Serve: run programs and the API on this machine.
    Host(HostOptions),
    /// Find what keeps this machine from running Hersh, and say how to mend it.
    Doctor(EngineOptions),
    /// Send a folder with a Dockerfile (and hersh.toml) to the host, build it and start it.
    Deploy(DeployOptions),
    /// List programs.
    Ps,
    /// Show one program: state, cause, limits, receipt.
    Inspect {
        /// The program's name.
        program: String,
    },
    /// Start a program.
    Start(CommandOptions),
    /// Stop a program; its state stays.
    Stop(CommandOptions),
    /// Stop a program and start it again.
    Restart(CommandOptions),
    /// Remove a program with its source, logs and state.
    Rm(CommandOptions),
    /// Show what a program printed.
    Logs(LogsOptions),
    /// Show what happened to a program: its journal.
    Events {
        /// The program's name.
        program: String,
    },
    /// Send a message to a program's watcher.
    Send {
        /// The program's name.
        program: String,
        /// The message; several words are joined by blanks.
        #[arg(required = true)]
        message: Vec<String>,
    },
    /// Show a watcher's variables and durable context.
    Vars {
        /// The program's name.
        program: String,
    },
}

/// Which engine runs the programs.
#[derive(Clone, Debug, Args)]
pub(crate) struct EngineOptions {
    /// The container engine's socket.
    #[arg(
        long,
        env = "HERSH_ENGINE",
        default_value = "unix:///var/run/docker.sock"
    )]
    pub(crate) engine: String,
    /// Run programs on the host's own kernel, without gVisor. For work on Hersh itself only.
    #[arg(long)]
    pub(crate) insecure_runc: bool,
}

#[derive(Debug, Args)]
pub(crate) struct HostOptions {
    /// Where programs, their state and the journal are kept.
    #[arg(long, env = "HERSH_DATA_DIR", default_value = "/var/lib/hersh")]
    pub(crate) data_dir: PathBuf,
    /// Where the API listens.
    #[arg(long, env = "HERSH_LISTEN", default_value = "127.0.0.1:7700")]
    pub(crate) listen: SocketAddr,
    /// Allow a public address: something in front of this host ends TLS.
    #[arg(long)]
    pub(crate) behind_tls_proxy: bool,
    /// Log as JSON lines.
    #[arg(long)]
    pub(crate) log_json: bool,
    #[command(flatten)]
    pub(crate) engine: EngineOptions,
}

#[derive(Debug, Args)]
pub(crate) struct DeployOptions {
    /// The folder.
    #[arg(default_value = ".")]
    pub(crate) folder: PathBuf,
    /// The program's name; the folder's hersh.toml says it otherwise.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Return once the host has the source and the command.
    #[arg(long)]
    pub(crate) detach: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CommandOptions {
    /// The program's name.
    pub(crate) program: String,
    /// Return at once instead of waiting until the program has settled.
    #[arg(long)]
    pub(crate) detach: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LogsOptions {
    /// The program's name.
    pub(crate) program: String,
    /// Go on with what it prints from now.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// How many lines to begin with.
    #[arg(short = 'n', long, default_value_t = 100)]
    pub(crate) tail: usize,
    /// Show the log of the newest build instead.
    #[arg(long)]
    pub(crate) build: bool,
}
