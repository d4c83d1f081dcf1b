//! How this host's containers and images are found again on an engine that others use too: by name and
//! by label.

use std::collections::{BTreeMap, HashMap};

use hersh_program::{BuildId, InstanceId, InstanceNumber, ProgramId};

/// Label that names the program of a container or an image.
pub(super) const PROGRAM_LABEL: &str = "hersh.program";
/// Label that numbers the instance of a container among those of its program. Containers of hosts that
/// did not number instances have none.
pub(super) const INSTANCE_LABEL: &str = "hersh.instance";
/// Label that names the host that made it: several hosts can share one engine.
pub(super) const HOST_LABEL: &str = "hersh.host";
/// The label of every layer that a host builds, of failed builds too: the host's id.
pub(super) const LAYER_LABEL: &str = "hersh.layer";
/// Label of every layer of a build: for which making of which program, and with which network, it was
/// made.
pub(super) const CACHE_LABEL: &str = "hersh.cache";

/// Names the container of an instance of a host, and nothing else on an engine: program ids have no
/// dots, and hosts that share an engine have ids of their own. Hosts that did not number instances
/// named containers after programs alone.
pub(super) fn container_name(host_id: &str, instance: &InstanceId) -> String {
    let InstanceId { program, number } = instance;
    match *number {
        InstanceNumber::UNNUMBERED => format!("hersh-{program}"),
        InstanceNumber(_) => format!("hersh-{host_id}-{instance}"),
    }
}

/// The labels of the container of an instance.
pub(super) fn labels(host_id: &str, instance: &InstanceId) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        (PROGRAM_LABEL.to_owned(), instance.program.to_string()),
        (HOST_LABEL.to_owned(), host_id.to_owned()),
    ]);
    if instance.number != InstanceNumber::UNNUMBERED {
        labels.insert(INSTANCE_LABEL.to_owned(), instance.number.to_string());
    }
    labels
}

/// Reads which instance a container is from its labels and names. Labels alone don't tell: a step of a
/// build carries those that its Dockerfile sets, so the name, which nobody but the host gives, has to
/// fit.
pub(super) fn instance_of<'a>(
    labels: &HashMap<String, String>,
    mut names: impl Iterator<Item = &'a str>,
) -> Option<InstanceId> {
    let number = labels.get(INSTANCE_LABEL);
    let instance = InstanceId {
        program: ProgramId::parse(labels.get(PROGRAM_LABEL)?).ok()?,
        number: number.map_or(Some(InstanceNumber::UNNUMBERED), |text| {
            text.parse().ok().map(InstanceNumber)
        })?,
    };
    let name = container_name(labels.get(HOST_LABEL)?, &instance);
    names.any(|given| given == name).then_some(instance)
}

/// The name that all images of a program share on this host.
pub(super) fn repository(host_id: &str, program: &ProgramId) -> String {
    format!("hersh/{host_id}/{program}")
}

/// The name under which the image of a source tree is found again.
pub(super) fn image_tag(host_id: &str, program: &ProgramId, build: &BuildId) -> String {
    format!("{}:{build}", repository(host_id, program))
}
