//! Facts that the probe reports about its own confinement. The probe is a process of the sandbox like any
//! other.

use std::collections::BTreeSet;

use hersh_sandbox::{
    Fact,
    property::{Access, Property},
};

/// The sets of capabilities that a process has, as `/proc/self/status` names them.
const SETS: [&str; 4] = ["CapInh", "CapPrm", "CapEff", "CapBnd"];

/// Returns the facts in `said`, the output of the probe. `way` tells how the probe was run. Properties
/// that the kernel does not tell are left out.
pub(super) fn facts(said: &str, way: &str) -> Vec<Fact> {
    let properties = [capabilities(said), root(said)];
    let observed = |property| Fact::Observed {
        property,
        how: way.to_owned(),
    };
    properties.into_iter().flatten().map(observed).collect()
}

/// Reads the capabilities of all sets. Returns `None` unless each set is told: a capability in a missing
/// set would stay unseen.
fn capabilities(said: &str) -> Option<Property> {
    let mut found = BTreeSet::new();
    for set in SETS {
        let line = said.lines().find_map(|line| line.strip_prefix(set));
        let mask = line?.strip_prefix(':')?.trim();
        if u64::from_str_radix(mask, 16).ok()? != 0 {
            found.insert(format!("{set} {mask}"));
        }
    }
    Some(Property::Capabilities(found))
}

/// Reads whether the root can be written. Several mounts can lie on `/`, one over the other. If one of
/// them can be written, the root counts as writable.
fn root(said: &str) -> Option<Property> {
    let options = said.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (_device, target) = (fields.next()?, fields.next()?);
        let (_kind, options) = (fields.next()?, fields.next()?);
        (target == "/").then_some(options)
    });
    let access: Vec<Access> = options
        .map(|options| match options.split(',').any(|it| it == "ro") {
            true => Access::ReadOnly,
            false => Access::Writable,
        })
        .collect();
    access.into_iter().max().map(Property::RootFileSystem)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tprobe\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n\
                          CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nSeccomp:\t0\n";
    const MOUNTS: &str = "none / 9p ro,trans=fd,aname=/ 0 0\nnone /tmp tmpfs rw,noexec 0 0\n";

    fn properties(said: &str) -> Vec<Property> {
        let property = |fact| match fact {
            Fact::Observed { property, .. } => property,
            Fact::Declared { .. } | Fact::Absent { .. } => panic!("somebody looked"),
        };
        facts(said, "from inside")
            .into_iter()
            .map(property)
            .collect()
    }

    #[test]
    fn what_a_confined_process_says_is_what_is_asked() {
        let expected = [
            Property::Capabilities(BTreeSet::new()),
            Property::RootFileSystem(Access::ReadOnly),
        ];
        assert_eq!(properties(&format!("{STATUS}{MOUNTS}")), expected);
    }

    #[test]
    fn each_set_of_capabilities_counts() {
        for set in SETS {
            let none = format!("{set}:\t0000000000000000");
            let said = STATUS.replace(&none, &format!("{set}:\t0000000000002000"));
            let expected = BTreeSet::from([format!("{set} 0000000000002000")]);
            assert_eq!(properties(&said), [Property::Capabilities(expected)]);
        }
    }

    #[test]
    fn a_root_is_writable_if_a_mount_over_it_is() {
        for mounts in [
            "none / 9p rw,trans=fd 0 0\n",
            "none / 9p ro,trans=fd 0 0\nnone / overlay rw 0 0\n",
            "none / overlay rw 0 0\nnone / 9p ro,trans=fd 0 0\n",
            "none / 9p errors=remount-ro 0 0\n",
        ] {
            let expected = [Property::RootFileSystem(Access::Writable)];
            assert_eq!(properties(mounts), expected, "{mounts}");
        }
    }

    #[test]
    fn what_is_not_told_is_no_fact() {
        for said in ["", "Linux version 4.4.0", "CapEff:\t0\n", "/ / /\n"] {
            assert_eq!(properties(said), [], "{said}");
        }
    }
}
