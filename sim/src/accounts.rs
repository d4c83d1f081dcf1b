//! What a user does about accounts: an admin changes quotas, and a member changes its token for another one.

use serde_json::{Value, json};

use crate::{
    shared::{ADMIN, MemberQuota},
    user::{Outcome, User},
};

impl User {
    pub(crate) async fn see_to_accounts(&mut self) -> Outcome {
        match self.is_admin() {
            true => self.change_quota().await,
            false => self.renew_token().await,
        }
    }

    async fn change_quota(&mut self) -> Outcome {
        let members: Vec<String> = {
            let people = self.shared.people();
            people
                .keys()
                .filter(|name| *name != ADMIN)
                .cloned()
                .collect()
        };
        let member = self.pick(&members).clone();
        let allowed = MemberQuota::draw(&mut self.random);
        if let Some(person) = self.shared.people().get_mut(&member) {
            // It may come into force before the answer is here.
            person.allowed = None;
            person.most = person.most.map(|most| most.or(allowed));
        }
        let body = json!({ "quota": allowed.to_json() });
        let (status, _) = self.ask("PATCH", format!("/users/{member}"), &body).await?;
        if let (200, Some(person)) = (status, self.shared.people().get_mut(&member)) {
            person.allowed = Some(allowed);
        }
        Ok(())
    }

    async fn renew_token(&self) -> Outcome {
        let asked = json!({ "scope": "operate" });
        let (status, made) = self.ask("POST", "/tokens".into(), &asked).await?;
        if status != 201 {
            return Ok(());
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let old = self.shared.person(&self.name);
        if let Some(person) = self.shared.people().get_mut(&self.name) {
            person.token = text(&made["secret"]);
            person.token_id = text(&made["token"]["token_id"]);
        }
        let path = format!("/tokens/{}", old.token_id);
        let (status, _) = self.ask("DELETE", path, &Value::Null).await?;
        if let (204, Some(person)) = (status, self.shared.people().get_mut(&self.name)) {
            person.revoked.push(old.token);
        }
        Ok(())
    }
}
