//! One pattern of a `.dockerignore`. Its length limits the time for a match, so that no pattern can stall the
//! host.

/// A pattern, as the states of an automaton that reads a path character by character.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Vec<State>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// This one character.
    One(char),
    /// Any character but `/`.
    Any,
    /// `*`: any number of characters but `/`.
    Name,
    /// `**` at the end, or in front of a plain text: any number of characters.
    Rest,
    /// `**/`: nothing, or any characters up to a `/`. The next state is always [`State::Within`].
    Folders,
    /// The position in the middle of the characters that `**/` takes.
    Within,
    /// One character of a set, `/` among them.
    Set {
        is_negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Pattern {
    /// Reads a pattern, which must be a clean path. Returns an error that says what is wrong with it.
    pub(super) fn read(text: &str) -> Result<Self, &'static str> {
        let mut states = Vec::new();
        let mut left = text.chars().peekable();
        while let Some(next) = left.next() {
            match next {
                '*' if left.peek() == Some(&'*') => {
                    left.next();
                    let has_slash = left.next_if_eq(&'/').is_some();
                    let rest: String = left.clone().collect();
                    let is_first = states.is_empty();
                    // Docker compares such a pattern with the end of the path.
                    let is_suffix =
                        is_first && !has_slash && !rest.contains(['*', '?', '[', ']', '\\']);
                    if rest.is_empty() || is_suffix {
                        states.push(State::Rest);
                    } else {
                        states.extend([State::Folders, State::Within]);
                    }
                }
                '*' => states.push(State::Name),
                '?' => states.push(State::Any),
                '[' => states.push(set(&mut left)?),
                '\\' => {
                    let escaped = left.next().ok_or("ends with the escape character '\\'")?;
                    states.push(State::One(escaped));
                }
                plain => states.push(State::One(plain)),
            }
        }
        Ok(Self(states))
    }

    pub(super) fn matches(&self, path: &str) -> bool {
        let mut automaton = Automaton::new(&self.0);
        path.chars().all(|next| automaton.take(next)) && automaton.is_done()
    }

    /// Returns whether a path that begins with `folder` and a `/` can match.
    pub(super) fn may_match_inside(&self, folder: &str) -> bool {
        let mut automaton = Automaton::new(&self.0);
        folder.chars().chain(['/']).all(|next| automaton.take(next)) && automaton.goes_on()
    }
}

/// Reads the content of a pair of brackets.
fn set(left: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<State, &'static str> {
    const OPEN: &str = "has a '[' without its ']'; write \\[ for the character itself";
    let is_negated = left.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    let character = |left: &mut std::iter::Peekable<std::str::Chars<'_>>| match left.next() {
        None | Some(']' | '-') => Err(OPEN),
        Some('\\') => left.next().ok_or(OPEN),
        Some(plain) => Ok(plain),
    };
    loop {
        if !ranges.is_empty() && left.next_if_eq(&']').is_some() {
            return Ok(State::Set { is_negated, ranges });
        }
        let from = character(left)?;
        let to = match left.next_if_eq(&'-') {
            Some(_) => character(left)?,
            None => from,
        };
        if from > to {
            return Err("has a range in brackets that ends before it begins");
        }
        ranges.push((from, to));
    }
}

/// All positions in a pattern that the part of the path read so far can lead to.
struct Automaton<'a> {
    states: &'a [State],
    at: Vec<bool>,
    next: Vec<bool>,
}

impl<'a> Automaton<'a> {
    fn new(states: &'a [State]) -> Self {
        let mut new = Self {
            states,
            at: vec![false; states.len() + 1],
            next: vec![false; states.len() + 1],
        };
        new.reach(0);
        std::mem::swap(&mut new.at, &mut new.next);
        new
    }

    /// Marks a position, and the positions after it that need no character.
    fn reach(&mut self, mut place: usize) {
        loop {
            self.next[place] = true;
            place += match self.states.get(place) {
                Some(State::Name | State::Rest) => 1,
                Some(State::Folders) => 2,
                Some(State::One(_) | State::Any | State::Within | State::Set { .. }) | None => {
                    return;
                }
            };
        }
    }

    /// Reads one character. Returns false when no match is possible any more.
    fn take(&mut self, next: char) -> bool {
        self.next.fill(false);
        for place in 0..self.states.len() {
            if !self.at[place] {
                continue;
            }
            match &self.states[place] {
                State::One(one) if *one == next => self.reach(place + 1),
                State::Any if next != '/' => self.reach(place + 1),
                State::Name if next != '/' => self.reach(place),
                State::Rest => self.reach(place),
                State::Folders => {
                    self.reach(place + 1);
                    if next == '/' {
                        self.reach(place + 2);
                    }
                }
                State::Within => {
                    self.reach(place);
                    if next == '/' {
                        self.reach(place + 1);
                    }
                }
                State::Set { is_negated, ranges } => {
                    let is_in = ranges
                        .iter()
                        .any(|(from, to)| (*from..=*to).contains(&next));
                    if is_in != *is_negated {
                        self.reach(place + 1);
                    }
                }
                State::One(_) | State::Any | State::Name => {}
            }
        }
        std::mem::swap(&mut self.at, &mut self.next);
        self.at.contains(&true)
    }

    fn is_done(&self) -> bool {
        self.at.last().copied().unwrap_or(false)
    }

    fn goes_on(&self) -> bool {
        self.at[..self.states.len()].contains(&true)
    }
}
