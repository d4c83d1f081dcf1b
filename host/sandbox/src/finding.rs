//! Findings about a machine, and how to mend what is wrong.

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, such as `container engine`.
    pub what: String,
    /// What was found.
    pub found: String,
    /// Whether Hersh can run like that.
    pub severity: Severity,
}

/// Whether Hersh can run with what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Hersh can run with it.
    Fine,
    /// Hersh can run with it, and could run more safely.
    Weak {
        /// What to do about it.
        mend: String,
    },
    /// Hersh can't run with it.
    Broken {
        /// What to do about it.
        mend: String,
    },
}

impl Finding {
    /// Returns the finding that something is as it should be.
    #[must_use]
    pub fn fine(what: &str, found: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            found: found.into(),
            severity: Severity::Fine,
        }
    }

    /// Returns the finding that something works but could be safer, and how to mend it.
    #[must_use]
    pub fn weak(what: &str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        let severity = Severity::Weak { mend: mend.into() };
        Self {
            what: what.into(),
            found: found.into(),
            severity,
        }
    }

    /// Returns the finding that something keeps Hersh from running, and how to mend it.
    #[must_use]
    pub fn broken(what: &str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        let severity = Severity::Broken { mend: mend.into() };
        Self {
            what: what.into(),
            found: found.into(),
            severity,
        }
    }
}
