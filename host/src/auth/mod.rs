//! Who may use the API: one bootstrap admin token, kept as a hash.

mod token;

use std::{
    fs::{File, OpenOptions, Permissions},
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

pub(crate) use token::{Token, TokenError, TokenHash};

use crate::journal::{Journal, JournalError};

const META_ADMIN_TOKEN: &str = "admin_token_sha256";

/// Why the bootstrap token could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The operating system gave no random bytes.
    #[error("no random bytes for the admin token: {0}")]
    Random(#[from] TokenError),
    /// The journal refused.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The token file can't be written.
    #[error("admin token can't be written to {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
}

/// What the API checks a request's token against.
#[derive(Clone, Debug)]
pub(crate) struct Auth {
    admin: TokenHash,
}

/// A token made by this start; shown once.
#[derive(Debug)]
pub(crate) struct NewToken {
    /// The file that holds it, mode 0600.
    pub path: PathBuf,
}

impl Auth {
    /// Reads the admin token's hash from the journal. On the first start it makes the token and
    /// writes it to `{data}/admin-token` (mode 0600) before the hash is kept, so that a crash in
    /// between makes a new token and never one that nobody knows.
    ///
    /// # Errors
    /// [`BootstrapError`]; no token is in force then.
    pub(crate) async fn bootstrap(
        journal: &Journal,
        data: &Path,
    ) -> Result<(Self, Option<NewToken>), BootstrapError> {
        if let Some(admin) = journal
            .meta(META_ADMIN_TOKEN)?
            .and_then(|hash| TokenHash::parse(&hash))
        {
            return Ok((Self { admin }, None));
        }
        let token = Token::generate()?;
        let path = data.join("admin-token");
        write_private(&path, token.reveal()).map_err(|source| BootstrapError::File {
            path: path.clone(),
            source,
        })?;
        let admin = token.hash();
        journal
            .set_meta(META_ADMIN_TOKEN, admin.to_string())
            .await?;
        Ok((Self { admin }, Some(NewToken { path })))
    }

    /// True if the value of an `Authorization` header carries the admin token. Takes the same
    /// time whichever byte differs.
    #[must_use]
    pub(crate) fn admits(&self, authorization: Option<&str>) -> bool {
        authorization
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .and_then(|(_, text)| Token::parse(text.trim()).ok())
            .is_some_and(|token| token.hash() == self.admin)
    }
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    // An older file keeps its mode on open, so it is set again.
    file.set_permissions(Permissions::from_mode(0o600))?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    // The name too, so that the hash is never there without the file.
    path.parent()
        .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_start_makes_a_token_and_later_ones_know_it() {
        let data = tempfile::tempdir().unwrap();
        let journal = Journal::open(&data.path().join("journal.db")).unwrap();
        let (auth, made) = Auth::bootstrap(&journal, data.path()).await.unwrap();
        let path = made.unwrap().path;
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        let bearer = format!("Bearer {}", text.trim());
        assert!(auth.admits(Some(&bearer)));

        let (again, made) = Auth::bootstrap(&journal, data.path()).await.unwrap();
        assert!(made.is_none());
        assert!(again.admits(Some(&bearer)));
        let stored = journal.meta(META_ADMIN_TOKEN).unwrap().unwrap();
        assert!(!text.contains(&stored), "only the hash is stored");
    }

    #[tokio::test]
    async fn nothing_but_the_token_is_admitted() {
        let data = tempfile::tempdir().unwrap();
        let journal = Journal::open(&data.path().join("journal.db")).unwrap();
        let (auth, made) = Auth::bootstrap(&journal, data.path()).await.unwrap();
        let text = std::fs::read_to_string(made.unwrap().path).unwrap();
        let other = Token::generate().unwrap();
        for header in [
            None,
            Some(String::new()),
            Some("Bearer".into()),
            Some("Bearer ".into()),
            Some(text.trim().to_string()),
            Some(format!("Basic {}", text.trim())),
            Some(format!("Bearer {}x", text.trim())),
            Some(format!("Bearer {}", other.reveal())),
        ] {
            assert!(!auth.admits(header.as_deref()), "{header:?}");
        }
    }
}
