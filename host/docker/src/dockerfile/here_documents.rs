//! Here-documents: some engines read what follows as a file, others as instructions.
//!
//! A word that begins with `<<` and goes on is one, as engines that know them see it; quotes and
//! brackets around it make no difference to them. `1 << 20` is none.

/// The instructions in which engines look for them.
const TAKEN_IN: [&str; 3] = ["ADD", "COPY", "RUN"];

/// A here-document that a line begins.
pub(super) struct HereDocument {
    word: String,
}

/// Those that an instruction begins. At least all that any engine sees.
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
    /// Why it is refused.
    pub(super) fn reason(&self) -> String {
        let word = &self.word;
        format!(
            "the here-document <<{word} needs a builder that is not used here; put its text into a \
             file of the folder and COPY it, or write RUN a && \\ and so on; if it is a shift, \
             put blanks around <<"
        )
    }

    /// Whether it ends with this line.
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
