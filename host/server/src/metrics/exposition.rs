//! A strict reader of Prometheus' text format, for tests.

use std::collections::{BTreeMap, BTreeSet};

/// A family of metrics.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) kind: String,
    /// The samples, by name and labels as they are written.
    pub(crate) samples: BTreeMap<String, f64>,
}

/// Reads an exposition, by the families' names. Panics at the first line that breaks the format.
pub(crate) fn read(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n'));
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect(line);
            assert!(is_name(name) && help.len() > 3, "{line}");
            let earlier = families.insert(name.to_owned(), Family::default());
            assert!(earlier.is_none(), "{name} comes twice");
            name.clone_into(&mut current);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect(line);
            assert_eq!(name, current, "{line}: after its help");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            let family = families.get_mut(name).unwrap();
            assert!(family.kind.is_empty(), "{line}: once");
            kind.clone_into(&mut family.kind);
        } else {
            let (series, value) = line.rsplit_once(' ').expect(line);
            let family = families.get_mut(&current).expect(line);
            let name = series.split('{').next().unwrap();
            assert!(
                belongs(name, &current, &family.kind),
                "{line}: in {current}"
            );
            labels(series);
            let value: f64 = value.parse().expect(line);
            assert!(value.is_finite() && value >= 0.0, "{line}");
            let earlier = family.samples.insert(series.to_owned(), value);
            assert!(earlier.is_none(), "{series} comes twice");
        }
    }
    for (name, family) in &families {
        assert!(!family.kind.is_empty(), "{name} has no type");
        assert_eq!(family.kind == "counter", name.ends_with("_total"), "{name}");
        if family.kind == "histogram" {
            check_histogram(name, family);
        }
    }
    families
}

fn belongs(name: &str, family: &str, kind: &str) -> bool {
    match name.strip_prefix(family) {
        Some("") => kind != "histogram",
        Some("_bucket" | "_sum" | "_count") => kind == "histogram",
        Some(_) | None => false,
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with("hersh_") && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

type Label<'a> = (&'a str, &'a str);

/// Returns the labels of a series. Their values hold no quote, backslash or line break, by choice.
fn labels(series: &str) -> Vec<Label<'_>> {
    let Some((_, rest)) = series.split_once('{') else {
        return Vec::new();
    };
    let inside = rest.strip_suffix("\"}").expect(series);
    let pairs: Vec<Label<'_>> = inside
        .split("\",")
        .map(|pair| pair.split_once("=\"").expect(series))
        .collect();
    let names: BTreeSet<&str> = pairs.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), pairs.len(), "{series}: each label once");
    for (name, value) in &pairs {
        assert!(name.chars().all(|c| c.is_ascii_lowercase()), "{series}");
        assert!(
            !value.is_empty() && !value.contains(['"', '\\', '\n']),
            "{series}"
        );
    }
    pairs
}

/// Checks that buckets grow, and that the last one is `+Inf` and holds as many as there are.
fn check_histogram(name: &str, family: &Family) {
    let mut histograms: BTreeMap<Vec<Label<'_>>, Vec<(f64, f64)>> = BTreeMap::new();
    for (series, count) in &family.samples {
        if series.starts_with(&format!("{name}_bucket")) {
            let (bounds, others): (Vec<_>, Vec<_>) = labels(series)
                .into_iter()
                .partition(|(label, _)| *label == "le");
            let bound = bounds[0].1.parse().expect(series);
            histograms.entry(others).or_default().push((bound, *count));
        }
    }
    let sum_of = |end: &str| -> f64 {
        let part = format!("{name}{end}");
        let samples = family.samples.iter();
        samples
            .filter(|(series, _)| series.starts_with(&part))
            .map(|(_, value)| value)
            .sum()
    };
    let mut all = 0.0;
    for (labels, mut buckets) in histograms {
        buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        assert!(
            buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1),
            "{name} {labels:?}"
        );
        let (last, count) = buckets.last().unwrap();
        assert!(last.is_infinite(), "{name} {labels:?}");
        all += count;
    }
    assert!(
        (all - sum_of("_count")).abs() < 0.5,
        "{name}: all are counted"
    );
}
