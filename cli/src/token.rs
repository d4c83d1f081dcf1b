//! Choice of the token that the client shows to a host.
//!
//! ```text
//! HERSH_TOKEN ─► --token-file, HERSH_TOKEN_FILE ─► ~/.config/hersh/token ─► the admin's, of a host
//!                                                                           on this machine only
//! ```
//! The admin's token of this machine is never sent to another machine.

use std::{
    env::VarError,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use crate::failure::Failure;

/// The file in which a host on this machine leaves its first admin's token.
const ADMIN_FILE: &str = "/var/lib/hersh/admin-token";

/// The places to take a token from.
#[derive(Debug)]
pub(crate) struct TokenSources<'a> {
    /// The value of `HERSH_TOKEN`.
    pub(crate) variable: Result<String, VarError>,
    /// The token file that was named on the command line or by `HERSH_TOKEN_FILE`.
    pub(crate) file: Option<&'a Path>,
    /// The user's own token file, if there is a home folder.
    pub(crate) own_file: Option<PathBuf>,
    /// Whether the host is on this machine.
    pub(crate) is_this_machine: bool,
}

impl TokenSources<'_> {
    /// Returns the token.
    ///
    /// # Errors
    /// [`Failure::Token`] says how to get one.
    pub(crate) fn token(self) -> Result<String, Failure> {
        match &self.variable {
            Ok(text) => return usable(text, "HERSH_TOKEN"),
            Err(VarError::NotUnicode(_)) => {
                return Err(Failure::Token("HERSH_TOKEN is no text".to_owned()));
            }
            Err(VarError::NotPresent) => {}
        }
        if let Some(file) = self.file {
            return match std::fs::read_to_string(file) {
                Ok(text) => usable(&text, &file.display().to_string()),
                Err(error) => Err(Failure::Token(format!(
                    "no token: {} can't be read ({error}); name another file with --token-file or HERSH_TOKEN_FILE, or set HERSH_TOKEN",
                    file.display()
                ))),
            };
        }
        let admin_file = self.is_this_machine.then(|| PathBuf::from(ADMIN_FILE));
        for file in self.own_file.iter().chain(&admin_file) {
            match std::fs::read_to_string(file) {
                Ok(text) => return usable(&text, &file.display().to_string()),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                // Only root can read the admin's file; other people use their own token.
                Err(_) if Some(file) == admin_file.as_ref() => {}
                Err(error) => {
                    return Err(Failure::Token(format!(
                        "no token: {} can't be read ({error})",
                        file.display()
                    )));
                }
            }
        }
        Err(Failure::Token(self.missing()))
    }

    /// Says how to get a token.
    fn missing(&self) -> String {
        let place = match &self.own_file {
            Some(file) => format!("put it into {}", file.display()),
            None => "name the file that holds it with --token-file".to_owned(),
        };
        let root = if self.is_this_machine {
            "; whoever runs the host on this machine uses sudo"
        } else {
            ""
        };
        format!(
            "no token: {place}, or set HERSH_TOKEN; an admin of the host makes one with 'hersh token create --user YOU'{root}"
        )
    }
}

/// Returns `$XDG_CONFIG_HOME/hersh/token`, or `~/.config/hersh/token`.
pub(crate) fn own_file() -> Option<PathBuf> {
    let folder = |name: &str| {
        let folder = PathBuf::from(std::env::var_os(name)?);
        folder.is_absolute().then_some(folder)
    };
    let config = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")))?;
    Some(config.join("hersh/token"))
}

/// Returns a token that can stand in the head of a request.
fn usable(text: &str, place: &str) -> Result<String, Failure> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Failure::Token(format!(
            "{place} is empty; put a token there, or unset HERSH_TOKEN to use your token file"
        )));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        // The text may be another secret, so the error does not repeat it.
        return Err(Failure::Token(format!(
            "{place} holds no token: a token is one word, such as hersh_..."
        )));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn sources(variable: Result<&str, VarError>) -> TokenSources<'static> {
        TokenSources {
            variable: variable.map(str::to_owned),
            file: None,
            own_file: None,
            is_this_machine: false,
        }
    }

    #[test]
    fn an_empty_token_is_told_as_empty() {
        for text in ["", "  \n"] {
            let failure = sources(Ok(text)).token().unwrap_err();
            assert!(failure.to_string().starts_with("HERSH_TOKEN is empty"));
            assert_eq!(failure.exit_code(), 5);
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        fs::write(&file, "\n").unwrap();
        let named = TokenSources {
            file: Some(&file),
            ..sources(Err(VarError::NotPresent))
        };
        let said = named.token().unwrap_err().to_string();
        assert!(
            said.contains(&format!("{} is empty", file.display())),
            "{said}"
        );
    }

    #[test]
    fn what_is_no_word_is_refused_and_not_repeated() {
        for text in ["two words", "a\nb", "grü\u{df}"] {
            let said = sources(Ok(text)).token().unwrap_err().to_string();
            assert!(said.contains("holds no token"), "{said}");
            assert!(!said.contains(text), "{said}");
        }
    }

    #[test]
    fn the_variable_wins_then_the_named_file_then_ones_own() {
        let folder = tempfile::tempdir().unwrap();
        let (named, own) = (folder.path().join("named"), folder.path().join("own"));
        fs::write(&named, "named\n").unwrap();
        fs::write(&own, "own\n").unwrap();
        let all = |variable: Result<&str, VarError>, file| TokenSources {
            variable: variable.map(str::to_owned),
            file,
            own_file: Some(own.clone()),
            is_this_machine: true,
        };
        let unset = || Err(VarError::NotPresent);
        assert_eq!(
            all(Ok(" variable "), Some(&named)).token().unwrap(),
            "variable"
        );
        assert_eq!(all(unset(), Some(&named)).token().unwrap(), "named");
        assert_eq!(all(unset(), None).token().unwrap(), "own");
    }

    #[test]
    fn who_has_none_is_told_of_their_own_file_not_of_the_admins() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("hersh/token");
        let far = TokenSources {
            own_file: Some(own.clone()),
            ..sources(Err(VarError::NotPresent))
        };
        let said = far.token().unwrap_err().to_string();
        assert!(said.contains(own.to_str().unwrap()), "{said}");
        assert!(said.contains("hersh token create"), "{said}");
        assert!(
            !said.contains("admin-token") && !said.contains("sudo"),
            "{said}"
        );
    }
}
