use serde_json::Value;

use super::{capture::Capture, *};

#[test]
fn json_lines_hold_fields_and_the_span_that_they_stand_in() {
    let (capture, guard) = Capture::start("info", LogFormat::Json);
    let span = tracing::info_span!("request", request_id = "r-1", user = tracing::field::Empty);
    span.record("user", "ann");
    span.in_scope(|| tracing::info!(program = "counter", "line one\nline \"two\""));
    tracing::debug!("below the level");
    drop(guard);
    let text = capture.text();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 1, "{text}");
    let line = &lines[0];
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["message"], "line one\nline \"two\"");
    assert_eq!(line["program"], "counter");
    assert_eq!(line["span"]["request_id"], "r-1");
    assert_eq!(line["span"]["user"], "ann");
    assert!(line["timestamp"].is_string() && line["target"].is_string());
}

#[test]
fn text_lines_have_no_colours_where_nobody_sees_them() {
    let (capture, guard) = Capture::start("hersh_host=debug", LogFormat::Text);
    tracing::debug!(path = "/x", "plain");
    tracing::info!(target: "other", "not asked for");
    drop(guard);
    let text = capture.text();
    assert!(
        text.contains("DEBUG") && text.contains("plain path=\"/x\""),
        "{text}"
    );
    assert!(
        !text.contains('\u{1b}') && !text.contains("not asked for"),
        "{text}"
    );
}

#[cfg(not(feature = "otlp"))]
#[test]
fn an_endpoint_without_the_feature_is_refused_with_what_to_do() {
    let mut settings = Settings::defaults().unwrap();
    settings.otlp_endpoint = Some("http://127.0.0.1:4318".parse().unwrap());
    let error = build(&settings, false, std::io::sink).err().unwrap();
    assert!(error.to_string().contains("--features otlp"), "{error}");
}
