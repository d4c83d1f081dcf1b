//! `hersh doctor`.

use hersh_sandbox::{Finding, Severity};
use serde_json::json;

use crate::{
    args::{EngineOptions, Output},
    failure::Failure,
    output,
};

pub(crate) async fn examine(options: EngineOptions, format: Output) -> Result<(), Failure> {
    let findings = hersh_host::doctor::examine(&options.engine).await;
    match format {
        Output::Json => {
            let rows: Vec<_> = findings.iter().map(as_json).collect();
            output::json(&rows)?;
        }
        Output::Table => findings.iter().try_for_each(print)?,
    }
    let broken = findings
        .iter()
        .filter(|finding| matches!(finding.severity, Severity::Broken { .. }));
    match broken.count() {
        0 => Ok(()),
        1 => Err(Failure::Unavailable(
            "1 problem keeps this machine from running Hersh".into(),
        )),
        n => Err(Failure::Unavailable(format!(
            "{n} problems keep this machine from running Hersh"
        ))),
    }
}

fn print(finding: &Finding) -> Result<(), Failure> {
    match &finding.severity {
        Severity::Fine => output::line(&format!("ok      {}: {}", finding.what, finding.found)),
        Severity::Weak { mend } => {
            output::line(&format!("weak    {}: {}", finding.what, finding.found))?;
            output::line(&format!("        mend: {mend}"))
        }
        Severity::Broken { mend } => {
            output::line(&format!("BROKEN  {}: {}", finding.what, finding.found))?;
            output::line(&format!("        mend: {mend}"))
        }
    }
}

fn as_json(finding: &Finding) -> serde_json::Value {
    match &finding.severity {
        Severity::Fine => json!({ "what": finding.what, "found": finding.found, "ok": true }),
        Severity::Weak { mend } => {
            json!({ "what": finding.what, "found": finding.found, "ok": true, "mend": mend })
        }
        Severity::Broken { mend } => {
            json!({ "what": finding.what, "found": finding.found, "ok": false, "mend": mend })
        }
    }
}
