//! `hersh host adopt`: begins anew when the journal is lost.

use hersh_host::{AdoptError, Adoption, Settings};
use serde_json::json;

use crate::{args::Output, failure::Failure, output};

pub(crate) async fn adopt(settings: &Settings, format: Output) -> Result<(), Failure> {
    let engine = settings.engine.path();
    let adopted = hersh_host::adopt(settings.home(), engine, output::now_ms()).await;
    show(&adopted.map_err(failed)?, format)
}

fn show(adopted: &Adoption, format: Output) -> Result<(), Failure> {
    if format == Output::Json {
        let containers = adopted.containers.iter();
        let containers = containers
            .map(|it| json!({ "program": it.program, "container": it.container.to_string() }));
        return output::json(&json!({
            "set_aside": adopted.folders,
            "journal": adopted.journal,
            "removed_containers": containers.collect::<Vec<_>>(),
        }));
    }
    for unclaimed in &adopted.containers {
        let (program, container) = (&unclaimed.program, &unclaimed.container);
        output::line(&format!("removed container {container} of {program}"))?;
    }
    for folder in adopted.folders.iter().chain(&adopted.journal) {
        output::line(&format!("set aside: {}", folder.display()))?;
    }
    output::line(
        "'hersh host' begins anew; what a program kept is in state/ of its folder, its source in src/",
    )
}

fn failed(error: AdoptError) -> Failure {
    let message = error.to_string();
    match error {
        AdoptError::Missing(_) | AdoptError::Known(_) | AdoptError::Nothing(_) => {
            Failure::Input(message)
        }
        AdoptError::Engine(_) => Failure::Unavailable(message),
        AdoptError::Lock(_)
        | AdoptError::Open(_)
        | AdoptError::Journal(_)
        | AdoptError::Storage(_) => Failure::Failed(message),
    }
}
