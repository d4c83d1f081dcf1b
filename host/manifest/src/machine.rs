//! Compares the limits of a program with the size of the machine.

use hersh_base::surroundings::MachineSize;
use hersh_program::Limits;
use hersh_wire::ByteSize;

use crate::ManifestError;

/// Checks that a program does not ask for more than the machine has: the program could never get that much,
/// and an engine reports it only at the start.
///
/// # Errors
/// [`ManifestError`] names the key and what the machine has.
pub fn fits(limits: &Limits, machine: MachineSize) -> Result<(), ManifestError> {
    let refuse = |key: &str, value: String, rule: String| {
        Err(ManifestError {
            key: key.to_owned(),
            value,
            rule,
        })
    };
    if limits.memory_bytes > machine.memory_bytes {
        let mib = machine.memory_bytes >> 20;
        return refuse(
            "resources.memory",
            String::from(ByteSize(limits.memory_bytes)),
            format!("the host's machine has {mib}MiB"),
        );
    }
    if u64::from(limits.cpu_millis) > machine.cpus.saturating_mul(1_000) {
        return refuse(
            "resources.cpus",
            (f64::from(limits.cpu_millis) / 1_000.0).to_string(),
            format!("the host's machine has {}", machine.cpus),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_does_not_have_is_refused() {
        let machine = MachineSize {
            memory_bytes: 4 << 30,
            cpus: 2,
        };
        let fits = |memory_bytes, cpu_millis| {
            let limits = Limits {
                memory_bytes,
                cpu_millis,
                ..Limits::default()
            };
            super::fits(&limits, machine).map_err(|error| error.to_string())
        };
        assert_eq!(fits(4 << 30, 2_000), Ok(()));
        let memory = "resources.memory = 64GiB can't be used: the host's machine has 4096MiB";
        assert_eq!(fits(64 << 30, 1_000), Err(memory.to_owned()));
        let cpus = "resources.cpus = 2.5 can't be used: the host's machine has 2";
        assert_eq!(fits(1 << 30, 2_500), Err(cpus.to_owned()));
    }
}
