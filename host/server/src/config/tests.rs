use std::{fmt::Debug, os::unix::fs::PermissionsExt, path::PathBuf};

use super::*;

/// A settings file that lives as long as the test.
struct SettingsFile(tempfile::TempDir);

impl SettingsFile {
    fn new(text: &str) -> Self {
        let file = Self(tempfile::tempdir().unwrap());
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("host.toml")
    }

    fn with(&self, environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Sources {
        Sources {
            file: Some(self.path()),
            environment: environment
                .iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            flags: flags
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.into()))
                .collect(),
        }
    }

    fn refused(&self) -> String {
        let gathered = EffectiveSettings::gather(self.with(&[], &[]));
        gathered
            .and_then(|effective| effective.settings())
            .unwrap_err()
            .to_string()
    }
}

fn checked(change: impl FnOnce(&mut Settings)) -> Result<Config, ConfigError> {
    let mut settings = Settings::defaults().unwrap();
    change(&mut settings);
    Config::new(settings)
}

fn debug(value: &impl Debug) -> String {
    format!("{value:?}")
}

#[test]
fn the_listed_defaults_are_those_in_force() {
    let written = defaults_file();
    let everything = written
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(setting) if setting.contains(" = ") => setting,
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n");
    let file = SettingsFile::new(&everything);
    let effective = EffectiveSettings::gather(file.with(&[], &[])).unwrap();
    let from_file = |value: &Value| matches!(value.origin, Origin::File { .. });
    assert!(effective.values.iter().all(from_file), "{effective:?}");
    assert_eq!(
        debug(&effective.settings().unwrap()),
        debug(&Settings::defaults().unwrap())
    );
    Config::new(Settings::defaults().unwrap()).unwrap();
    let deployed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/host.toml");
    assert_eq!(
        std::fs::read_to_string(deployed).unwrap(),
        written,
        "deploy/host.toml is what `hersh host config --defaults` prints"
    );
}

#[test]
fn every_setting_has_one_variable_and_one_flag_and_counts() {
    let others = [
        "7",
        "true",
        "/elsewhere",
        "192.0.2.1:1",
        "json",
        "debug",
        "10.9.0.0/16",
        "7GiB",
        "7h",
        "http://127.0.0.1:4318",
    ];
    let file = SettingsFile::new("");
    let defaults = debug(&Settings::defaults().unwrap());
    for key in KEYS {
        let counts = |text: &&str| {
            let effective =
                EffectiveSettings::gather(file.with(&[(&key.variable(), text)], &[])).unwrap();
            effective
                .settings()
                .is_ok_and(|settings| debug(&settings) != defaults)
        };
        assert!(others.iter().any(counts), "{} does nothing", key.name);
        assert!(key.help.ends_with('.'), "{}: one sentence", key.name);
        let alike = KEYS
            .iter()
            .filter(|other| other.variable() == key.variable());
        assert_eq!(alike.count(), 1, "{}", key.variable());
    }
}

#[test]
fn later_sources_win_and_every_value_knows_its_origin() {
    let file =
        SettingsFile::new("listen = \"127.0.0.1:1\"\nengine = \"/a\"\n\n[log]\nlevel = \"warn\"\n");
    let sources = file.with(
        &[
            ("HERSH_LISTEN", "127.0.0.1:2"),
            ("HERSH_ENGINE", "/b"),
            ("PATH", "/bin"),
        ],
        &[("listen", "127.0.0.1:3")],
    );
    let effective = EffectiveSettings::gather(sources).unwrap();
    let found = |name: &str| {
        let value = effective.values.iter().find(|value| value.key.name == name);
        value
            .map(|value| (value.text.as_str(), value.origin.to_string()))
            .unwrap()
    };
    assert_eq!(found("listen"), ("127.0.0.1:3", "flag --listen".to_owned()));
    assert_eq!(
        found("engine"),
        ("/b", "environment HERSH_ENGINE".to_owned())
    );
    let place = format!("file {} line 5", file.path().display());
    assert_eq!(found("log.level"), ("warn", place));
    assert_eq!(found("log.format"), ("text", "default".to_owned()));
    assert!(effective.unknown_variables.is_empty());
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_a_suggestion() {
    for (text, line, meant) in [
        ("\nlistne = \"127.0.0.1:1\"", 2, "did you mean listen?"),
        ("[log]\nlevle = \"info\"", 2, "did you mean log.level?"),
        ("level = \"info\"", 1, "did you mean log.level?"),
        ("[logs]\nformat = \"json\"", 1, "did you mean log?"),
        ("\n\nzzz = 1", 3, "--defaults"),
        ("[listen]\nport = 1", 1, "can't be used"),
        ("[builds.concurrent_max]\nx = 1", 1, "can't be used"),
    ] {
        let message = SettingsFile::new(text).refused();
        assert!(
            message.contains(&format!("line {line}:")),
            "{text:?}: {message}"
        );
        assert!(message.contains(meant), "{text:?}: {message}");
    }
}

#[test]
fn a_value_that_cant_be_is_refused_where_it_was_written() {
    for (text, line, said) in [
        ("listen = \"here\"", 1, "127.0.0.1:7700"),
        ("\nengine = \"tcp://127.0.0.1:2375\"", 2, "unix:///"),
        ("insecure_runc = \"yes\"", 1, "true or false"),
        ("subnet_pool = \"8.8.0.0/16\"", 1, "private /16"),
        ("subnet_pool = \"10.214.1.0/16\"", 1, "private /16"),
        ("data_dir = \"\"", 1, "folder"),
        ("[log]\nformat = \"xml\"", 2, "text or json"),
        ("[log]\nlevel = \"loud\"", 2, "error, warn, info"),
        ("[otlp]\nendpoint = \"https://127.0.0.1\"", 2, "no https"),
        ("[otlp]\nendpoint = \"http://a:b@127.0.0.1\"", 2, "no user"),
        ("[builds]\nconcurrent_max = 0", 2, "from 1 on"),
        ("[builds]\nmemory = \"1MiB\"", 2, "write 64MiB to 1024GiB"),
        (
            "[builds]\nmemory = \"2000GiB\"",
            2,
            "write 64MiB to 1024GiB",
        ),
        ("[builds]\nconcurrent_max = 0x10", 2, "whole number"),
        ("[builds]\nconcurrent_max = [1]", 2, "whole number"),
        ("[disk]\nfree_min = 5", 2, "size"),
        ("listen = ", 1, "value"),
        ("listen = \"a\"\nlisten = \"b\"", 2, "duplicate"),
    ] {
        let message = SettingsFile::new(text).refused();
        assert!(
            message.contains(&format!("line {line}:")),
            "{text:?}: {message}"
        );
        assert!(message.contains(said), "{text:?}: {message}");
    }
    let file = SettingsFile::new("");
    let sources = file.with(&[("HERSH_LISTEN", "x")], &[]);
    let message = EffectiveSettings::gather(sources)
        .unwrap()
        .settings()
        .unwrap_err();
    let message = message.to_string();
    assert!(
        message.starts_with("environment HERSH_LISTEN: listen = \"x\""),
        "{message}"
    );
}

#[test]
fn a_settings_file_must_exist_and_be_protected() {
    let file = SettingsFile::new("");
    let missing = Sources {
        file: Some(file.0.path().join("missing.toml")),
        ..Sources::default()
    };
    let message = EffectiveSettings::gather(missing).unwrap_err().to_string();
    assert!(
        message.contains("missing.toml") && message.contains("--config"),
        "{message}"
    );

    std::fs::set_permissions(file.path(), PermissionsExt::from_mode(0o666)).unwrap();
    assert!(file.refused().contains("chmod o-w"));
    let huge = SettingsFile::new(&"#".repeat(65 * 1024));
    assert!(huge.refused().contains("larger than 65536 bytes"));
}

#[test]
fn variables_that_nobody_knows_are_told_without_their_values() {
    let file = SettingsFile::new("");
    let sources = file.with(
        &[
            ("HERSH_LISTNE", "canary"),
            ("HERSH_TOKEN", "canary"),
            ("HERSH_TEST_ENGINE", "/x"),
            ("HOME", "/"),
        ],
        &[],
    );
    let effective = EffectiveSettings::gather(sources).unwrap();
    assert_eq!(effective.unknown_variables, ["HERSH_LISTNE"]);
    assert!(!debug(&effective).contains("canary"));
}

#[test]
fn an_address_that_others_reach_needs_tls() {
    let listen = |listen: &str, behind| {
        checked(|settings| {
            settings.listen = listen.parse().unwrap();
            settings.behind_tls_proxy = behind;
        })
    };
    for loopback in [
        "127.0.0.1:7700",
        "127.9.9.9:7700",
        "[::1]:7700",
        "[::ffff:127.0.0.1]:1",
    ] {
        assert!(listen(loopback, false).is_ok(), "{loopback}");
    }
    for public in [
        "0.0.0.0:7700",
        "[::]:7700",
        "192.0.2.1:7700",
        "10.0.0.1:1",
        "[fe80::1]:1",
        "[::ffff:0.0.0.0]:1",
    ] {
        let error = listen(public, false).unwrap_err();
        assert!(error.to_string().contains("--behind-tls-proxy"), "{error}");
        assert!(listen(public, true).is_ok(), "{public}");
    }
}

#[test]
fn tls_makes_an_address_public_and_needs_both_files() {
    let with = |cert: Option<&str>, key: Option<&str>| {
        checked(|settings| {
            settings.listen = "0.0.0.0:7700".parse().unwrap();
            settings.tls_cert = cert.map(PathBuf::from);
            settings.tls_key = key.map(PathBuf::from);
        })
    };
    assert!(with(Some("/c"), Some("/k")).unwrap().tls.is_some());
    for (half, missing) in [
        (with(Some("/c"), None), "tls.key"),
        (with(None, Some("/k")), "tls.cert"),
    ] {
        let message = half.unwrap_err().to_string();
        assert!(message.contains(&format!("{missing} is not")), "{message}");
    }
}
