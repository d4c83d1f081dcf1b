//! What was found on a machine, and how to mend it.

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, such as `container engine`.
    pub what: String,
    /// What was found.
    pub found: String,
    /// Whether Hersh can run like that.
    pub verdict: Verdict,
}

/// Whether Hersh can run with what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It can.
    Fine,
    /// It can, and could be safer.
    Weak {
        /// What to do about it.
        mend: String,
    },
    /// It can't.
    Broken {
        /// What to do about it.
        mend: String,
    },
}

impl Finding {
    /// What is as it should be.
    #[must_use]
    pub fn fine(what: &str, found: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            found: found.into(),
            verdict: Verdict::Fine,
        }
    }

    /// What works and could be safer, and how to mend it.
    #[must_use]
    pub fn weak(what: &str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        let verdict = Verdict::Weak { mend: mend.into() };
        Self {
            what: what.into(),
            found: found.into(),
            verdict,
        }
    }

    /// What keeps Hersh from running, and how to mend it.
    #[must_use]
    pub fn broken(what: &str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        let verdict = Verdict::Broken { mend: mend.into() };
        Self {
            what: what.into(),
            found: found.into(),
            verdict,
        }
    }
}
