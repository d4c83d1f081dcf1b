//! Finds here-documents, which are refused: some engines read the lines that follow as a file, others as
//! instructions.
//!
//! A word that begins with `<<` and has more characters is a here-document for engines that know them.
//! Quotes and brackets around the word make no difference to these engines. `1 << 20` is no here-document.

/// The instructions in which engines look for here-documents.
const TAKEN_IN: [&str; 3] = ["ADD", "COPY", "RUN"];

/// A here-document that a line begins.
pub(super) struct HereDocument {
    word: String,
}

/// Returns the here-documents that an instruction begins: at least all that any engine sees.
pub(super) fn begun(keyword: &str, arguments: &str) -> Vec<HereDocument> {
    if !TAKEN_IN.contains(&keyword) {
        return Vec::new();
    }
    let words = arguments.split_whitespace();
    let word = |word: &str| {
        let digits = word.trim_start_matches(|it: char| it.is_ascii_digit());
        let name = digits.strip_prefix("<<")?;
        let begins = !name.is_empty() && !name.starts_with('<');
        begins.then(|| name.to_owned())
    };
    words
        .filter_map(word)
        .map(|word| HereDocument { word })
        .collect()
}

impl HereDocument {
    /// Returns why the here-document is refused.
    pub(super) fn reason(&self) -> String {
        let word = &self.word;
        format!(
            "the here-document <<{word} needs a builder that is not used here; put its text into a \
             file of the folder and COPY it, or write RUN a && \\ and so on; if it is a shift, \
             put blanks around <<"
        )
    }

    /// Returns whether the here-document ends with this line.
    pub(super) fn ends_at(&self, line: &str) -> bool {
        let (is_indented, name) = match self.word.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, self.word.as_str()),
        };
        let name = name.trim_matches(['"', '\'']);
        let line = if is_indented {
            line.trim_start_matches('\t')
        } else {
            line
        };
        line.trim_end_matches('\r') == name
    }
}
