//! Users and their tokens: kept in the journal's file, read from memory.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use hersh_base::right::Right;
use hersh_journal::{Journal, JournalError};
use hersh_program::UserId;

use super::{
    AccountError, Caller, Token, TokenHash, TokenId, User,
    rows::{self, StoredToken},
    time::{META_NEWEST, TokenTime},
};

/// Users and tokens of one host. Clones share them.
#[derive(Clone)]
pub(crate) struct Accounts(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) journal: Journal,
    pub(super) time: TokenTime,
    /// The time up to which the journal knows that tokens ended, milliseconds since the Unix epoch.
    pub(super) noted_ms: AtomicU64,
    known: RwLock<AccountCache>,
    /// The lock that each change holds, so that memory and file change in one order.
    pub(super) changes: tokio::sync::Mutex<()>,
}

#[derive(Default)]
pub(super) struct AccountCache {
    pub(super) users: BTreeMap<UserId, User>,
    pub(super) tokens: BTreeMap<TokenId, Arc<CachedToken>>,
    pub(super) by_hash: HashMap<TokenHash, Arc<CachedToken>>,
}

/// A token in memory.
pub(super) struct CachedToken {
    pub(super) stored: StoredToken,
    /// The time of the last use, milliseconds since the Unix epoch; 0 for never.
    pub(super) last_used_at_ms: AtomicU64,
    /// The time of the last use that is in the file, milliseconds since the Unix epoch.
    pub(super) noted_ms: AtomicU64,
}

impl Accounts {
    /// Reads users and tokens. Blocks on the disk.
    ///
    /// # Errors
    /// When the journal can't be read or written.
    pub(super) fn load(journal: Journal) -> Result<Self, JournalError> {
        let (users, tokens) = journal.accounts()?;
        let users = users.into_iter().map(rows::user);
        let users = users.collect::<Result<Vec<_>, _>>()?;
        let noted = journal.meta(META_NEWEST)?;
        let noted_ms = noted.and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut known = AccountCache {
            users: users
                .into_iter()
                .map(|user| (user.id.clone(), user))
                .collect(),
            ..AccountCache::default()
        };
        for row in tokens {
            let last_used_at_ms = row.last_used_at_ms;
            known.hold(StoredToken::read(row)?, last_used_at_ms);
        }
        Ok(Self(Arc::new(Inner {
            journal,
            time: TokenTime::starting_at(noted_ms),
            noted_ms: AtomicU64::new(noted_ms),
            known: RwLock::new(known),
            changes: tokio::sync::Mutex::default(),
        })))
    }

    /// Returns the time by which tokens are made and end, with the clock at `now_ms`; both are milliseconds
    /// since the Unix epoch.
    pub(crate) fn time_ms(&self, now_ms: u64) -> u64 {
        self.0.time.at(now_ms)
    }

    /// Returns the owner of the token in the value of an `Authorization` header; `None` unless the token is
    /// valid now. The token is looked up by its SHA-256, so the time this takes tells nothing about other
    /// tokens.
    pub(crate) fn authenticate(&self, authorization: Option<&str>, now_ms: u64) -> Option<Caller> {
        let (scheme, text) = authorization?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let hash = Token::hash_of(text.trim())?;
        let known = self.known();
        let held = known
            .by_hash
            .get(&hash)
            .filter(|held| held.stored.hash == hash)?;
        let stored = &held.stored;
        if stored.is_over(self.time_ms(now_ms)) {
            return None;
        }
        let user = known.users.get(&stored.user)?;
        held.last_used_at_ms.fetch_max(now_ms, Ordering::Relaxed);
        Some(Caller {
            user: user.id.clone(),
            role: user.role,
            token: stored.id.clone(),
            scope: stored.scope,
            expires_at_ms: stored.expires_at_ms,
        })
    }

    /// Returns true if a caller would be let in now as it was then: with a valid token and the same role.
    pub(super) fn still_admits(&self, caller: &Caller, now_ms: u64) -> bool {
        let now_ms = self.time_ms(now_ms);
        let known = self.known();
        let token = known.tokens.get(&caller.token);
        let user = known.users.get(&caller.user);
        token.is_some_and(|held| !held.stored.is_over(now_ms))
            && user.is_some_and(|user| user.role == caller.role)
    }

    /// Carries a change through to its end, with no other change in between, even if the caller goes away:
    /// otherwise memory and file would differ until the next start.
    pub(super) async fn alone<T, F>(
        &self,
        change: impl FnOnce(Self) -> F + Send + 'static,
    ) -> Result<T, AccountError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, AccountError>> + Send,
    {
        let accounts = self.clone();
        let made = tokio::spawn(Right::handed_on(async move {
            let _alone = accounts.0.changes.lock().await;
            change(accounts.clone()).await
        }));
        made.await?
    }

    pub(super) fn known(&self) -> RwLockReadGuard<'_, AccountCache> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn known_mut(&self) -> RwLockWriteGuard<'_, AccountCache> {
        self.0.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AccountCache {
    pub(super) fn hold(
        &mut self,
        stored: StoredToken,
        last_used_at_ms: Option<u64>,
    ) -> Arc<CachedToken> {
        let last_used_at_ms = last_used_at_ms.unwrap_or(0);
        let held = Arc::new(CachedToken {
            stored,
            last_used_at_ms: AtomicU64::new(last_used_at_ms),
            noted_ms: AtomicU64::new(last_used_at_ms),
        });
        self.by_hash
            .insert(held.stored.hash.clone(), Arc::clone(&held));
        self.tokens
            .insert(held.stored.id.clone(), Arc::clone(&held));
        held
    }
}
