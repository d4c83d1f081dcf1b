//! Checks that the metrics that `deploy/` asks for exist, and that the metrics that exist are shown there.

use std::collections::BTreeSet;

use super::tests::everything;

const DASHBOARD: &str = include_str!("../../../../deploy/grafana-dashboard.json");
const ALERTS: &str = include_str!("../../../../deploy/prometheus-alerts.yaml");

/// Returns the metrics that a query names.
fn named(query: &str) -> BTreeSet<String> {
    query
        .split(|c: char| !(c.is_ascii_lowercase() || c == '_'))
        .filter(|word| word.starts_with("hersh_"))
        .map(str::to_owned)
        .collect()
}

/// Collects every query of the dashboard, including those of its variables.
fn queries(value: &serde_json::Value, found: &mut Vec<String>) {
    if let Some(fields) = value.as_object() {
        let is_query = |name: &str| ["expr", "query"].contains(&name);
        let texts = fields.iter().filter(|(name, _)| is_query(name));
        found.extend(texts.filter_map(|(_, text)| text.as_str().map(str::to_owned)));
    }
    let inner = value
        .as_object()
        .into_iter()
        .flat_map(|fields| fields.values());
    for value in inner.chain(value.as_array().into_iter().flatten()) {
        queries(value, found);
    }
}

/// Returns the series that can be asked for, and the family of each.
fn series() -> Vec<(String, String)> {
    let mut series = Vec::new();
    for (name, family) in everything() {
        if family.kind == "histogram" {
            for end in ["_bucket", "_sum", "_count"] {
                series.push((format!("{name}{end}"), name.clone()));
            }
        } else {
            series.push((name.clone(), name));
        }
    }
    series
}

#[test]
fn dashboard_and_alerts_use_every_metric_that_there_is() {
    let mut asked = Vec::new();
    queries(&serde_json::from_str(DASHBOARD).unwrap(), &mut asked);
    assert!(asked.len() > 20, "{asked:?}");
    let alerts = ALERTS.lines().filter(|line| line.contains("hersh_"));
    asked.extend(alerts.map(str::to_owned));
    let series = series();
    let mut shown = BTreeSet::new();
    for query in &asked {
        for name in named(query) {
            let family = series.iter().find(|(series, _)| *series == name);
            let (_, family) = family.unwrap_or_else(|| panic!("no {name}, asked for by {query}"));
            shown.insert(family.clone());
        }
        for (open, close) in [('(', ')'), ('{', '}'), ('[', ']')] {
            let count = |c| query.matches(c).count();
            assert_eq!(count(open), count(close), "{query}");
        }
    }
    let all: BTreeSet<String> = series.into_iter().map(|(_, family)| family).collect();
    assert_eq!(all, shown, "the dashboard shows everything");
}

#[test]
fn every_alert_says_what_to_do() {
    let count = |text: &str| ALERTS.matches(text).count();
    let alerts = count("- alert: ");
    assert!(alerts >= 6);
    for part in ["expr: ", "severity: ", "summary: ", "action: "] {
        assert_eq!(count(part), alerts, "{part}");
    }
}
