//! Reports wrong usage: clap tells people, and programs that asked for JSON get an object as for any other
//! failure.

use std::{ffi::OsString, process::ExitCode};

use clap::error::ErrorKind;

use crate::{args::Output, failure::Failure, output};

/// Prints clap's text: the help, the version, or what is wrong with the arguments.
pub(crate) fn tell(error: &clap::Error) -> ExitCode {
    // It is no failure if nobody can read the text.
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    let failure = Failure::Usage(message(error));
    if asks_for_json(std::env::args_os()) {
        output::object(&failure, Output::Json);
    }
    ExitCode::from(failure.exit_code())
}

/// Returns what is wrong, without the description of the usage.
fn message(error: &clap::Error) -> String {
    let kinds = [
        ErrorKind::MissingSubcommand,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
    ];
    if kinds.contains(&error.kind()) {
        return "no command is named; 'hersh --help' lists them".to_owned();
    }
    let text = error.render().to_string();
    let told = ["\n\nUsage:", "\n\nFor more information"]
        .into_iter()
        .filter_map(|end| text.find(end))
        .min();
    let told = &text[..told.unwrap_or(text.len())];
    told.trim_start_matches("error: ").trim().to_owned()
}

/// Returns whether `-o json` is among the arguments, even if they can't be read as a whole.
fn asks_for_json(arguments: impl Iterator<Item = OsString>) -> bool {
    let words: Vec<String> = arguments
        .map(|word| word.to_string_lossy().into_owned())
        .take_while(|word| word != "--")
        .collect();
    let names_output = |word: &str| {
        let is_short = word.starts_with('-') && !word.starts_with("--") && word.ends_with('o');
        is_short || word == "--output"
    };
    let is_whole = |word: &String| {
        let value = word.strip_prefix("--output=");
        value
            .or(word.strip_prefix("-o"))
            .map(|it| it.trim_start_matches('='))
            == Some("json")
    };
    let mut pairs = words.windows(2);
    words.iter().any(is_whole) || pairs.any(|pair| names_output(&pair[0]) && pair[1] == "json")
}
