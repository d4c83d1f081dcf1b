//! The lines that differ between two texts.

use std::time::Duration;

use similar::TextDiff;

/// The lines around a change that are shown with it.
const AROUND: usize = 3;
/// The longest time for one pair of texts. After it, what is left is shown as replaced.
const PATIENCE: Duration = Duration::from_secs(2);

/// Returns the lines that differ, in the unified form, under the names of both texts; `None` if the texts are
/// the same.
pub(super) fn between(older: &str, newer: &str, names: &[String; 2]) -> Option<String> {
    if older == newer {
        return None;
    }
    let diff = TextDiff::configure()
        .timeout(PATIENCE)
        .diff_lines(older, newer);
    let [older, newer] = names;
    let mut unified = diff.unified_diff();
    let text = unified.context_radius(AROUND).header(older, newer);
    Some(text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_lines_are_shown_with_their_neighbours() {
        let names = ["a".to_owned(), "b".to_owned()];
        assert_eq!(between("x\n", "x\n", &names), None);
        let older = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let newer = older.replace("5\n", "five\n");
        let found = between(older, &newer, &names).unwrap();
        let expected = "--- a\n+++ b\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n";
        assert_eq!(found, expected);
    }
}
