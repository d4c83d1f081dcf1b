//! The command line of users and tokens.

use clap::{Args, Subcommand, ValueEnum};

/// `hersh user ...`, for admins.
#[derive(Debug, Subcommand)]
pub(crate) enum UserTask {
    /// Add a user. It gets in with a token: hersh token create --user NAME.
    Add {
        /// The user's id: letters, digits and '-', in lower case.
        user: String,
        /// Make it an admin, who reaches every program and the users.
        #[arg(long)]
        admin: bool,
        #[command(flatten)]
        quota: QuotaOptions,
    },
    /// List users: what they have, of what they may have.
    Ls,
    /// Change what a user may have; what is not named stays.
    Quota {
        /// The user's id.
        user: String,
        #[command(flatten)]
        quota: QuotaOptions,
    },
    /// Remove a user that has no programs, with all its tokens.
    Rm {
        /// The user's id.
        user: String,
    },
}

/// What one user's programs may ask for together.
#[derive(Debug, Args)]
pub(crate) struct QuotaOptions {
    /// Programs, running or not.
    #[arg(long)]
    pub(crate) programs: Option<u64>,
    /// Memory of the started ones, such as 4GiB.
    #[arg(long)]
    pub(crate) memory: Option<String>,
    /// Processor cores of the started ones.
    #[arg(long)]
    pub(crate) cpus: Option<f64>,
    /// State of all, such as 20GiB.
    #[arg(long)]
    pub(crate) state: Option<String>,
    /// Builds at once.
    #[arg(long)]
    pub(crate) builds: Option<u64>,
}

/// `hersh token ...`.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenTask {
    /// Make a token and print it, this once.
    Create {
        /// Whose: your own unless you are an admin.
        #[arg(long)]
        user: Option<String>,
        /// What it may be used for.
        #[arg(long, value_enum, default_value = "operate")]
        scope: ScopeOption,
        /// What to call it.
        #[arg(long, default_value = "")]
        label: String,
        /// How long it is valid, such as 12h; 90d if left out.
        #[arg(long)]
        expires: Option<String>,
    },
    /// List tokens, without their text.
    Ls {
        /// Only this user's.
        #[arg(long)]
        user: Option<String>,
    },
    /// Make a token invalid, and those that its user made with it.
    Rm {
        /// The token's id, as `hersh token ls` shows it.
        token: String,
        /// Leave the tokens that were made with it.
        #[arg(long)]
        keep_made: bool,
    },
}

/// What a token may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScopeOption {
    /// To look.
    Read,
    /// To change programs.
    Operate,
    /// To change users and the host.
    Admin,
}

impl From<ScopeOption> for hersh_wire::Scope {
    fn from(option: ScopeOption) -> Self {
        match option {
            ScopeOption::Read => Self::Read,
            ScopeOption::Operate => Self::Operate,
            ScopeOption::Admin => Self::Admin,
        }
    }
}
