//! `hersh logs`.

use futures_util::StreamExt;
use hersh_wire::LogLine;
use reqwest::Method;

use crate::{
    args::{LogsOptions, Output},
    client::Client,
    failure::Failure,
    output,
};

pub(crate) async fn show(
    client: &Client,
    options: LogsOptions,
    format: Output,
) -> Result<(), Failure> {
    let program = options.program.as_str();
    if options.build && !options.follow {
        let request = client.request(
            Method::GET,
            &["programs", program, "builds", "latest", "logs"],
        );
        let text = client.send(request).await?.text().await;
        let text =
            text.map_err(|error| Failure::Unreachable(format!("the host hung up: {error}")))?;
        return text.lines().try_for_each(output::line);
    }
    let request = if options.build {
        client.request(
            Method::GET,
            &["programs", program, "builds", "latest", "logs"],
        )
    } else {
        let request = client.request(Method::GET, &["programs", program, "logs"]);
        request.query(&[("tail", options.tail)])
    };
    if !options.follow {
        let lines: Vec<LogLine> = client.read(request).await?;
        return match format {
            Output::Json => output::json(&lines),
            Output::Table => lines.iter().try_for_each(|line| print(line, format)),
        };
    }
    let mut lines = std::pin::pin!(client.lines(request.query(&[("follow", "true")])).await?);
    while let Some(line) = lines.next().await {
        print(&line?, format)?;
    }
    Ok(())
}

fn print(line: &LogLine, format: Output) -> Result<(), Failure> {
    match format {
        Output::Table => output::line(&line.line),
        Output::Json => {
            let text = serde_json::to_string(line)
                .map_err(|error| Failure::Failed(format!("can't write JSON: {error}")))?;
            output::line(&text)
        }
    }
}
