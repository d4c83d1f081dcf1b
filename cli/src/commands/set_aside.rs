//! `hersh host set-aside`: begins anew when the journal is lost.

use hersh_host::{SetAsideError, SetAsideReport, Settings};
use serde_json::json;

use crate::{args::Output, failure::Failure, output};

pub(crate) async fn set_aside(settings: &Settings, format: Output) -> Result<(), Failure> {
    let engine = settings.engine.path();
    let report = hersh_host::set_aside(settings.home(), engine, output::now_ms()).await;
    show(&report.map_err(failed)?, format)
}

fn show(report: &SetAsideReport, format: Output) -> Result<(), Failure> {
    if format == Output::Json {
        let containers = report.containers.iter();
        let containers = containers
            .map(|it| json!({ "program": it.program, "container": it.container.to_string() }));
        return output::json(&json!({
            "set_aside": report.folders,
            "journal": report.journal,
            "removed_containers": containers.collect::<Vec<_>>(),
        }));
    }
    for unclaimed in &report.containers {
        let (program, container) = (&unclaimed.program, &unclaimed.container);
        output::line(&format!("removed container {container} of {program}"))?;
    }
    for folder in report.folders.iter().chain(&report.journal) {
        output::line(&format!("set aside: {}", folder.display()))?;
    }
    output::line(
        "'hersh host' begins anew; what a program kept is in state/ of its folder, its source in src/",
    )
}

fn failed(error: SetAsideError) -> Failure {
    let message = error.to_string();
    match error {
        SetAsideError::Missing(_) | SetAsideError::Known(_) | SetAsideError::Nothing(_) => {
            Failure::Input(message)
        }
        SetAsideError::Engine(_) => Failure::Unavailable(message),
        SetAsideError::Lock(_)
        | SetAsideError::Open(_)
        | SetAsideError::Journal(_)
        | SetAsideError::Storage(_) => Failure::Failed(message),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::args::{Arguments, HostOptions, HostTask, Task};

    #[test]
    fn the_command_still_has_its_older_name() {
        for name in ["set-aside", "adopt"] {
            let Task::Host(HostOptions { task, .. }) =
                Arguments::parse_from(["hersh", "host", name]).task
            else {
                panic!("{name}");
            };
            assert!(matches!(task, Some(HostTask::SetAside)), "{name}");
        }
    }
}
