//! Adds, changes and removes users.

use std::collections::BTreeSet;

use hersh_program::UserId;

use super::{AccountError, Accounts, Quota, Role, TokenId, User, rows, user::USERS_MAX};

impl Accounts {
    /// Returns every user, by id.
    pub(crate) fn users(&self) -> Vec<User> {
        self.known().users.values().cloned().collect()
    }

    /// Returns one user.
    ///
    /// # Errors
    /// [`AccountError::NoUser`].
    pub(crate) fn user(&self, id: &UserId) -> Result<User, AccountError> {
        let user = self.known().users.get(id).cloned();
        user.ok_or_else(|| AccountError::NoUser(id.to_string()))
    }

    /// Adds a user.
    ///
    /// # Errors
    /// [`AccountError::UserExists`] and others.
    pub(crate) async fn add_user(&self, user: User) -> Result<(), AccountError> {
        self.alone(move |accounts| async move { accounts.insert_user(user).await })
            .await
    }

    async fn insert_user(&self, user: User) -> Result<(), AccountError> {
        {
            let known = self.known();
            if known.users.contains_key(&user.id) {
                return Err(AccountError::UserExists(user.id));
            }
            if known.users.len() >= USERS_MAX {
                return Err(AccountError::TooManyUsers);
            }
        }
        let row = rows::user_row(&user)?;
        self.0.journal.put_user(row, Vec::new()).await?;
        self.known_mut().users.insert(user.id.clone(), user);
        Ok(())
    }

    /// Gives a user another role or quota.
    ///
    /// # Errors
    /// [`AccountError::NoUser`], [`AccountError::LastAdmin`].
    pub(crate) async fn change_user(
        &self,
        id: &UserId,
        role: Option<Role>,
        quota: Option<Quota>,
    ) -> Result<User, AccountError> {
        let id = id.clone();
        self.alone(move |accounts| async move { accounts.update_user(&id, role, quota).await })
            .await
    }

    async fn update_user(
        &self,
        id: &UserId,
        role: Option<Role>,
        quota: Option<Quota>,
    ) -> Result<User, AccountError> {
        let mut user = self.user(id)?;
        let before = user.clone();
        user.role = role.unwrap_or(user.role);
        // An admin with the usual quota had no bounds, and would keep that as a member: the usual quota
        // changes with the role.
        let had_usual = before.quota == Quota::usual(before.role);
        let usual = had_usual.then(|| Quota::usual(user.role));
        user.quota = quota.or(usual).unwrap_or(before.quota);
        if user.role == Role::Member && self.is_last_admin(id) {
            return Err(AccountError::LastAdmin(id.clone()));
        }
        // Tokens that the user made for others as an admin end, since the user knows their text.
        let ended = match (before.role, user.role) {
            (Role::Admin, Role::Member) => self.made_for_others(id),
            (Role::Admin, Role::Admin) | (Role::Member, Role::Admin | Role::Member) => {
                BTreeSet::new()
            }
        };
        let row = rows::user_row(&user)?;
        self.0.journal.put_user(row, rows::ids(&ended)).await?;
        let mut known = self.known_mut();
        known.users.insert(id.clone(), user.clone());
        known.forget_tokens(&ended);
        Ok(user)
    }

    /// Removes a user with all its tokens, and the tokens that it made for others. From now on none of them
    /// is valid.
    ///
    /// # Errors
    /// [`AccountError::HasPrograms`], [`AccountError::LastAdmin`], [`AccountError::NoUser`].
    pub(crate) async fn remove_user(&self, id: &UserId) -> Result<(), AccountError> {
        let id = id.clone();
        self.alone(move |accounts| async move { accounts.delete_user(&id).await })
            .await
    }

    async fn delete_user(&self, id: &UserId) -> Result<(), AccountError> {
        self.user(id)?;
        if self.is_last_admin(id) {
            return Err(AccountError::LastAdmin(id.clone()));
        }
        let ended = self.made_for_others(id);
        let removed = self.0.journal.remove_user(id.clone(), rows::ids(&ended));
        let programs = removed.await?;
        if programs > 0 {
            return Err(AccountError::HasPrograms {
                user: id.clone(),
                programs,
            });
        }
        let mut known = self.known_mut();
        known.users.remove(id);
        known.forget_tokens(&ended);
        known.tokens.retain(|_, held| held.stored.user != *id);
        known.by_hash.retain(|_, held| held.stored.user != *id);
        Ok(())
    }

    /// Returns the tokens of other users that were made with this user's tokens.
    fn made_for_others(&self, id: &UserId) -> BTreeSet<TokenId> {
        let known = self.known();
        let own = known.tokens.values().filter(|it| it.stored.user == *id);
        let own = own.map(|held| held.stored.id.clone()).collect();
        let mut made = known.made_with(own, |_any| true);
        made.retain(|token| {
            known
                .tokens
                .get(token)
                .is_some_and(|it| it.stored.user != *id)
        });
        made
    }

    fn is_last_admin(&self, id: &UserId) -> bool {
        let known = self.known();
        let mut admins = known.users.values().filter(|user| user.role == Role::Admin);
        admins.all(|user| user.id == *id)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use hersh_journal::{CommitPoint, Journal, WriteFate};
    use tokio::sync::Notify;

    use super::*;
    use crate::auth::{DescendantTokens, NewToken, Scope};

    /// Begins a change and drops it while the change is on the disk and not yet in memory.
    async fn dropped<T>(written: &Notify, change: impl Future<Output = T>) {
        let mut change = std::pin::pin!(change);
        tokio::select! {
            biased;
            () = written.notified() => {}
            _ = change.as_mut() => panic!("it should have been dropped before its end"),
        }
    }

    #[tokio::test]
    async fn a_change_whose_asker_goes_away_is_in_memory_as_on_the_disk() {
        let data = tempfile::tempdir().unwrap();
        let written = Arc::new(Notify::new());
        let tells = Arc::clone(&written);
        let journal = Journal::open_probed(&data.path().join("journal.db"), move |at| match at {
            CommitPoint::Before => WriteFate::Proceed,
            CommitPoint::After => {
                tells.notify_one();
                WriteFate::Linger(Duration::from_millis(10))
            }
        });
        let accounts = Accounts::load(journal.unwrap()).unwrap();
        let ann = UserId::parse("ann").unwrap();
        let user = User {
            id: ann.clone(),
            role: Role::Admin,
            quota: Quota::usual(Role::Admin),
            created_at_ms: 1,
        };
        let alone = async || drop(accounts.0.changes.lock().await);
        dropped(&written, accounts.add_user(user)).await;
        alone().await;
        assert_eq!(accounts.user(&ann).unwrap().role, Role::Admin);

        let asked = NewToken {
            user: ann.clone(),
            scope: Scope::Operate,
            label: String::new(),
            expires_at_ms: None,
            made_by: None,
        };
        dropped(&written, accounts.add_token(asked, 1)).await;
        alone().await;
        let token = accounts.tokens(Some(&ann))[0].id.clone();
        dropped(
            &written,
            accounts.remove_token(&token, DescendantTokens::Keep, None),
        )
        .await;
        alone().await;
        assert_eq!(accounts.tokens(None), []);

        let bob = UserId::parse("bob").unwrap();
        let mut user = accounts.user(&ann).unwrap();
        user.id = bob.clone();
        dropped(&written, accounts.add_user(user)).await;
        alone().await;
        let demoted = accounts.change_user(&ann, Some(Role::Member), None);
        dropped(&written, demoted).await;
        alone().await;
        assert_eq!(accounts.user(&ann).unwrap().role, Role::Member);
        dropped(&written, accounts.remove_user(&ann)).await;
        alone().await;
        assert!(accounts.user(&ann).is_err());
    }
}
