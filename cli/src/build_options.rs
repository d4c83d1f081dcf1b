//! The flags of a deploy that say how the image is built.

use std::path::PathBuf;

use clap::Args;

/// How the image is built, over what the table `build` of hersh.toml says.
#[derive(Debug, Args)]
pub(crate) struct BuildOptions {
    /// The Dockerfile: its path in the folder, or one that leads there from here.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The stage that becomes the image.
    #[arg(long, value_name = "STAGE")]
    pub(crate) target: Option<String>,
    /// A value for an ARG of the Dockerfile; NAME alone takes it from the environment. It can be read
    /// in the image: no place for secrets.
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    pub(crate) args: Vec<String>,
    /// Fetch base images anew that the host fetched earlier, and build anew.
    #[arg(long)]
    pub(crate) pull: bool,
    /// Run every step anew.
    #[arg(long)]
    pub(crate) no_cache: bool,
}
