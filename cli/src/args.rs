//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hersh_host::EngineSocket;

use crate::{
    account_args::{TokenTask, UserTask},
    build_options::BuildOptions,
    message_args::{InboxOptions, SendOptions},
    setting_flags::SettingFlags,
};

/// Runs long-lived programs in gVisor sandboxes and keeps them alive.
///
/// Exit codes: 0 done; 1 the operation failed; 2 wrong usage; 3 input refused (manifest, source,
/// name, quota); 4 no such program; 5 token missing or refused; 6 host not reachable; 7 host can't do it
/// now (engine down, runsc missing, disk full, queue full, shutting down); 8 the host's journal or
/// folders need a person; 130 interrupted. With -o json a failure prints an object on the standard
/// output too: {"error": {"code", "message", "exit_code"}}.
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
    /// File that holds the token; `HERSH_TOKEN` wins over it. When none is named: your own
    /// ~/.config/hersh/token, else, for a host on this machine, its admin's.
    #[arg(
        long,
        global = true,
        env = "HERSH_TOKEN_FILE", help_heading = TALK_TO,
        value_name = "FILE"
    )]
    pub(crate) token_file: Option<PathBuf>,
    /// PEM file with the authorities that may vouch for the host; the machine's own otherwise.
    #[arg(
        long,
        global = true,
        env = "HERSH_CA_FILE", help_heading = TALK_TO,
        value_name = "FILE"
    )]
    pub(crate) ca_file: Option<PathBuf>,
    /// Send the token to another machine without TLS. Whoever is between can then use the host.
    #[arg(long, global = true, help_heading = TALK_TO)]
    pub(crate) insecure_http: bool,
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
    ///
    /// Settings come from a file, from the environment and from flags; later wins.
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
        /// Print how it is confined as a compose file, to read or to run it by hand with docker compose.
        #[arg(long)]
        compose: bool,
    },
    /// Start a program.
    Start(CommandOptions),
    /// Stop a program; its state stays.
    Stop(CommandOptions),
    /// Stop a program and start it again. A newer revision is built first, while the old one runs.
    Restart(CommandOptions),
    /// List what was deployed under a program's name, newest first.
    Revisions {
        /// The program's name.
        program: String,
    },
    /// Start an earlier revision in place of the one that runs.
    ///
    /// What runs goes on until the other one is built. If that one does not come up, what ran comes back.
    Rollback(RollBackOptions),
    /// Show what differs between two revisions: settings and files, line by line.
    ///
    /// Binary and very large files are only named. Of settings, values of variables are hidden.
    Diff {
        /// The program's name.
        program: String,
        /// The number of the older revision.
        from: u64,
        /// The number of the newer revision.
        to: u64,
    },
    /// Remove a program with its source, logs and state.
    Rm(RemoveOptions),
    /// Show what a program printed.
    Logs(LogsOptions),
    /// Show what happened to a program: its journal.
    Events {
        /// The program's name.
        program: String,
    },
    /// Send a message to a program's watcher, which has POST /watcher/message for that.
    Send(SendOptions),
    /// Show the messages that a watcher set aside because all their runs failed; send them again, or drop them.
    Inbox(InboxOptions),
    /// Copy what a program keeps in /state.
    State {
        #[command(subcommand)]
        task: StateTask,
    },
    /// Add, list, limit and remove users.
    User {
        #[command(subcommand)]
        task: UserTask,
    },
    /// Make, list and remove tokens.
    Token {
        #[command(subcommand)]
        task: TokenTask,
    },
    /// Show who you are on the host, what you have and may have.
    Whoami,
    /// Show who changed what, newest first.
    Audit {
        /// How many changes.
        #[arg(short = 'n', long = "limit", default_value_t = 100)]
        limit: usize,
    },
    /// Show a watcher's variables and durable context, or change the context of one at rest.
    Vars {
        /// The program's name.
        program: String,
        /// Remove this key from the context of a program that does not run.
        #[arg(long, value_name = "KEY", conflicts_with = "set")]
        remove: Option<String>,
        /// Set a key in the context of a program that does not run, to a value in JSON.
        #[arg(long, value_name = "KEY=JSON")]
        set: Option<String>,
    },
}

/// `hersh state ...`.
#[derive(Debug, Subcommand)]
pub(crate) enum StateTask {
    /// Copy a program's /state as a tar, at one moment: databases in it are consistent.
    ///
    /// A program that runs is paused while its host copies, for at most 20 s. Never copy the files of
    /// a program that runs from the host's disk: databases can't see each other's locks there.
    Copy {
        /// The program's name.
        program: String,
        /// The tar, - for the standard output; NAME-state.tar when left out.
        file: Option<PathBuf>,
    },
}

/// Which engine to look at.
#[derive(Clone, Debug, Args)]
pub(crate) struct EngineOptions {
    /// The container engine's socket.
    #[arg(
        long,
        env = "HERSH_ENGINE",
        default_value = "unix:///var/run/docker.sock"
    )]
    pub(crate) engine: EngineSocket,
}

#[derive(Debug, Args)]
pub(crate) struct HostOptions {
    /// File with settings; /etc/hersh/host.toml, if it is there, when none is named.
    #[arg(long, global = true, env = "HERSH_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) flags: SettingFlags,
    #[command(subcommand)]
    pub(crate) task: Option<HostTask>,
}

/// What can be done with a host beside serving.
#[derive(Debug, Subcommand)]
pub(crate) enum HostTask {
    /// Show the settings in force and where each comes from.
    Config {
        /// Print a settings file with every key, its meaning and its default instead.
        #[arg(long)]
        defaults: bool,
    },
    /// Copy the journal to FILE while the host runs: programs, events, users, hashes of tokens.
    ///
    /// FILE is a plain file or none yet, - for the standard output. It holds the values of environment
    /// variables, so only its owner can read it. Sources,
    /// /state and logs are not in it: to move a machine, copy DATA/programs beside it while the
    /// host is stopped.
    Backup {
        /// The copy; an older one is replaced once the new one is whole.
        file: PathBuf,
    },
    /// Put a backup in the journal's place; the host must be stopped. The old journal is kept.
    ///
    /// Programs that are newer than the backup are not known afterwards: the next start removes
    /// their containers and moves their folders, where they have state, to DATA/set-aside.
    ///
    /// Users and tokens are those of the backup. Tokens that were removed since are valid again then:
    /// they are listed, and --revoke-tokens keeps all of them from it.
    Restore {
        /// What `hersh host backup` made.
        file: PathBuf,
        /// Make every token of the backup invalid before it is in place, and a new one for the user admin.
        #[arg(long)]
        revoke_tokens: bool,
    },
    /// Look at every page and every event of the journal; the host may run.
    Check,
    /// Begin anew where the journal is lost and there is no backup; the host must be stopped.
    ///
    /// Moves folders of programs to DATA/set-aside and a damaged journal to set-aside in its own folder,
    /// and removes the containers.
    #[command(alias = "adopt")]
    SetAside,
    /// Make a new token for the user admin, in DATA/admin-token; the host must be stopped.
    ///
    /// For whoever lost every admin's token, as after a restore on a new disk. Other tokens stay
    /// valid and are listed, unless they are revoked. It is in the audit log.
    Token {
        /// Make every other token invalid, of all users.
        #[arg(long)]
        revoke_others: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DeployOptions {
    /// The folder.
    #[arg(default_value = ".")]
    pub(crate) folder: PathBuf,
    /// The program's name; the folder's hersh.toml says it otherwise.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// File with environment variables, NAME=value on a line, over those of hersh.toml; may be
    /// repeated.
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// What is new, in one line; `hersh revisions` shows it.
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// Restart it even if source and manifest are unchanged.
    #[arg(long)]
    pub(crate) restart: bool,
    /// Build it and don't start it: `hersh restart` or `hersh start` does that later.
    #[arg(long, conflicts_with = "restart")]
    pub(crate) build_only: bool,
    /// Return once the host has the source and the command.
    #[arg(long)]
    pub(crate) detach: bool,
    #[command(flatten)]
    pub(crate) build: BuildOptions,
}

#[derive(Debug, Args)]
pub(crate) struct RollBackOptions {
    /// The program's name.
    pub(crate) program: String,
    /// The number of the revision, as `hersh revisions` shows it; the one that ran before if left out.
    pub(crate) revision: Option<u64>,
    /// Return at once instead of waiting until it runs.
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
pub(crate) struct RemoveOptions {
    /// The program's name.
    pub(crate) program: String,
    /// Return at once instead of waiting until it is gone.
    #[arg(long)]
    pub(crate) detach: bool,
    /// Don't ask before a program that runs is removed.
    #[arg(short, long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LogsOptions {
    /// The program's name.
    pub(crate) program: String,
    /// Go on with what it prints from now.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Begin each line with its time, and say where an instance began and how it ended.
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// How many lines to begin with.
    #[arg(short = 'n', long, default_value_t = 100)]
    pub(crate) tail: usize,
    /// Show the log of the newest build instead.
    #[arg(long)]
    pub(crate) build: bool,
}
