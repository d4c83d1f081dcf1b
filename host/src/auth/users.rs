//! Users: added, changed, removed.

use super::{AccountError, Accounts, Quota, Role, User, UserId, rows};

/// Users of one host.
pub(super) const USERS_MAX: usize = 10_000;

impl Accounts {
    /// Every user, by id.
    pub(crate) fn users(&self) -> Vec<User> {
        self.known().users.values().cloned().collect()
    }

    /// One user.
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
        let _alone = self.0.changes.lock().await;
        {
            let known = self.known();
            if known.users.contains_key(&user.id) {
                return Err(AccountError::UserExists(user.id));
            }
            if known.users.len() >= USERS_MAX {
                return Err(AccountError::TooManyUsers);
            }
        }
        let row = user.clone();
        self.0
            .journal
            .write(move |transaction| rows::put_user(transaction, &row))
            .await?;
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
        let _alone = self.0.changes.lock().await;
        let mut user = self.user(id)?;
        user.role = role.unwrap_or(user.role);
        user.quota = quota.unwrap_or(user.quota);
        if user.role == Role::Member && self.is_last_admin(id) {
            return Err(AccountError::LastAdmin(id.clone()));
        }
        let row = user.clone();
        self.0
            .journal
            .write(move |transaction| rows::put_user(transaction, &row))
            .await?;
        self.known_mut().users.insert(id.clone(), user.clone());
        Ok(user)
    }

    /// Removes a user with all tokens; from now on none of them is valid.
    ///
    /// # Errors
    /// [`AccountError::HasPrograms`], [`AccountError::LastAdmin`], [`AccountError::NoUser`].
    pub(crate) async fn remove_user(&self, id: &UserId) -> Result<(), AccountError> {
        let _alone = self.0.changes.lock().await;
        self.user(id)?;
        if self.is_last_admin(id) {
            return Err(AccountError::LastAdmin(id.clone()));
        }
        let gone = id.clone();
        let programs = self
            .0
            .journal
            .write(move |transaction| rows::delete_user(transaction, &gone))
            .await?;
        if programs > 0 {
            return Err(AccountError::HasPrograms {
                user: id.clone(),
                programs,
            });
        }
        let mut known = self.known_mut();
        known.users.remove(id);
        known.tokens.retain(|_, held| held.stored.user != *id);
        known.by_hash.retain(|_, held| held.stored.user != *id);
        Ok(())
    }

    fn is_last_admin(&self, id: &UserId) -> bool {
        let known = self.known();
        let mut admins = known.users.values().filter(|user| user.role == Role::Admin);
        admins.all(|user| user.id == *id)
    }
}
