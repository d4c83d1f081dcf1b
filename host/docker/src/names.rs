//! The names and labels by which a host finds its containers and images again on an engine that others
//! use too.

use std::collections::{BTreeMap, HashMap};

use hersh_program::{BuildId, InstanceId, InstanceNumber, ProgramId};

/// Label that names the program of a container or an image.
pub(super) const PROGRAM_LABEL: &str = "hersh.program";
/// Label with the number of a container's instance among those of its program. Containers of older hosts,
/// which did not number instances, have no such label.
pub(super) const INSTANCE_LABEL: &str = "hersh.instance";
/// Label that names the host that made a container or an image: several hosts can share one engine.
pub(super) const HOST_LABEL: &str = "hersh.host";
/// Label of every layer that a host builds, of failed builds too. Its value is the host's id.
pub(super) const LAYER_LABEL: &str = "hersh.layer";
/// Label of every layer of a build. Its value tells for which incarnation of which program the layer was made,
/// and with which network.
pub(super) const CACHE_LABEL: &str = "hersh.cache";

/// Returns the name of the container of an instance. No other container on the engine has this name:
/// program ids have no dots, and hosts that share an engine have different ids. Older hosts, which did
/// not number instances, named containers after the program alone.
pub(super) fn container_name(host_id: &str, instance: &InstanceId) -> String {
    let InstanceId { program, number } = instance;
    match *number {
        InstanceNumber::UNNUMBERED => format!("hersh-{program}"),
        InstanceNumber(_) => format!("hersh-{host_id}-{instance}"),
    }
}

/// Returns the labels of the container of an instance.
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

/// Returns the instance of a container, read from its labels and names. The labels alone prove nothing: a
/// hostile Dockerfile can set the same labels on the containers of its build steps. Only the host gives
/// names, so a name has to match too.
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

/// Returns the name that all images of a program share on this host.
pub(super) fn repository(host_id: &str, program: &ProgramId) -> String {
    format!("hersh/{host_id}/{program}")
}

/// Returns the name under which the image of a source tree is found again.
pub(super) fn image_tag(host_id: &str, program: &ProgramId, build: &BuildId) -> String {
    format!("{}:{build}", repository(host_id, program))
}
