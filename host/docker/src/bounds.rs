//! The bounds of a container on this machine, as facts.

use bollard::models::ContainerInspectResponse;
use hersh_sandbox::{
    Fact, Spec,
    property::{Bound, Property},
};

use super::counters::{self, GroupBounds};

/// The bytes of one memory page: the kernel bounds memory in whole pages. True for the one processor
/// architecture that has a probe.
const PAGE_BYTES: u64 = 4_096;
/// The step to which runsc rounds a share of processor time up, thousandths of one core. runsc rounds
/// where systemd manages the control groups.
const SHARE_MILLIS: u64 = 10;

/// Returns the bounds of a container that stand in its control groups. Returns no facts if this process
/// can't see those groups.
pub(super) async fn seen(spec: &Spec, id: &str, inspected: &ContainerInspectResponse) -> Vec<Fact> {
    let Some(pid) = inspected.state.as_ref().and_then(|state| state.pid) else {
        return Vec::new();
    };
    let container = id.to_owned();
    let read = tokio::task::spawn_blocking(move || counters::bounds(&container, pid));
    match read.await {
        Ok(Some(bounded)) => facts(spec, bounded),
        Ok(None) | Err(_) => Vec::new(),
    }
}

/// Makes facts of the bounds that were read. A bound that differs from the asked one only by rounding
/// counts as the asked one.
fn facts(spec: &Spec, bounded: GroupBounds) -> Vec<Fact> {
    let (memory, cpu) = (spec.bounds.memory_bytes, u64::from(spec.bounds.cpu_millis));
    let memory = match bounded.memory_bytes {
        Some(bytes) if bytes == memory - memory % PAGE_BYTES => Bound::AtMost(memory),
        Some(bytes) => Bound::AtMost(bytes),
        None => Bound::Unbounded,
    };
    let cpu = match bounded.cpu_millis {
        Some(millis) if millis == cpu.next_multiple_of(SHARE_MILLIS) => Some(cpu),
        other => other,
    };
    let number = |bound: Option<u64>| bound.and_then(|it| u32::try_from(it).ok()).unwrap_or(0);
    let observed = |property| Fact::Observed {
        property,
        how: "in the control groups of the machine".to_owned(),
    };
    [
        Property::Memory(memory),
        Property::Processor(number(cpu)),
        Property::Threads(number(bounded.threads)),
    ]
    .map(observed)
    .into()
}

#[cfg(test)]
mod tests {
    use hersh_program::{ImageId, InstanceId, InstanceNumber, Manifest, ProgramId};
    use hersh_sandbox::Kernel;

    use super::*;

    /// Returns whether the bounds found count as those asked: memory, processor, threads. `asked` and
    /// `found` hold memory in bytes, and processor time in thousandths of one core.
    fn fits(asked: (u64, u32), found: (u64, u64)) -> [bool; 3] {
        let mut manifest = Manifest::default();
        (manifest.limits.memory_bytes, manifest.limits.cpu_millis) = asked;
        let instance = InstanceId {
            program: ProgramId::parse("p").unwrap(),
            number: InstanceNumber(1),
        };
        let image = ImageId::parse(&format!("sha256:{}", "a".repeat(64))).unwrap();
        let spec = Spec::new(&instance, &image, &manifest, Kernel::Gvisor);
        let bounded = GroupBounds {
            memory_bytes: Some(found.0),
            cpu_millis: Some(found.1),
            threads: Some(u64::from(spec.bounds.threads)),
        };
        let properties = spec.properties();
        let facts = facts(&spec, bounded);
        let fits: Vec<bool> = facts
            .iter()
            .map(|fact| match fact {
                Fact::Observed { property, .. } => properties.contains(property),
                Fact::Declared { .. } | Fact::Absent { .. } => panic!("somebody looked"),
            })
            .collect();
        fits.try_into().unwrap()
    }

    #[test]
    fn what_is_only_rounded_is_what_was_asked() {
        assert_eq!(fits((100_000_001, 255), (99_999_744, 255)), [true; 3]);
        assert_eq!(fits((1 << 26, 255), (1 << 26, 260)), [true; 3]);
        assert_eq!(fits((1 << 26, 250), (1 << 26, 250)), [true; 3]);
    }

    #[test]
    fn what_is_more_than_rounded_is_not() {
        assert_eq!(fits((1 << 26, 255), (1 << 26, 270)), [true, false, true]);
        assert_eq!(fits((1 << 26, 250), (1 << 26, 260)), [true, false, true]);
        assert_eq!(fits((1 << 26, 250), (1 << 27, 250)), [false, true, true]);
    }
}
