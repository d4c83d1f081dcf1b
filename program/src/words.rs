//! Numbers written for people: lengths of time, sizes, and signals.

use core::fmt;

const SECOND_MS: u64 = 1_000;
const MINUTE_MS: u64 = 60 * SECOND_MS;

/// A length of time, rounded for people, such as `5 s` for 4,999 ms. The time that a step had left is a
/// little less than the manifest says, and the exact number would confuse people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundedSpan(
    /// Milliseconds.
    pub u64,
);

impl fmt::Display for RoundedSpan {
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

/// A number of bytes, rounded for people: `1.6 GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundedSize(
    /// Bytes.
    pub u64,
);

impl fmt::Display for RoundedSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        // Use the largest unit that goes into the number at least once. Whole numbers are rounded down like
        // tenths.
        let power = (u64::BITS - 1).saturating_sub(self.0.leading_zeros()) / 10;
        let unit = 1_u64 << (10 * power);
        let name = usize::try_from(power).ok().and_then(|at| UNITS.get(at));
        let (whole, rest) = (self.0 / unit, self.0 % unit);
        let tenth = u128::from(rest) * 10 / u128::from(unit);
        match tenth {
            1.. if whole < 10 => write!(f, "{whole}.{tenth} {}", name.unwrap_or(&"")),
            _fewer => write!(f, "{whole} {}", name.unwrap_or(&"")),
        }
    }
}

/// An exit code for people: with the name of the signal, if the code stands for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitCode(
    /// The code.
    pub i32,
);

impl ExitCode {
    /// Returns the name of the signal that the code stands for. Shells and engines report death by signal n
    /// as 128 + n.
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

/// The names of Linux' signals from 1 on, as x86 and ARM number them.
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
            assert_eq!(RoundedSpan(ms).to_string(), said);
        }
        assert!(RoundedSpan(u64::MAX).to_string().ends_with(" s"));
    }

    #[test]
    fn a_size_is_told_in_the_largest_unit() {
        for (bytes, said) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (64 << 20, "64 MiB"),
            ((64 << 20) + 4_096, "64 MiB"),
            (1_717_986_918, "1.5 GiB"),
            (10_737_418_240 + (1 << 29), "10 GiB"),
            (u64::MAX, "15 EiB"),
        ] {
            assert_eq!(RoundedSize(bytes).to_string(), said);
        }
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
