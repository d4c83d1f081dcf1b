//! Reads `hersh.toml`, or the manifest of a request, into the manifest that is in force, and turns that
//! back into the form that people write.
//!
//! ```
//! let asked = toml::from_str("[resources]\nmemory = \"64MiB\"")?;
//! let manifest = hersh_manifest::read(&asked)?;
//! assert_eq!(manifest.limits.memory_bytes, 64 << 20);
//! assert_eq!(hersh_manifest::read(&hersh_manifest::shown(&manifest))?, manifest);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bounds;
mod deploy;
mod liveness;
mod machine;
mod reach;
mod read;
mod recipe;
mod view;

pub use bounds::ManifestError;
pub use machine::fits;
pub use read::read;
pub use view::{HIDDEN, shown};
