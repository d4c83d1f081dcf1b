//! Notes on `HEALTHCHECK`: nothing inside a sandbox runs it. The host itself looks whether a program still
//! works, as `[liveness]` in `hersh.toml` says.

use super::{lines::Line, report::Report};

/// The longest path that a manifest takes, bytes.
const PATH_BYTES_MAX: usize = 1_024;

/// Notes what to write instead of a check; nothing for `HEALTHCHECK NONE`, which asks for none.
pub(super) fn note(line: &Line, report: &mut Report) {
    let arguments = line.arguments.trim();
    if arguments.eq_ignore_ascii_case("none") {
        return;
    }
    let text = match path(arguments) {
        Some(path) => format!(
            "HEALTHCHECK is not carried out; write [liveness] kind = \"http\", path = \"{path}\" in hersh.toml"
        ),
        None => "HEALTHCHECK is not carried out; [liveness] in hersh.toml says how the host finds out whether \
                 the program still works"
            .to_owned(),
    };
    report.note(line.number, text);
}

/// Returns the path of the first plain URL in a check's command, if a manifest takes it.
fn path(command: &str) -> Option<&str> {
    let (_, rest) = command.split_once("http://")?;
    let is_end = |c: char| c.is_whitespace() || "\"'`|;<>()#\\".contains(c);
    let url = rest.split(is_end).next().unwrap_or_default();
    let url = url.split("&&").next().unwrap_or_default();
    let path = match url.find('/') {
        Some(at) => &url[at..],
        None => "/",
    };
    let is_plain = path.bytes().all(|b| b.is_ascii_graphic() && b != b'$');
    (is_plain && path.len() <= PATH_BYTES_MAX).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_check_is_found_in_its_command() {
        for (command, expected) in [
            (
                "CMD curl -f http://localhost/healthz || exit 1",
                Some("/healthz"),
            ),
            (
                "--interval=5m CMD wget -qO- http://127.0.0.1:8080/up?full=1&&true",
                Some("/up?full=1"),
            ),
            (
                r#"CMD ["curl", "-f", "http://localhost:3000/api/health"]"#,
                Some("/api/health"),
            ),
            (
                r#"CMD ["CMD-SHELL", "curl http://localhost:${PORT:-80}/ok; exit"]"#,
                Some("/ok"),
            ),
            ("CMD curl http://localhost", Some("/")),
            ("CMD curl 'http://localhost:8080'", Some("/")),
            ("CMD curl http://localhost/$WHERE", None),
            ("CMD curl https://localhost/healthz", None),
            ("CMD pg_isready", None),
        ] {
            assert_eq!(path(command), expected, "{command}");
        }
    }
}
