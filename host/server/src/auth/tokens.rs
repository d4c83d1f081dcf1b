//! Makes, lists and ends tokens.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use hersh_journal::JournalError;
use hersh_program::UserId;

use super::{
    AccountError, Accounts, DescendantTokens, NewToken, Role, Scope, Token, TokenError, TokenHash,
    TokenId, TokenInfo,
    accounts::{AccountCache, CachedToken},
    rows::{self, StoredToken},
    time::META_NEWEST,
    user::TOKENS_MAX,
};

impl Accounts {
    /// Returns the tokens of one user, or of all users, by id.
    pub(crate) fn tokens(&self, user: Option<&UserId>) -> Vec<TokenInfo> {
        let known = self.known();
        let held = known.tokens.values();
        held.filter(|held| user.is_none_or(|user| held.stored.user == *user))
            .map(|held| held.info())
            .collect()
    }

    /// Makes a token. Its text is in the returned value and nowhere else.
    ///
    /// # Errors
    /// [`AccountError::NoUser`], [`AccountError::TooManyTokens`],
    /// [`AccountError::MemberScope`].
    pub(crate) async fn add_token(
        &self,
        asked: NewToken,
        now_ms: u64,
    ) -> Result<(TokenInfo, Token), AccountError> {
        let token = Token::generate()?;
        let hash = token.hash();
        let made = self.alone(move |accounts| async move {
            let user = &asked.user;
            let mut own = accounts.tokens(Some(user));
            if own.len() >= TOKENS_MAX {
                // Tokens that have expired make room. Otherwise a hundred expired ones, made by a thief or by
                // a program that makes one each time it starts, would keep their owner from making a new one.
                let time_ms = accounts.time_ms(now_ms);
                let is_over = |it: &TokenInfo| it.expires_at_ms.is_some_and(|end| end <= time_ms);
                let ended: Vec<TokenInfo> = own.extract_if(.., |it| is_over(it)).collect();
                let ended = ended.into_iter().map(|it| it.id).collect();
                accounts.delete_tokens(&ended).await?;
            }
            if own.len() >= TOKENS_MAX {
                return Err(AccountError::TooManyTokens(user.clone()));
            }
            accounts.insert_token(asked, hash, now_ms).await
        });
        Ok((made.await?, token))
    }

    /// Stores a token of which only the hash is known, whatever the number of tokens: for the host itself.
    pub(super) async fn put_token(
        &self,
        asked: NewToken,
        hash: TokenHash,
        now_ms: u64,
    ) -> Result<TokenInfo, AccountError> {
        self.alone(move |accounts| async move { accounts.insert_token(asked, hash, now_ms).await })
            .await
    }

    async fn insert_token(
        &self,
        asked: NewToken,
        hash: TokenHash,
        now_ms: u64,
    ) -> Result<TokenInfo, AccountError> {
        let id = getrandom::u64().map_err(TokenError::from)?;
        let user = self.user(&asked.user)?;
        if user.role == Role::Member && asked.scope == Scope::Admin {
            return Err(AccountError::MemberScope(user.id));
        }
        let stored = StoredToken {
            id: TokenId(format!("t-{id:016x}").into()),
            user: user.id,
            hash,
            scope: asked.scope,
            label: asked.label,
            created_at_ms: now_ms,
            expires_at_ms: asked.expires_at_ms,
            made_by: asked.made_by,
        };
        self.0.journal.add_token(stored.row()).await?;
        Ok(self.known_mut().hold(stored, None).info())
    }

    /// Returns one token.
    ///
    /// # Errors
    /// [`AccountError::NoToken`].
    pub(crate) fn token(&self, id: &TokenId) -> Result<TokenInfo, AccountError> {
        let info = self.known().tokens.get(id).map(|held| held.info());
        info.ok_or_else(|| AccountError::NoToken(id.to_string()))
    }

    /// Makes a token invalid from now on. `descendants` says whether the tokens of the same user that were made
    /// with it, and with those in turn, end too. `asking` is the token that asks for this. It stays unless it
    /// is `id` itself, and the tokens made with it stay as well: otherwise nobody could exchange a token for
    /// a new one. Returns the tokens that ended besides `id`.
    ///
    /// # Errors
    /// [`AccountError::NoToken`]; [`AccountError::TokenMadeOthers`] if a token asks to end itself together
    /// with tokens that were made with it.
    pub(crate) async fn remove_token(
        &self,
        id: &TokenId,
        descendants: DescendantTokens,
        asking: Option<&TokenId>,
    ) -> Result<BTreeSet<TokenId>, AccountError> {
        let (id, asking) = (id.clone(), asking.cloned());
        self.alone(move |accounts| async move {
            let user = accounts.token(&id)?.user;
            let is_meant = |it: &StoredToken| it.user == user && asking.as_ref() != Some(&it.id);
            let mut gone = match descendants {
                DescendantTokens::End => accounts.known().made_with([id.clone()].into(), is_meant),
                DescendantTokens::Keep => BTreeSet::new(),
            };
            if asking.as_ref() == Some(&id) && !gone.is_empty() {
                let count = gone.len();
                return Err(AccountError::TokenMadeOthers { id, count });
            }
            gone.insert(id.clone());
            accounts.delete_tokens(&gone).await?;
            gone.remove(&id);
            Ok(gone)
        })
        .await
    }

    async fn delete_tokens(&self, ids: &BTreeSet<TokenId>) -> Result<(), AccountError> {
        self.0.journal.remove_tokens(rows::ids(ids)).await?;
        self.known_mut().forget_tokens(ids);
        Ok(())
    }

    /// Returns true if some token could change users now. Without one, nobody could let anybody in.
    pub(super) fn has_admin_token(&self, now_ms: u64) -> bool {
        let now_ms = self.time_ms(now_ms);
        let known = self.known();
        known.tokens.values().any(|held| {
            let stored = &held.stored;
            stored.scope == Scope::Admin
                && stored
                    .expires_at_ms
                    .is_none_or(|expires_at_ms| expires_at_ms > now_ms)
                && known
                    .users
                    .get(&stored.user)
                    .is_some_and(|user| user.role == Role::Admin)
        })
    }

    /// Writes to the journal when tokens were used last and, if a token has ended since the last call, the
    /// current time. Then no later start lets that token in, whatever the clock says. A crash loses one
    /// interval of this at most.
    ///
    /// # Errors
    /// When the journal can't be read or written; the next call tries again.
    pub(crate) async fn note_uses(&self, now_ms: u64) -> Result<(), JournalError> {
        self.note_time(now_ms).await?;
        let used: Vec<(Arc<CachedToken>, u64)> = {
            let known = self.known();
            let held = known.tokens.values();
            held.map(|held| {
                (
                    Arc::clone(held),
                    held.last_used_at_ms.load(Ordering::Relaxed),
                )
            })
            .filter(|(held, used_ms)| held.noted_ms.load(Ordering::Relaxed) < *used_ms)
            .collect()
        };
        if used.is_empty() {
            return Ok(());
        }
        let rows = used
            .iter()
            .map(|(held, used_ms)| (held.stored.id.to_string(), *used_ms))
            .collect();
        self.0.journal.note_token_uses(rows).await?;
        for (held, used_ms) in used {
            held.noted_ms.store(used_ms, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Accounts {
    async fn note_time(&self, now_ms: u64) -> Result<(), JournalError> {
        let now_ms = self.time_ms(now_ms);
        let since = self.0.noted_ms.load(Ordering::Relaxed)..=now_ms;
        let has_ended = |held: &Arc<CachedToken>| {
            let end_ms = held.stored.expires_at_ms;
            end_ms.is_some_and(|end_ms| since.contains(&end_ms))
        };
        if !self.known().tokens.values().any(has_ended) {
            return Ok(());
        }
        let written = self.0.journal.set_meta(META_NEWEST, now_ms.to_string());
        written.await?;
        self.0.noted_ms.store(now_ms + 1, Ordering::Relaxed);
        Ok(())
    }
}

impl AccountCache {
    /// Returns the tokens that were made with one of `makers`, and with those in turn, as far as `is_meant`
    /// takes them.
    pub(super) fn made_with(
        &self,
        makers: BTreeSet<TokenId>,
        is_meant: impl Fn(&StoredToken) -> bool,
    ) -> BTreeSet<TokenId> {
        let mut made = BTreeSet::new();
        let mut newest = makers;
        while !newest.is_empty() {
            let is_next = |held: &&Arc<CachedToken>| {
                let stored = &held.stored;
                stored
                    .made_by
                    .as_ref()
                    .is_some_and(|by| newest.contains(by))
                    && is_meant(stored)
                    && !made.contains(&stored.id)
            };
            let next = self.tokens.values().filter(is_next);
            newest = next.map(|held| held.stored.id.clone()).collect();
            made.extend(newest.iter().cloned());
        }
        made
    }

    pub(super) fn forget_tokens(&mut self, ids: &BTreeSet<TokenId>) {
        for id in ids {
            if let Some(held) = self.tokens.remove(id) {
                self.by_hash.remove(&held.stored.hash);
            }
        }
    }
}

impl CachedToken {
    fn info(&self) -> TokenInfo {
        let last_used_at_ms = self.last_used_at_ms.load(Ordering::Relaxed);
        TokenInfo {
            id: self.stored.id.clone(),
            user: self.stored.user.clone(),
            scope: self.stored.scope,
            label: self.stored.label.clone(),
            created_at_ms: self.stored.created_at_ms,
            expires_at_ms: self.stored.expires_at_ms,
            last_used_at_ms: (last_used_at_ms > 0).then_some(last_used_at_ms),
            made_by: self.stored.made_by.clone(),
        }
    }
}
