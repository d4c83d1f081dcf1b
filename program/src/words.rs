//! Numbers in the words of people: lengths of time, and signals.

use core::fmt;

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;

/// A length of time as a person says it, such as `5 s` for 4,999 ms: what a step had left of its
/// time is a little less than what the manifest says, and nobody asked for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lasting(
    /// Milliseconds.
    pub u64,
);

impl fmt::Display for Lasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < SECOND_MS / 2 {
            return write!(f, "{} ms", self.0);
        }
        let seconds = self.0.saturating_add(SECOND_MS / 2) / SECOND_MS;
        let minute = MINUTE_MS / SECOND_MS;
        if seconds >= 2 * minute && seconds.is_multiple_of(minute) {
            return write!(f, "{} min", seconds / minute);
        }
        write!(f, "{seconds} s")
    }
}

/// An exit code as a person reads it: with the name of the signal, where it stands for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitCode(
    /// The code.
    pub i32,
);

impl ExitCode {
    /// Name of the signal that the code stands for. Shells and engines report death by signal n as
    /// 128 + n.
    #[must_use]
    pub fn signal_name(self) -> Option<&'static str> {
        let number = usize::try_from(self.0.checked_sub(128)?).ok()?;
        SIGNALS.get(number.checked_sub(1)?).copied()
    }
}

impl fmt::Display for ExitCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.signal_name() {
            Some(signal) => write!(f, "{} ({signal})", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

/// Linux' signals from 1 on, as x86 and ARM number them.
const SIGNALS: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_length_of_time_is_told_as_it_was_asked_for() {
        for (ms, said) in [
            (0, "0 ms"),
            (250, "250 ms"),
            (999, "1 s"),
            (4_999, "5 s"),
            (60_000, "60 s"),
            (90_000, "90 s"),
            (119_999, "2 min"),
            (899_990, "15 min"),
            (125_000, "125 s"),
        ] {
            assert_eq!(Lasting(ms).to_string(), said);
        }
        assert!(Lasting(u64::MAX).to_string().ends_with(" s"));
    }

    #[test]
    fn a_code_above_128_names_its_signal() {
        for (code, said) in [
            (3, "3"),
            (129, "129 (SIGHUP)"),
            (137, "137 (SIGKILL)"),
            (139, "139 (SIGSEGV)"),
            (143, "143 (SIGTERM)"),
            (159, "159 (SIGSYS)"),
            (128, "128"),
            (160, "160"),
            (255, "255"),
            (-1, "-1"),
            (i32::MIN, "-2147483648"),
        ] {
            assert_eq!(ExitCode(code).to_string(), said);
        }
    }
}
