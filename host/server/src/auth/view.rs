//! Tokens as people are shown them.

use hersh_wire as wire;

use super::{Scope, TokenInfo};

/// Returns the view of a token, without its text.
pub(crate) fn token_view(token: &TokenInfo) -> wire::TokenView {
    wire::TokenView {
        token_id: token.id.to_string(),
        user_id: token.user.to_string(),
        scope: match token.scope {
            Scope::Read => wire::Scope::Read,
            Scope::Operate => wire::Scope::Operate,
            Scope::Admin => wire::Scope::Admin,
        },
        label: token.label.clone(),
        created_at_ms: token.created_at_ms,
        expires_at_ms: token.expires_at_ms,
        last_used_at_ms: token.last_used_at_ms,
        made_by: token.made_by.as_ref().map(ToString::to_string),
    }
}
