//! One host after the other on one folder and one engine: disturbed ones that die, then one at peace.
//!
//! ```text
//! bring up ─► journal = what users know ─► users, faults ─► dies ─► the next host
//!                                                                    └─► at peace: all settles, all goes
//! ```

use std::{path::Path, sync::Arc, time::Duration};

use hersh_host::testkit::{Setup, TestHost};
use hersh_machine::SplitMix64;
use hersh_program::{ContainerId, InstanceId, InstanceNumber, Program, ProgramId, State};
use serde_json::{Value, json};

use crate::{
    laws,
    outside_faults::OutsideFaults,
    shared::{ADMIN, Ask, MemberQuota, Person, Shared, text_of},
    silence,
    user::User,
};

/// Members of one host.
const MEMBERS_MAX: u64 = 3;
/// The longest that a disturbed host lives, milliseconds.
const LIFE_MS: u64 = 90_000;
/// The longest that a host's folder and engine are without one, milliseconds.
const GAP_MS: u64 = 10 * 60_000;
/// Once faults have stopped, everything settles within this time.
const SETTLES_WITHIN: Duration = Duration::from_secs(4 * 3_600);
/// How many of the programs that don't run have an instance that no journal knows, percent.
const LEFT_BEHIND_PERCENT: u8 = 10;
/// Higher than the number of any instance that a host started.
const FAR: u64 = 1_000_000;
/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(10);

type Outcome = Result<(), String>;

/// The hosts of one seed.
pub(crate) struct Hosts<'a> {
    pub(crate) shared: Arc<Shared>,
    pub(crate) data: &'a Path,
    pub(crate) random: SplitMix64,
    /// What the next host's clock shows at first, milliseconds since the Unix epoch.
    pub(crate) now_ms: u64,
    /// Instances that were left behind so far.
    pub(crate) left_behind: u64,
}

impl Hosts<'_> {
    /// The first host's first minutes: the users are made.
    pub(crate) async fn begin(&mut self) {
        if let Err(law) = self.try_begin().await {
            self.shared.broke(law);
        }
    }

    async fn try_begin(&mut self) -> Outcome {
        let host = self.start_host().await?;
        let admin = Person {
            token: host.token().to_owned(),
            ..Person::default()
        };
        self.shared.people().insert(ADMIN.to_owned(), admin);
        for number in 0..=self.random.below(MEMBERS_MAX) {
            let name = format!("u{number}");
            let allowed = MemberQuota::draw(&mut self.random);
            let user = json!({ "user_id": name, "quota": allowed.to_json() });
            self.admin(&host, "POST", "/users", 201, &user).await?;
            let token = json!({ "user_id": name, "scope": "operate" });
            let made = self.admin(&host, "POST", "/tokens", 201, &token).await?;
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let member = Person {
                token: text(&made["secret"]),
                token_id: text(&made["token"]["token_id"]),
                most: Some(allowed),
                allowed: Some(allowed),
                ..Person::default()
            };
            self.shared.people().insert(name, member);
        }
        self.now_ms = host.now_ms();
        host.shut_down();
        Ok(())
    }

    /// A host among users and faults, until it dies.
    pub(crate) async fn disturbed(&mut self) {
        if let Err(law) = self.try_disturbed().await {
            self.shared.broke(law);
        }
    }

    async fn try_disturbed(&mut self) -> Outcome {
        let died = self.shared.fault_plan.begin_life();
        self.shared.fault_plan.set_is_off(false);
        let refusals = self.shared.fault_plan.refusals();
        let host = tokio::select! {
            biased;
            host = self.start_host() => host,
            () = died.notified() => return Ok(()),
        };
        let host = match host {
            Ok(host) => Arc::new(host),
            // As a service manager would, start it again.
            Err(error) if self.shared.fault_plan.refusals() > refusals => {
                self.shared
                    .trace
                    .say(&format!("it does not start: {error}"));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.act(&host);
        let life = Duration::from_millis(self.random.below(LIFE_MS));
        tokio::select! {
            biased;
            () = self.shared.broken.notified() => return Ok(()),
            () = died.notified() => self.shared.trace.say("the host dies at a commit"),
            () = tokio::time::sleep(life) => self.shared.trace.say("the host dies"),
        }
        self.now_ms = host.now_ms() + self.random.below(GAP_MS);
        laws::at_any_time(&self.shared, &host)?;
        laws::is_fold(&host, &stored(&host)?)
    }

    /// Puts instances there that no journal knows, as after a backup that was restored: of programs of
    /// which nothing else runs, as no host would have let them begin otherwise.
    fn leave_behind(&mut self) {
        let running = self.shared.engine.running();
        for name in self.shared.known_programs().names(None) {
            let Ok(program) = ProgramId::parse(&name) else {
                continue;
            };
            if running.contains_key(&program) || !self.random.chance(LEFT_BEHIND_PERCENT) {
                continue;
            }
            self.left_behind += 1;
            let container = ContainerId::parse(&format!("{:064x}", u64::MAX - self.left_behind));
            let Ok(container) = container else { continue };
            self.shared.fault_plan.note_left_behind(&container);
            let number = InstanceNumber(FAR + self.left_behind);
            let instance = InstanceId { program, number };
            self.shared.trace.say(&format!("{instance} is left behind"));
            self.shared.engine.plant(instance, container);
        }
    }

    fn act(&mut self, host: &Arc<TestHost>) {
        let names: Vec<String> = self.shared.people().keys().cloned().collect();
        for name in names {
            let user = User {
                shared: Arc::clone(&self.shared),
                host: Arc::clone(host),
                name,
                random: SplitMix64::new(self.random.next_u64()),
            };
            tokio::spawn(user.live());
        }
        let outside_faults = OutsideFaults {
            shared: Arc::clone(&self.shared),
            host: Arc::clone(host),
            random: SplitMix64::new(self.random.next_u64()),
        };
        tokio::spawn(outside_faults.run());
    }

    /// The last host: nothing goes wrong any more, so everything comes to an end.
    pub(crate) async fn at_peace(&mut self) {
        if let Err(law) = self.try_at_peace().await {
            self.shared.broke(law);
        }
    }

    async fn try_at_peace(&mut self) -> Outcome {
        self.shared.fault_plan.begin_life();
        self.shared.fault_plan.set_is_off(true);
        self.shared.engine.set_down(false);
        let host = self.start_host().await?;
        self.settle(&host).await?;
        laws::at_any_time(&self.shared, &host)?;
        let stored_now = stored(&host)?;
        for program in &stored_now {
            laws::history_is_right(&self.shared, program)?;
        }
        laws::last_commands_are_carried_out(&self.shared, &host, &stored_now)?;
        for program in host.programs() {
            self.start_and_stop(&host, program.id.as_str()).await?;
        }
        for program in host.programs() {
            let path = format!("/programs/{}?wait=1h", program.id);
            self.admin(&host, "DELETE", &path, 204, &Value::Null)
                .await?;
        }
        let left = (host.programs(), self.shared.engine.running());
        if !left.0.is_empty() || !left.1.is_empty() || !stored(&host)?.is_empty() {
            return Err(format!("after all was deleted, this is left: {left:?}"));
        }
        laws::audit_is_whole(&self.shared, &host).await
    }

    /// Waits until nothing is under way and no retry is to come.
    async fn settle(&self, host: &TestHost) -> Outcome {
        let is_moving = |state: &State| match state {
            State::Error(failed) => failed.retry.is_some(),
            State::Ready(ready) => {
                ready.check.is_some() || ready.rollout.is_some() || ready.leaving.is_some()
            }
            State::Building(_) | State::Starting(_) | State::Stopping(_) | State::Removed => true,
            State::Created | State::Stopped(_) => false,
        };
        let until = tokio::time::Instant::now() + SETTLES_WITHIN;
        loop {
            // First of all each program has to hear that a host has begun.
            tokio::time::sleep(LOOK).await;
            let programs = host.programs();
            let is_open = |it: &Program| is_moving(&it.state) || silence::is_open(&self.shared, it);
            let Some(moving) = programs.iter().find(|it| is_open(it)) else {
                return Ok(());
            };
            if tokio::time::Instant::now() > until {
                return Err(format!(
                    "{SETTLES_WITHIN:?} of peace, and it moves: {moving:?}"
                ));
            }
        }
    }

    /// Without faults a start leads to Ready, if the quota allows it, and a stop to Stopped.
    async fn start_and_stop(&self, host: &TestHost, id: &str) -> Outcome {
        for (command, state) in [("start", "Ready"), ("stop", "Stopped")] {
            let ask = Ask {
                user: ADMIN,
                key: None,
                method: "POST",
                path: format!("/programs/{id}/{command}?wait=1h"),
                body: String::new(),
            };
            match self.shared.ask(host, ask).await? {
                (403, _) if command == "start" => {}
                (200, view) if view["state"] == state => {}
                (200, view) if view["state"] == "Created" && command == "stop" => {}
                (200, view) if command == "start" && self.is_half_removed(host, &view).await? => {}
                (status, view) => {
                    return Err(format!("at peace, {command} {id} -> {status}: {view}"));
                }
            }
            laws::at_any_time(&self.shared, host)?;
        }
        Ok(())
    }

    /// Whether a program can't start because somebody had it removed and a fault kept some of it: its
    /// source went first. Without such a command no source may ever be missing.
    async fn is_half_removed(&self, host: &TestHost, view: &Value) -> Result<bool, String> {
        let cause = view["cause"]["message"].as_str().unwrap_or_default();
        if !cause.contains("its source is not on this machine") {
            return Ok(false);
        }
        let id = view["program_id"].as_str().unwrap_or_default();
        let ask = Ask {
            user: ADMIN,
            key: None,
            method: "GET",
            path: format!("/programs/{id}/events?limit=1000"),
            body: String::new(),
        };
        let (_, list) = self.shared.ask(host, ask).await?;
        let events = list["events"].as_array().map_or(&[][..], Vec::as_slice);
        Ok(events
            .iter()
            .any(|view| view["event"]["event"] == "user_delete_requested"))
    }

    /// Brings a host up; what it knows is what was there before, and what users know.
    async fn start_host(&mut self) -> Result<TestHost, String> {
        self.shared.trace.begin_life();
        if !self.shared.fault_plan.is_off() {
            self.leave_behind();
        }
        let shared = Arc::clone(&self.shared);
        let said = |error: &dyn std::fmt::Display| error.to_string();
        let setup = Setup::new(self.data, &self.shared.engine).map_err(|error| said(&error))?;
        let setup = setup
            .simulated(self.random.next_u64())
            .beginning_at(self.now_ms)
            .with_journal_probe(move |point| shared.fault_plan.draw_fate(point));
        // Nobody could start a host whose engine is down.
        self.shared.engine.set_down(false);
        let host = TestHost::start(setup).await.map_err(|error| said(&error))?;
        let stored = stored(&host)?;
        self.shared
            .trace
            .say(&format!("a host with {} programs", stored.len()));
        self.shared.known_programs().compare(&stored)?;
        laws::is_fold(&host, &stored)?;
        laws::quotas_are_kept(&self.shared, &host).await?;
        for program in &stored {
            self.shared.trace.hash(&format!("{:?}", program.records));
            laws::history_is_right(&self.shared, program)?;
        }
        Ok(host)
    }

    async fn admin(
        &self,
        host: &TestHost,
        method: &'static str,
        path: &str,
        expected: u16,
        body: &Value,
    ) -> Result<Value, String> {
        let ask = Ask {
            user: ADMIN,
            key: None,
            method,
            path: path.to_owned(),
            body: text_of(body),
        };
        match self.shared.ask(host, ask).await? {
            (status, answer) if status == expected => Ok(answer),
            (status, answer) => Err(format!("{method} {path} -> {status}: {answer}")),
        }
    }
}

fn stored(host: &TestHost) -> Result<Vec<hersh_host::testkit::ProgramHistory>, String> {
    let stored = host.stored();
    stored.map_err(|error| format!("the journal can't be read: {error}"))
}
