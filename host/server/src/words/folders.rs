//! Shows texts of an engine or a file system without the paths of this machine, which their readers need not
//! know.

/// The parts of a path that stand between the host's data folder and a program's own folder.
const WITHIN: [&str; 2] = ["/programs/", "/staging/"];

/// Returns the text with the way to the host's own folders left out: `/var/lib/hersh/programs/p/state`
/// becomes `programs/p/state`.
pub(crate) fn without_folders(text: &str) -> String {
    let mut shown = text.to_owned();
    for within in WITHIN {
        shown = shortened(&shown, within);
    }
    shown
}

fn shortened(text: &str, within: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(within) {
        let (before, from) = rest.split_at(at);
        let is_gap = |c: char| c.is_whitespace() || "\"'`=:,;()[]{}<>".contains(c);
        let begins = before.rfind(is_gap).map_or(0, |gap| gap + 1);
        let is_path = before.get(begins..).is_some_and(|it| it.starts_with('/'));
        // A text that begins with one of these is a route of the API and no folder.
        let (kept, from) = if is_path {
            (&before[..begins], &from[1..])
        } else {
            (before, from)
        };
        let within = &from[..from.len().min(within.len() - usize::from(is_path))];
        shown.push_str(kept);
        shown.push_str(within);
        rest = &from[within.len()..];
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_the_hosts_folders_is_left_out_and_nothing_else() {
        for (text, expected) in [
            ("", ""),
            ("no path", "no path"),
            ("ask /programs/p/logs", "ask /programs/p/logs"),
            (
                "can't open /state/programs.db",
                "can't open /state/programs.db",
            ),
            (
                "mount /var/lib/hersh/programs/p/state: denied",
                "mount programs/p/state: denied",
            ),
            (
                "\"/srv/a b/programs/p/src\" and '/d/staging/x', src=/d/programs/q",
                "\"/srv/a b/programs/p/src\" and 'staging/x', src=programs/q",
            ),
            ("é/d/programs/p", "é/d/programs/p"),
            (
                "(/d/programs/programs/programs/p)",
                "(programs/programs/programs/p)",
            ),
        ] {
            assert_eq!(without_folders(text), expected, "{text}");
        }
    }
}
