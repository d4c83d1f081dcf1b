//! `hersh doctor`.

use hersh_sandbox::{Finding, Verdict};
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
        .filter(|finding| matches!(finding.verdict, Verdict::Broken { .. }));
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
    match &finding.verdict {
        Verdict::Fine => output::line(&format!("ok      {}: {}", finding.what, finding.found)),
        Verdict::Weak { mend } => {
            output::line(&format!("weak    {}: {}", finding.what, finding.found))?;
            output::line(&format!("        mend: {mend}"))
        }
        Verdict::Broken { mend } => {
            output::line(&format!("BROKEN  {}: {}", finding.what, finding.found))?;
            output::line(&format!("        mend: {mend}"))
        }
    }
}

fn as_json(finding: &Finding) -> serde_json::Value {
    match &finding.verdict {
        Verdict::Fine => json!({ "what": finding.what, "found": finding.found, "ok": true }),
        Verdict::Weak { mend } => {
            json!({ "what": finding.what, "found": finding.found, "ok": true, "mend": mend })
        }
        Verdict::Broken { mend } => {
            json!({ "what": finding.what, "found": finding.found, "ok": false, "mend": mend })
        }
    }
}
