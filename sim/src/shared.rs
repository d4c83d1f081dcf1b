//! What all who act share: the engine, the faults, what the users know, and the trace.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hersh_host::testkit::{FakeEngine, Operation, OperationOutcome, TestHost};
use hersh_machine::SplitMix64;
use hersh_program::ProgramId;
use serde_json::Value;
use tokio::sync::Notify;

use crate::{
    fault_plan::{Fault, FaultPlan, HostFault},
    known_programs::KnownPrograms,
    trace::Trace,
};

/// Builds at once that a host allows unless told otherwise.
const BUILDS_MAX: usize = 2;
/// Every secret value begins like this; no answer may hold one.
pub(crate) const CANARY: &str = "canary-";
/// The first start's admin.
pub(crate) const ADMIN: &str = "admin";

/// Somebody with a token.
#[derive(Clone, Debug, Default)]
pub(crate) struct Person {
    pub(crate) token: String,
    pub(crate) token_id: String,
    /// Tokens that were ended for sure.
    pub(crate) revoked: Vec<String>,
    /// The most that was ever allowed; `None` is no bound.
    pub(crate) most: Option<MemberQuota>,
    /// What is allowed now, if that is clear.
    pub(crate) allowed: Option<MemberQuota>,
    /// Creates that may be sent again: key, body, and the program that it made if that is known.
    pub(crate) keyed: Vec<(String, String, Option<String>)>,
}

/// A member's quota, as far as the laws look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemberQuota {
    pub(crate) programs: u64,
    pub(crate) memory_mib: u64,
    pub(crate) builds: u64,
}

/// One request.
pub(crate) struct Ask<'a> {
    pub(crate) user: &'a str,
    pub(crate) key: Option<&'a str>,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: String,
}

pub(crate) struct Shared {
    pub(crate) engine: Arc<FakeEngine>,
    pub(crate) fault_plan: FaultPlan,
    pub(crate) trace: Trace,
    pub(crate) broken: Notify,
    known_programs: Mutex<KnownPrograms>,
    people: Mutex<BTreeMap<String, Person>>,
    /// Changes that the audit log owes a row: user, method and path, and how often.
    owed: Mutex<BTreeMap<(String, String, String), u64>>,
    law: Mutex<Option<String>>,
}

impl Shared {
    pub(crate) fn new(random: SplitMix64, data: &Path) -> Arc<Self> {
        Arc::new_cyclic(|shared: &std::sync::Weak<Self>| {
            let shared = shared.clone();
            let script = move |operation: &Operation| match shared.upgrade() {
                Some(shared) => shared.asked(operation),
                None => OperationOutcome::default(),
            };
            Self {
                engine: Arc::new(FakeEngine::scripted(script).answering_probes()),
                fault_plan: FaultPlan::new(random),
                trace: Trace::new(data),
                broken: Notify::new(),
                known_programs: Mutex::default(),
                people: Mutex::default(),
                owed: Mutex::default(),
                law: Mutex::default(),
            }
        })
    }

    pub(crate) fn known_programs(&self) -> MutexGuard<'_, KnownPrograms> {
        self.known_programs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn people(&self) -> MutexGuard<'_, BTreeMap<String, Person>> {
        self.people.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn person(&self, user: &str) -> Person {
        self.people().get(user).cloned().unwrap_or_default()
    }

    /// Changes that the audit log owes a row.
    pub(crate) fn owed(&self) -> MutexGuard<'_, BTreeMap<(String, String, String), u64>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A law is broken. The first one counts.
    pub(crate) fn broke(&self, law: String) {
        self.trace.say(&format!("BROKEN: {law}"));
        let mut first = self.law.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(law);
        self.broken.notify_one();
    }

    /// The law that was broken, if one was.
    pub(crate) fn law(&self) -> Option<String> {
        let law = self.law.lock().unwrap_or_else(PoisonError::into_inner);
        law.clone()
    }

    /// Sends a request with the user's token; the status and the answer.
    ///
    /// # Errors
    /// The law that the answer breaks.
    pub(crate) async fn ask(&self, host: &TestHost, ask: Ask<'_>) -> Result<(u16, Value), String> {
        let token = self.person(ask.user).token;
        let body = ask.body.as_bytes();
        let (status, answer) = host
            .ask_as(&token, ask.key, ask.method, &ask.path, body)
            .await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let value: Value = serde_json::from_str(&answer).unwrap_or_default();
        let Ask {
            user, method, path, ..
        } = ask;
        let code = value["code"].as_str().unwrap_or_default();
        // Ids of tokens are random, and the trace is not.
        let shown = match path.starts_with("/tokens/") {
            true => "/tokens/{token}",
            false => &path,
        };
        self.trace
            .say(&format!("{user} {method} {shown} -> {status} {code}"));
        if path.starts_with("/programs") && status < 400 {
            self.trace.hash(&answer);
        }
        self.check_status(status, code, &path)
            .map_err(|law| format!("{law}: {user} {method} {path}: {answer}"))?;
        let people = self.people();
        let secrets = people.values().map(|person| person.token.as_str());
        let mut secrets = secrets.filter(|secret| !secret.is_empty());
        if answer.contains(CANARY) || secrets.any(|secret| answer.contains(secret)) {
            return Err(format!("{user} {method} {path} was told a secret"));
        }
        if method != "GET" && status < 300 {
            let target = path.split('?').next().unwrap_or_default().to_owned();
            let row = (user.to_owned(), method.to_owned(), target);
            *self.owed().entry(row).or_default() += 1;
        }
        Ok((status, value))
    }

    /// A host fails only where a fault was made.
    fn check_status(&self, status: u16, code: &str, path: &str) -> Result<(), String> {
        let was_refused = self.fault_plan.refused_lately();
        let is_explained = match (status, code) {
            (..500, _) | (504, "wait_timed_out") | (503, "queue_full") => true,
            (507, "storage_full") => {
                was_refused || self.fault_plan.has_made_host_fault(HostFault::DiskFull)
            }
            (500, "internal") => was_refused,
            // What was waited for, such as a removal, could not be done.
            (503, "engine_unavailable") => {
                let below = path.strip_prefix("/programs/").unwrap_or_default();
                let program = below.split(['?', '/']).next().map(ProgramId::parse);
                let made = |id| self.fault_plan.has_made(&id, Fault::Unavailable);
                self.fault_plan.has_made_host_fault(HostFault::EngineDown)
                    || program.and_then(Result::ok).is_some_and(made)
            }
            _other => false,
        };
        let unexplained = || format!("status {status} {code} without a fault that explains it");
        is_explained.then_some(()).ok_or_else(unexplained)
    }

    /// The engine is asked for something: how it goes.
    fn asked(&self, operation: &Operation) -> OperationOutcome {
        let outcome = self.fault_plan.draw_outcome(operation);
        self.trace
            .say(&format!("engine {operation:?}: {outcome:?}"));
        if let Err(law) = self.check_builds() {
            self.broke(law);
        }
        outcome
    }

    /// Neither a host nor a user has more builds at once than allowed.
    fn check_builds(&self) -> Result<(), String> {
        let mut builders: BTreeMap<String, BTreeSet<ProgramId>> = BTreeMap::new();
        let (known_programs, people) = (self.known_programs(), self.people());
        let mut builds = 0;
        for operation in self.engine.under_way() {
            if let Operation::Build(program, _) = operation {
                builds += 1;
                if let Some(known) = known_programs.programs.get(program.as_str()) {
                    let of = builders.entry(known.owner.clone()).or_default();
                    of.insert(program);
                }
            }
        }
        if builds > BUILDS_MAX {
            return Err(format!("{builds} builds at once"));
        }
        for (owner, programs) in builders {
            let allowed = people.get(&owner).and_then(|person| person.most);
            // Who has no quota is bounded by the host alone.
            let most = allowed.map_or(u64::MAX, |allowed| allowed.builds);
            if programs.len() as u64 > most {
                return Err(format!("{owner} builds {programs:?} at once, {most} may"));
            }
        }
        Ok(())
    }
}

impl MemberQuota {
    /// Draws a small quota.
    pub(crate) fn draw(random: &mut SplitMix64) -> Self {
        Self {
            programs: 1 + random.below(4),
            memory_mib: 64 * (1 + random.below(6)),
            builds: 1 + random.below(2),
        }
    }

    pub(crate) fn to_json(self) -> Value {
        serde_json::json!({
            "programs": self.programs,
            "memory": format!("{}MiB", self.memory_mib),
            "builds": self.builds,
        })
    }

    /// The larger of each.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            programs: self.programs.max(other.programs),
            memory_mib: self.memory_mib.max(other.memory_mib),
            builds: self.builds.max(other.builds),
        }
    }
}

/// A body as it is sent; null is none.
pub(crate) fn text_of(body: &Value) -> String {
    if body.is_null() {
        String::new()
    } else {
        body.to_string()
    }
}
