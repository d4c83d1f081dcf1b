//! Flags for the settings of a host: one for each, made from the host's own table of settings.

use std::ffi::OsString;

use clap::{Arg, ArgMatches, Args, Command, error::ErrorKind, parser::ValueSource};
use hersh_host::config::KEYS;

/// Settings given by flags: each flag with its value.
#[derive(Clone, Debug, Default)]
pub(crate) struct SettingFlags(pub(crate) Vec<(String, OsString)>);

const HEADING: &str = "Settings";

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        KEYS.iter().fold(command, |command, key| {
            let help = match key.default {
                "" => key.help.to_owned(),
                default => format!("{} [default: {default}]", key.help),
            };
            let arg = Arg::new(key.flag())
                .long(key.flag())
                .help(format!("{help} [env: {}]", key.variable()))
                .help_heading(HEADING)
                .global(true)
                .value_name("VALUE")
                .value_parser(clap::value_parser!(OsString));
            command.arg(if key.is_switch() {
                arg.num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true")
            } else {
                arg
            })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for flag in KEYS.iter().map(hersh_host::config::Key::flag) {
            if matches.value_source(&flag) != Some(ValueSource::CommandLine) {
                continue;
            }
            let value = matches
                .get_one::<OsString>(&flag)
                .ok_or_else(|| clap::Error::new(ErrorKind::InvalidValue))?;
            self.0.push((flag, value.clone()));
        }
        Ok(())
    }
}
