//! One user: one request at a time, drawn from the seed, each answer held against what must be.

use std::{sync::Arc, time::Duration};

use hersh_host::testkit::TestHost;
use hersh_machine::SplitMix64;
use hersh_program::RevisionNumber;
use serde_json::Value;

use crate::{
    command::CommandKind,
    deploy, laws, revisions,
    shared::{ADMIN, Ask, Shared, text_of},
};

/// The longest that a user thinks, milliseconds.
const PAUSE_MS: u64 = 3_000;
/// Names that programs get; few, so that they are used again and fought over.
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
/// Keys of one user that may be used again.
const KEYS_MAX: usize = 4;

pub(crate) type Outcome = Result<(), String>;

pub(crate) struct User {
    pub(crate) shared: Arc<Shared>,
    pub(crate) host: Arc<TestHost>,
    pub(crate) name: String,
    pub(crate) random: SplitMix64,
}

impl User {
    /// Acts until the host dies or a law is broken.
    pub(crate) async fn live(mut self) {
        loop {
            let pause = Duration::from_millis(self.random.below(PAUSE_MS));
            tokio::time::sleep(pause).await;
            let outcome = self.act().await;
            let outcome = outcome.and_then(|()| laws::at_any_time(&self.shared, &self.host));
            if let Err(law) = outcome {
                return self.shared.broke(law);
            }
        }
    }

    async fn act(&mut self) -> Outcome {
        match self.random.below(100) {
            0..16 => self.create().await,
            16..34 => self.command(CommandKind::Start).await,
            34..40 => self.command(CommandKind::Stop).await,
            40..47 => self.command(CommandKind::Restart).await,
            47..59 => self.replace().await,
            59..70 => self.roll_back().await,
            70..75 => self.command(CommandKind::Delete).await,
            75..79 => self.command(CommandKind::Build).await,
            79..81 => self.list().await,
            81..86 => self.read_events().await,
            86..94 => self.reach_for_others().await,
            _rest => self.see_to_accounts().await,
        }
    }

    pub(crate) fn is_admin(&self) -> bool {
        self.name == ADMIN
    }

    pub(crate) async fn ask(
        &self,
        method: &'static str,
        path: String,
        body: &Value,
    ) -> Result<(u16, Value), String> {
        let ask = Ask {
            user: &self.name,
            key: None,
            method,
            path,
            body: text_of(body),
        };
        self.shared.ask(&self.host, ask).await
    }

    async fn create(&mut self) -> Outcome {
        let person = self.shared.person(&self.name);
        if !person.keyed.is_empty() && self.random.chance(30) {
            let at = self.random.below(person.keyed.len() as u64);
            let at = usize::try_from(at).unwrap_or(0);
            if let Some((key, body, _)) = person.keyed.get(at) {
                return self
                    .send_create(None, Some(key.clone()), body.clone())
                    .await;
            }
        }
        let name = (!self.random.chance(20)).then(|| *self.pick(&NAMES));
        let key = self.random.chance(50);
        let key = key.then(|| format!("key-{:x}", self.random.next_u64()));
        let mut body = self.program(key.as_deref());
        if let Some(name) = name {
            body["name"] = name.into();
        }
        let body = body.to_string();
        if let Some(key) = &key {
            let mut people = self.shared.people();
            let keyed = &mut people.entry(self.name.clone()).or_default().keyed;
            if keyed.len() == KEYS_MAX {
                keyed.remove(0);
            }
            keyed.push((key.clone(), body.clone(), None));
        }
        self.send_create(name, key, body).await
    }

    async fn send_create(&self, name: Option<&str>, key: Option<String>, body: String) -> Outcome {
        let number = self.shared.known_programs().begin_create(name, &self.name);
        let ask = Ask {
            user: &self.name,
            key: key.as_deref(),
            method: "POST",
            path: "/programs".into(),
            body,
        };
        let (status, answer) = self.shared.ask(&self.host, ask).await?;
        let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        let id = text("program_id");
        let created = match status {
            201 => Some((id.clone(), answer["created_at_ms"].as_u64().unwrap_or(0))),
            403 | 404 | 409 | 500 | 503 | 507 => None,
            _strange => return Err(format!("a create was answered with {status}: {answer}")),
        };
        if created.is_some() && text("owner") != self.name {
            return Err(format!(
                "{} created a program of {}",
                self.name,
                text("owner")
            ));
        }
        if let (Some(key), 201) = (&key, status) {
            self.remember_key(key, &id)?;
        }
        self.shared.known_programs().end_create(number, created)
    }

    /// One key makes one program.
    fn remember_key(&self, key: &str, id: &str) -> Outcome {
        let mut people = self.shared.people();
        let person = people.entry(self.name.clone()).or_default();
        let known = person.keyed.iter_mut().find(|(known, ..)| known == key);
        let Some((.., made)) = known else {
            return Ok(());
        };
        if let Some(first) = made
            && first != id
        {
            return Err(format!("{key} made {first} first, and then {id}"));
        }
        *made = Some(id.to_owned());
        Ok(())
    }

    /// The names of the user's programs; of all for an admin.
    fn own_names(&self) -> Vec<String> {
        let owner = (!self.is_admin()).then_some(self.name.as_str());
        self.shared.known_programs().names(owner)
    }

    fn pick_own(&mut self) -> Option<String> {
        let names = self.own_names();
        (!names.is_empty()).then(|| self.pick(&names).clone())
    }

    /// Whether a program of the user stays: one that is removed may be another user's a moment later.
    fn keeps(&self, name: &String) -> bool {
        self.own_names().contains(name) && !self.shared.known_programs().is_being_removed(name)
    }

    async fn command(&mut self, kind: CommandKind) -> Outcome {
        match self.pick_own() {
            Some(name) => self.give(&name, kind).await,
            None => self.create().await,
        }
    }

    async fn give(&mut self, name: &str, kind: CommandKind) -> Outcome {
        let wait = if self.random.chance(20) {
            "?wait=30s"
        } else {
            ""
        };
        let path = format!("/programs/{name}");
        let (method, path, body) = match kind {
            CommandKind::Start => ("POST", format!("{path}/start{wait}"), Value::Null),
            CommandKind::Stop => ("POST", format!("{path}/stop{wait}"), Value::Null),
            CommandKind::Restart => ("POST", format!("{path}/restart{wait}"), Value::Null),
            CommandKind::Replace => ("PUT", format!("{path}/source"), self.program(None)),
            CommandKind::Build => ("POST", format!("{path}/build{wait}"), Value::Null),
            CommandKind::RollBack(None) => ("POST", format!("{path}/rollback{wait}"), Value::Null),
            CommandKind::RollBack(Some(revision)) => {
                let wait = wait.replace('?', "&");
                let path = format!("{path}/rollback?revision={revision}{wait}");
                ("POST", path, Value::Null)
            }
            CommandKind::Delete => ("DELETE", format!("{path}{wait}"), Value::Null),
        };
        let number = self.shared.known_programs().begin(name, kind);
        let (status, answer) = self.ask(method, path, &body).await?;
        match status {
            200 | 202 | 204 | 403 | 404 | 409 | 500 | 503 | 504 | 507 => {
                let answer = revisions::answer_of(kind, status, &answer);
                revisions::check_answer(&self.host, name, kind, answer)?;
                self.shared.known_programs().end(number, answer)
            }
            _strange => Err(format!(
                "{kind:?} {name} was answered with {status}: {answer}"
            )),
        }
    }

    /// Deploys a revision, and rarely so many that old ones are forgotten.
    async fn replace(&mut self) -> Outcome {
        let Some(name) = self.pick_own() else {
            return self.create().await;
        };
        let count = if self.random.chance(4) { 12 } else { 1 };
        for _ in 0..count {
            self.give(&name, CommandKind::Replace).await?;
            if !self.keeps(&name) {
                break;
            }
        }
        Ok(())
    }

    /// Goes back to the revision before, to one that is listed, or to any number.
    async fn roll_back(&mut self) -> Outcome {
        let Some(name) = self.pick_own() else {
            return self.create().await;
        };
        let revision = match self.random.below(10) {
            0..3 => None,
            3..8 => {
                let path = format!("/programs/{name}/revisions");
                let (_, list) = self.ask("GET", path, &Value::Null).await?;
                let listed = revisions::listed(&list)?;
                (!listed.is_empty()).then(|| *self.pick(&listed))
            }
            _any => Some(RevisionNumber(self.random.below(20))),
        };
        match self.keeps(&name) {
            true => self.give(&name, CommandKind::RollBack(revision)).await,
            false => Ok(()),
        }
    }

    /// A member's list holds all that is theirs and nothing else.
    async fn list(&self) -> Outcome {
        let owner = (!self.is_admin()).then_some(self.name.as_str());
        let stays = || {
            let known_programs = self.shared.known_programs();
            let mut names = known_programs.names(owner);
            names.retain(|name| !known_programs.is_being_removed(name));
            names
        };
        let before = stays();
        let (status, answer) = self.ask("GET", "/programs".into(), &Value::Null).await?;
        let listed = answer["programs"].as_array().cloned().unwrap_or_default();
        let after = stays();
        let is_listed = |name: &&String| {
            let mut ids = listed.iter().map(|program| &program["program_id"]);
            ids.any(|id| id == name.as_str())
        };
        let missing = before.iter().filter(|name| after.contains(name));
        if status != 200 || missing.clone().any(|name| !is_listed(&name)) {
            return Err(format!(
                "{:?} are not all in {answer}",
                missing.collect::<Vec<_>>()
            ));
        }
        match listed
            .iter()
            .find(|it| owner.is_some() && it["owner"] != self.name)
        {
            Some(foreign) => Err(format!("{} was shown {foreign}", self.name)),
            None => Ok(()),
        }
    }

    /// The journal as a user sees it has no gap.
    async fn read_events(&mut self) -> Outcome {
        let Some(name) = self.pick_own() else {
            return Ok(());
        };
        let path = format!("/programs/{name}/events?limit=1000");
        let (_, answer) = self.ask("GET", path, &Value::Null).await?;
        let events = answer["events"].as_array().cloned().unwrap_or_default();
        let gap = (1..).zip(&events).find(|(seq, event)| event["seq"] != *seq);
        match gap {
            Some((seq, _)) => Err(format!("{name} has no event {seq}")),
            None => Ok(()),
        }
    }

    /// What belongs to others is not there, and an ended token opens nothing.
    async fn reach_for_others(&mut self) -> Outcome {
        let names: Vec<String> = {
            let known_programs = self.shared.known_programs();
            let foreign = |name: &String| known_programs.programs[name].owner != self.name;
            known_programs
                .names(None)
                .into_iter()
                .filter(foreign)
                .collect()
        };
        if self.is_admin() || names.is_empty() {
            return self.try_ended_token().await;
        }
        let path = format!("/programs/{}", self.pick(&names));
        let (method, path, body) = match self.random.below(10) {
            0 => ("GET", path, Value::Null),
            1 => ("GET", format!("{path}/events"), Value::Null),
            2 => ("GET", format!("{path}/receipt"), Value::Null),
            3 => ("POST", format!("{path}/start"), Value::Null),
            4 => ("POST", format!("{path}/stop"), Value::Null),
            5 => ("POST", format!("{path}/restart"), Value::Null),
            6 => ("PUT", format!("{path}/source"), self.program(None)),
            7 => ("POST", format!("{path}/rollback"), Value::Null),
            8 => ("GET", format!("{path}/revisions"), Value::Null),
            _last => ("DELETE", path, Value::Null),
        };
        let asked = format!("{method} {path}");
        match self.ask(method, path, &body).await? {
            // What can't be noted is refused before anybody looks whose it is.
            (404 | 507, _) => Ok(()),
            (status, answer) => Err(format!(
                "{} reached a foreign program, {asked} -> {status}: {answer}",
                self.name
            )),
        }
    }

    async fn try_ended_token(&mut self) -> Outcome {
        let revoked = self.shared.person(&self.name).revoked;
        if revoked.is_empty() {
            return Ok(());
        }
        let token = self.pick(&revoked).clone();
        let (status, _) = self
            .host
            .ask_as(&token, None, "GET", "/programs", b"")
            .await;
        match status {
            401 | 429 => Ok(()),
            _open => Err(format!("an ended token of {} opens: {status}", self.name)),
        }
    }

    fn program(&mut self, mark: Option<&str>) -> Value {
        deploy::program(&mut self.random, mark)
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        deploy::pick(&mut self.random, from)
    }
}
