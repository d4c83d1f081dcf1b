//! Checks the contracts twice: against what is asked for, and against what was found.
//!
//! ```text
//! Spec ─► validate ─► made and inspected ─► [Fact] ─► verify ─► started ─► verify_running ─► Receipt
//! ```
//! Each property that was found must equal the one that was asked for. A fact tells how it is known, and
//! a receipt keeps this: the word of a runtime about itself counts less than a look at the instance.

use serde::{Deserialize, Serialize};

use crate::{
    Contract, Kernel, Spec, Violation,
    property::{Property, PropertyName},
};

/// The least memory in which a sandbox starts, bytes.
pub const MIN_MEMORY_BYTES: u64 = 16 * 1024 * 1024;

/// The fewest processes and threads that a manifest may ask for: enough for a shell that starts
/// others, and for a language that brings threads of its own.
pub const MIN_PIDS: u32 = 16;

/// What is known of one property of a real instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The host looked at the instance.
    Observed {
        /// The property that was seen.
        property: Property,
        /// How the host looked, such as from inside the sandbox.
        how: String,
    },
    /// The runtime states the property, and the host did not look.
    Declared {
        /// The property that is stated.
        property: Property,
        /// The name of the engine that states the property, such as `the Docker engine`.
        by: String,
    },
    /// The property can't be known.
    Absent {
        /// The name of the property.
        name: PropertyName,
        /// Why the property can't be known.
        why: String,
    },
}

/// How a property is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// The host looked at the instance, in this way.
    Observed(String),
    /// This engine, or a host of an older release, states the property; the host did not look.
    Declared(String),
    /// The property can't be known, for this reason.
    Absent(String),
}

/// One property of a contract as a receipt keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The property with its value, such as `memory 256MiB`; its name alone if the value can't be known.
    pub property: String,
    /// How the property is known.
    pub evidence: Evidence,
}

/// A contract with the proofs of its properties.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredContractProofs")]
pub struct ContractProofs {
    /// The contract.
    pub contract: Contract,
    /// The proofs of the contract's properties.
    pub properties: Vec<Proof>,
}

/// A contract as receipts hold it, also those of older hosts.
#[derive(Deserialize)]
struct StoredContractProofs {
    contract: Contract,
    #[serde(default)]
    properties: Vec<Proof>,
    /// The properties as older hosts wrote them: without how they were known.
    #[serde(default)]
    values: Vec<String>,
}

impl From<StoredContractProofs> for ContractProofs {
    fn from(stored: StoredContractProofs) -> Self {
        let mut properties = stored.properties;
        properties.extend(stored.values.into_iter().map(|property| Proof {
            property,
            evidence: Evidence::Declared("an older host".to_owned()),
        }));
        Self {
            contract: stored.contract,
            properties,
        }
    }
}

impl Fact {
    /// Returns the name of the property that the fact is about.
    #[must_use]
    pub const fn name(&self) -> PropertyName {
        match self {
            Self::Observed { property, .. } | Self::Declared { property, .. } => property.name(),
            Self::Absent { name, .. } => *name,
        }
    }

    fn property(&self) -> Option<&Property> {
        match self {
            Self::Observed { property, .. } | Self::Declared { property, .. } => Some(property),
            Self::Absent { .. } => None,
        }
    }

    /// Returns how much the fact counts beside another fact about the same property.
    const fn strength(&self) -> u8 {
        match self {
            Self::Observed { .. } => 2,
            Self::Declared { .. } => 1,
            Self::Absent { .. } => 0,
        }
    }

    fn proof(&self) -> Proof {
        let name = || self.name().words().to_owned();
        Proof {
            property: self.property().map_or_else(name, Property::to_string),
            evidence: match self {
                Self::Observed { how, .. } => Evidence::Observed(how.clone()),
                Self::Declared { by, .. } => Evidence::Declared(by.clone()),
                Self::Absent { why, .. } => Evidence::Absent(why.clone()),
            },
        }
    }
}

/// Checks a spec before anything is made of it. A [`Spec`] can't express most of what a contract forbids,
/// but its bounds can be too small.
///
/// # Errors
/// The first [`Violation`].
pub fn validate(spec: &Spec) -> Result<(), Violation> {
    let bounds = &spec.bounds;
    let processes = match spec.kernel {
        Kernel::Gvisor => bounds.processes.unwrap_or(0),
        Kernel::Machine => bounds.threads,
    };
    for (name, found, least) in [
        ("bytes of memory", bounds.memory_bytes, MIN_MEMORY_BYTES),
        (
            "thousandths of a processor",
            u64::from(bounds.cpu_millis),
            1,
        ),
        ("processes", u64::from(processes), u64::from(MIN_PIDS)),
        (
            "threads on the machine's kernel",
            u64::from(bounds.threads),
            u64::from(processes),
        ),
        ("bytes of temporary space", bounds.tmp_bytes, 1),
        ("bytes of log", bounds.log_bytes, 1),
    ] {
        if found < least {
            return Err(Violation {
                contract: Contract::Limits,
                found: format!("{found} {name}"),
                asked: format!("at least {least}"),
            });
        }
    }
    Ok(())
}

/// Compares the facts with the spec. Each property needs a fact. A property that is asked for must be
/// known, and each property that is known must equal the one asked for.
///
/// # Errors
/// The first [`Violation`], in the order of [`PropertyName::ALL`].
pub fn verify(spec: &Spec, facts: &[Fact]) -> Result<Vec<ContractProofs>, Violation> {
    let asked = spec.properties();
    let mut verified = Contract::ALL.map(|contract| ContractProofs {
        contract,
        properties: Vec::new(),
    });
    for name in PropertyName::ALL.iter().copied() {
        let asked = asked.iter().find(|property| property.name() == name);
        let best = compare(name, asked, facts)?;
        let of_contract = verified
            .iter_mut()
            .find(|it| it.contract == name.contract());
        if let Some(of_contract) = of_contract {
            of_contract.properties.push(best.proof());
        }
    }
    Ok(verified.into())
}

/// Works like [`verify`], for an instance that runs already. On gVisor the host must also have seen the
/// kernel: otherwise an engine that is set up wrongly could run the program on the machine's kernel
/// unnoticed.
///
/// # Errors
/// As [`verify`].
pub fn verify_running(spec: &Spec, facts: &[Fact]) -> Result<Vec<ContractProofs>, Violation> {
    let is_seen = |fact: &Fact| {
        let is_observed = matches!(fact, Fact::Observed { .. });
        is_observed && fact.name() == PropertyName::Kernel
    };
    match spec.kernel {
        Kernel::Gvisor if !facts.iter().any(is_seen) => Err(Violation {
            contract: Contract::Gvisor,
            found: "a kernel that nobody looked at".to_owned(),
            asked: "gVisor's, seen from inside".to_owned(),
        }),
        Kernel::Gvisor | Kernel::Machine => verify(spec, facts),
    }
}

/// Returns the strongest fact about one property. First compares all facts about it with what is
/// asked, so that no fact hides another one that contradicts the spec.
fn compare<'a>(
    name: PropertyName,
    asked: Option<&Property>,
    facts: &'a [Fact],
) -> Result<&'a Fact, Violation> {
    let violation = |found: String| Violation {
        contract: name.contract(),
        found,
        asked: asked.map_or_else(
            || format!("no bound on {}", name.words()),
            Property::to_string,
        ),
    };
    let mut best: Option<&Fact> = None;
    for fact in facts.iter().filter(|fact| fact.name() == name) {
        match fact.property() {
            Some(property) if Some(property) != asked => {
                return Err(violation(property.to_string()));
            }
            Some(_) => {}
            None if asked.is_some() => {
                let found = format!("{} that nobody can tell", name.words());
                return Err(violation(found));
            }
            None => {}
        }
        if best.is_none_or(|best| fact.strength() > best.strength()) {
            best = Some(fact);
        }
    }
    best.ok_or_else(|| violation(format!("{} that was not looked at", name.words())))
}
