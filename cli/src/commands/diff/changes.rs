//! The files that differ between two trees.

use serde::Serialize;

use super::{
    lines,
    tree::{Content, Node, Tree},
};

/// A file or link that one of two trees has, or both have in other forms.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct FileChange {
    path: String,
    change: Change,
    /// Whether the content is another one, and not only the permissions.
    #[serde(skip)]
    is_other_content: bool,
    /// The changed lines, if both are texts of a size that is compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    lines: Option<String>,
    /// The permissions before and after, if they changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    modes: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    Added,
    Removed,
    Changed,
}

/// Returns the changes from one tree to the other, by path.
pub(super) fn between(older: &Tree, newer: &Tree, revisions: &[u64; 2]) -> Vec<FileChange> {
    let added = newer.keys().filter(|path| !older.contains_key(*path));
    let mut paths: Vec<&String> = older.keys().chain(added).collect();
    paths.sort();
    let changes = paths.into_iter().filter_map(|path| {
        let (older, newer) = (older.get(path), newer.get(path));
        (older != newer).then(|| change(path, older, newer, revisions))
    });
    changes.collect()
}

fn change(
    path: &str,
    older: Option<&Node>,
    newer: Option<&Node>,
    revisions: &[u64; 2],
) -> FileChange {
    let change = match (older, newer) {
        (None, _) => Change::Added,
        (Some(_), None) => Change::Removed,
        (Some(_), Some(_)) => Change::Changed,
    };
    let text = |node: Option<&Node>| match node {
        Some(node) => text_of(node),
        None => Some(String::new()),
    };
    let names = revisions.map(|number| format!("revision {number}: {path}"));
    let both = text(older).zip(text(newer));
    let modes = older
        .zip(newer)
        .filter(|(older, newer)| older.mode != newer.mode);
    FileChange {
        path: path.to_owned(),
        change,
        is_other_content: older.map(|it| &it.content) != newer.map(|it| &it.content),
        lines: both.and_then(|(older, newer)| lines::between(&older, &newer, &names)),
        modes: modes.map(|(older, newer)| format!("{:o} → {:o}", older.mode, newer.mode)),
    }
}

/// Returns what is compared by lines. The target of a link is such a text too.
fn text_of(node: &Node) -> Option<String> {
    match &node.content {
        Content::File(_) => node.text.clone(),
        Content::Link(target) => Some(format!("-> {target}\n")),
    }
}

impl FileChange {
    /// Returns the change for people: its lines, or a line that names it.
    pub(super) fn text(&self) -> String {
        let path = &self.path;
        let modes = self.modes.as_ref();
        let modes = modes.map(|modes| format!("{path}: permissions {modes}"));
        let what = match (self.change, self.lines.clone()) {
            (_any, Some(lines)) => Some(lines),
            (Change::Added, None) => Some(format!("{path}: added")),
            (Change::Removed, None) => Some(format!("{path}: removed")),
            (Change::Changed, None) if self.is_other_content => Some(format!("{path}: differs")),
            (Change::Changed, None) => None,
        };
        let parts: Vec<String> = modes.into_iter().chain(what).collect();
        parts.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Node {
        Node {
            content: Content::File([u8::try_from(text.len()).unwrap(); 32]),
            mode: 0o644,
            text: Some(text.to_owned()),
        }
    }

    fn binary(digest: u8) -> Node {
        Node {
            content: Content::File([digest; 32]),
            mode: 0o755,
            text: None,
        }
    }

    fn link(target: &str) -> Node {
        Node {
            content: Content::Link(target.to_owned()),
            mode: 0o777,
            text: None,
        }
    }

    fn tree(nodes: Vec<(&str, Node)>) -> Tree {
        let nodes = nodes.into_iter();
        nodes.map(|(path, node)| (path.to_owned(), node)).collect()
    }

    fn texts(older: Vec<(&str, Node)>, newer: Vec<(&str, Node)>) -> Vec<String> {
        let changes = between(&tree(older), &tree(newer), &[6, 7]);
        changes.iter().map(FileChange::text).collect()
    }

    #[test]
    fn what_differs_is_told_by_lines_or_by_name() {
        let runs = |node: Node| Node {
            mode: 0o755,
            ..node
        };
        let found = texts(
            vec![
                ("Dockerfile", file("FROM a\n")),
                ("app", binary(1)),
                ("empty", file("")),
                ("gone", file("x\n")),
                ("gone.bin", binary(1)),
                ("link", link("one")),
                ("run.sh", file("ls\n")),
                ("same", file("same\n")),
            ],
            vec![
                ("Dockerfile", file("FROM a\nRUN b\n")),
                ("app", binary(2)),
                ("link", link("two")),
                ("new.bin", binary(1)),
                ("run.sh", runs(file("ls\n"))),
                ("same", file("same\n")),
            ],
        );
        let of = |path: &str| format!("--- revision 6: {path}\n+++ revision 7: {path}\n");
        let expected = [
            of("Dockerfile") + "@@ -1 +1,2 @@\n FROM a\n+RUN b\n",
            "app: differs".to_owned(),
            "empty: removed".to_owned(),
            of("gone") + "@@ -1 +0,0 @@\n-x\n",
            "gone.bin: removed".to_owned(),
            of("link") + "@@ -1 +1 @@\n--> one\n+-> two\n",
            "new.bin: added".to_owned(),
            "run.sh: permissions 644 → 755".to_owned(),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_change_is_an_object_for_programs() {
        let older = tree(vec![("app", binary(1))]);
        let newer = tree(vec![("app", binary(2))]);
        let changes = serde_json::to_value(between(&older, &newer, &[6, 7])).unwrap();
        let expected = serde_json::json!([{ "path": "app", "change": "changed" }]);
        assert_eq!(changes, expected);
    }
}
