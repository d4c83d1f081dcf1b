//! Bearer tokens, and what is stored of them.

use std::{fmt, sync::Arc};

use hersh_base::{
    hex::hex,
    token_text::{self, SECRET_BYTES},
};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Why no token could be made.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The operating system gave no random bytes.
    #[error("no random bytes: {0}")]
    Random(String),
}

impl From<getrandom::Error> for TokenError {
    fn from(error: getrandom::Error) -> Self {
        Self::Random(error.to_string())
    }
}

/// A bearer token. Its `Debug` never shows the secret.
pub(crate) struct Token(String);

/// The SHA-256 of a token: all that is stored of it. A fast hash is enough for 256 random bits.
#[derive(Clone, Eq)]
pub(crate) struct TokenHash([u8; 32]);

impl Token {
    /// Makes a new token.
    ///
    /// # Errors
    /// [`TokenError::Random`] if the operating system has no random bytes.
    pub(crate) fn generate() -> Result<Self, TokenError> {
        let mut secret = [0u8; SECRET_BYTES];
        getrandom::fill(&mut secret)?;
        Ok(Self(token_text::spelled(&secret)))
    }

    /// Returns the hash of the token `text`; `None` if `text` does not have the form of a token. The checksum
    /// is not looked at: no hash of a damaged token is stored.
    pub(crate) fn hash_of(text: &str) -> Option<TokenHash> {
        token_text::has_form(text).then(|| TokenHash(Sha256::digest(text).into()))
    }

    /// Returns the text, for the one place that shows it.
    #[must_use]
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns the hash of this token.
    #[must_use]
    pub(crate) fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.0.as_bytes()).into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(hidden)")
    }
}

impl TokenHash {
    /// Reads a hash that [`fmt::Display`] wrote.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0u8; 32];
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl std::hash::Hash for TokenHash {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(hidden)")
    }
}

/// A name for a token that does not give the token away: `t-` and 16 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TokenId(pub(super) Arc<str>);

impl TokenId {
    /// Returns the id in `text`, whether or not there is such a token.
    pub(crate) fn new(text: &str) -> Self {
        Self(text.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<TokenId> for Arc<str> {
    fn from(id: TokenId) -> Self {
        id.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_a_damaged_one_is_another_or_none() {
        let token = Token::generate().unwrap();
        let text = token.reveal();
        assert_eq!(Token::hash_of(text), Some(token.hash()));
        let flipped = if text.ends_with('0') { "1" } else { "0" };
        let damaged = format!("{}{flipped}", &text[..text.len() - 1]);
        assert_ne!(Token::hash_of(&damaged), Some(token.hash()));
        for wrong in [
            "",
            "hersh_",
            "hersh_zz",
            &text[6..],
            &text[..70],
            &format!("{text}0"),
            &text.replace("hersh_", "Hersh_"),
        ] {
            assert_eq!(Token::hash_of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn neither_token_nor_hash_shows_in_debug_output() {
        let token = Token::generate().unwrap();
        assert_eq!(
            format!("{token:?} {:?}", token.hash()),
            "Token(hidden) TokenHash(hidden)"
        );
    }

    #[test]
    fn a_hash_reads_back() {
        let hash = Token::generate().unwrap().hash();
        assert_eq!(TokenHash::parse(&hash.to_string()), Some(hash));
        assert_eq!(TokenHash::parse("abc"), None);
    }
}
