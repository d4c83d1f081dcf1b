//! What a benchmark says: one row a figure, beside its peer.

use serde::Serialize;

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    /// The suite it belongs to.
    pub(crate) suite: &'static str,
    /// What was measured.
    pub(crate) name: String,
    /// The median of the runs.
    pub(crate) value: f64,
    /// Of `value` and `peer_value`.
    pub(crate) unit: &'static str,
    /// What it is held against. "reference" in the name: a figure from another machine, and no goal.
    pub(crate) peer: &'static str,
    /// The peer's figure.
    pub(crate) peer_value: f64,
    /// `value / peer_value`.
    pub(crate) ratio: f64,
    /// What must be so, if anything must.
    pub(crate) goal: Option<String>,
    /// Whether it is so.
    pub(crate) holds: Option<bool>,
}

/// A bound on a figure or on its ratio.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// For comparison only.
    None,
    /// `value` is at most this.
    ValueAtMost(f64),
    /// `value` is at least this.
    ValueAtLeast(f64),
    /// `ratio` is at most this.
    RatioAtMost(f64),
    /// `ratio` is at least this.
    RatioAtLeast(f64),
}

impl Row {
    /// A row with ratio and verdict worked out.
    pub(crate) fn new(
        suite: &'static str,
        name: impl Into<String>,
        (value, unit): (f64, &'static str),
        (peer, peer_value): (&'static str, f64),
        goal: Goal,
    ) -> Self {
        let ratio = value / peer_value;
        let (goal, holds) = match goal {
            Goal::None => (None, None),
            Goal::ValueAtMost(bound) => (Some(format!("value <= {bound}")), Some(value <= bound)),
            Goal::ValueAtLeast(bound) => (Some(format!("value >= {bound}")), Some(value >= bound)),
            Goal::RatioAtMost(bound) => (Some(format!("ratio <= {bound}")), Some(ratio <= bound)),
            Goal::RatioAtLeast(bound) => (Some(format!("ratio >= {bound}")), Some(ratio >= bound)),
        };
        Self {
            suite,
            name: name.into(),
            value,
            unit,
            peer,
            peer_value,
            ratio,
            goal,
            holds,
        }
    }
}

/// Prints rows: one JSON object a line, or a table.
pub(crate) fn print(rows: &[Row], json: bool) -> serde_json::Result<()> {
    if json {
        for row in rows {
            println!("{}", serde_json::to_string(row)?);
        }
    } else {
        print!("{}", table(rows));
    }
    Ok(())
}

fn table(rows: &[Row]) -> String {
    let head = [
        "suite",
        "name",
        "value",
        "unit",
        "peer",
        "peer value",
        "ratio",
        "goal",
        "holds",
    ];
    let mut lines = vec![head.map(str::to_owned)];
    lines.extend(rows.iter().map(|row| {
        [
            row.suite.to_owned(),
            row.name.clone(),
            figure(row.value),
            row.unit.to_owned(),
            row.peer.to_owned(),
            figure(row.peer_value),
            format!("{:.3}", row.ratio),
            row.goal.clone().unwrap_or_else(|| "-".to_owned()),
            row.holds
                .map_or("-", |holds| if holds { "yes" } else { "NO" })
                .to_owned(),
        ]
    }));
    let width = |column: usize| {
        lines
            .iter()
            .map(|line| line[column].len())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut out = String::new();
    for line in &lines {
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, width))| match column {
                2 | 5 | 6 => format!("{cell:>width$}"),
                _ => format!("{cell:<width$}"),
            })
            .collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// Four significant digits, large numbers whole.
fn figure(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => format!("{value:.0}"),
        v if v >= 100.0 => format!("{value:.1}"),
        v if v >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_knows_whether_it_holds() {
        let row = |goal| Row::new("s", "n", (2.0, "ms"), ("p", 4.0), goal);
        assert_eq!(row(Goal::None).holds, None);
        assert_eq!(row(Goal::RatioAtMost(0.5)).holds, Some(true));
        assert_eq!(row(Goal::RatioAtLeast(0.6)).holds, Some(false));
        assert_eq!(
            row(Goal::ValueAtMost(2.0)).goal.as_deref(),
            Some("value <= 2")
        );
    }

    #[test]
    fn the_table_is_aligned() {
        let rows = [Row::new(
            "s",
            "long name",
            (1234.5, "ms"),
            ("p", 0.5),
            Goal::None,
        )];
        let text = table(&rows);
        let ends: Vec<usize> = text
            .lines()
            .filter_map(|line| line.find("  ms").or(line.find("  unit")))
            .collect();
        assert_eq!(text.lines().count(), 2);
        assert_eq!(ends[0], ends[1]);
    }
}
