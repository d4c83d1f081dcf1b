//! The contracts, held against what is asked for and against what was found.
//!
//! ```text
//! Spec ─► validate ─► the runtime makes it and finds out ─► [Fact] ─► verify ─► started ─► prove ─► Receipt
//! ```
//! What is found has to be what is asked, property by property. A fact says how it is known, since what a
//! runtime says of itself is less than what somebody saw; a receipt keeps that apart.

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
    /// Somebody looked.
    Observed {
        /// What was seen.
        property: Property,
        /// How.
        how: String,
    },
    /// The runtime says so, and nobody looked.
    Declared {
        /// What it says.
        property: Property,
        /// Who says so.
        by: String,
    },
    /// Nobody can say.
    Absent {
        /// Of what.
        name: PropertyName,
        /// Why.
        why: String,
    },
}

/// How a property is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// Somebody looked, in that way.
    Observed(String),
    /// That one says so, and nobody looked.
    Declared(String),
    /// Nobody can say, for that reason.
    Absent(String),
}

/// One property of a contract as a receipt keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The property with its value, such as `memory 256MiB`; its name alone if nobody can say.
    pub property: String,
    /// How it is known.
    pub evidence: Evidence,
}

/// A contract with what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "StoredVerified")]
pub struct Verified {
    /// The contract.
    pub contract: Contract,
    /// Its properties.
    pub properties: Vec<Proof>,
}

/// A contract as receipts of all hosts keep it.
#[derive(Deserialize)]
struct StoredVerified {
    contract: Contract,
    #[serde(default)]
    properties: Vec<Proof>,
    /// What older hosts wrote, which did not say how it was known.
    #[serde(default)]
    values: Vec<String>,
}

impl From<StoredVerified> for Verified {
    fn from(stored: StoredVerified) -> Self {
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
    /// The property that it is about.
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

    /// How much it counts beside another fact of the same property.
    const fn weight(&self) -> u8 {
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

/// Checks what would run. Most of what a contract forbids can't be said in a [`Spec`]; bounds can.
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

/// Holds what was found against what was asked: there is a fact of each property, each that is asked is
/// known, and each that is known is the one asked.
///
/// # Errors
/// The first [`Violation`], in the order of [`PropertyName::ALL`].
pub fn verify(spec: &Spec, facts: &[Fact]) -> Result<Vec<Verified>, Violation> {
    let asked = spec.properties();
    let mut verified = Contract::ALL.map(|contract| Verified {
        contract,
        properties: Vec::new(),
    });
    for name in PropertyName::ALL.iter().copied() {
        let asked = asked.iter().find(|property| property.name() == name);
        let best = held_against(name, asked, facts)?;
        let of_contract = verified
            .iter_mut()
            .find(|it| it.contract == name.contract());
        if let Some(of_contract) = of_contract {
            of_contract.properties.push(best.proof());
        }
    }
    Ok(verified.into())
}

/// Does as [`verify`] for an instance that runs: what runs on gVisor's kernel has to have been seen to.
///
/// # Errors
/// As [`verify`].
pub fn prove(spec: &Spec, facts: &[Fact]) -> Result<Vec<Verified>, Violation> {
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

/// The fact of most weight about one property, after all of them were held against what is asked.
fn held_against<'a>(
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
        if best.is_none_or(|best| fact.weight() > best.weight()) {
            best = Some(fact);
        }
    }
    best.ok_or_else(|| violation(format!("{} that was not looked at", name.words())))
}
