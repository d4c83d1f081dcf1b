//! Traces against a collector in this process, which decodes what arrives.

use std::time::{Duration, Instant};

use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value, trace::v1::Span,
};
use prost::Message;
use tokio::{net::TcpListener, sync::mpsc};

use super::*;

type CollectedImages = mpsc::Sender<(Option<String>, ExportTraceServiceRequest)>;

async fn collect(State(collected): State<CollectedImages>, headers: HeaderMap, body: Bytes) {
    let kind = headers["content-type"].to_str().ok().map(str::to_owned);
    let message = ExportTraceServiceRequest::decode(body).unwrap();
    collected.send((kind, message)).await.unwrap();
}

/// A subscriber whose traces go to `endpoint`.
fn exporting(endpoint: &str) -> (impl Subscriber + Send + Sync, Telemetry) {
    let mut settings = Settings::defaults().unwrap();
    settings.otlp_endpoint = Some(endpoint.parse().unwrap());
    build(&settings, false, std::io::sink).unwrap()
}

fn attribute(span: &Span, key: &str) -> Option<Value> {
    let found = span.attributes.iter().find(|pair| pair.key == key)?;
    found.value.clone()?.value
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_reach_the_collector_with_their_fields() {
    let (collected, mut arrived) = mpsc::channel(8);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/", listener.local_addr().unwrap());
    let collector = Router::new()
        .route("/v1/traces", post(collect))
        .with_state(collected);
    tokio::spawn(async move { axum::serve(listener, collector).await.unwrap() });

    let (subscriber, telemetry) = exporting(&endpoint);
    tracing::subscriber::with_default(subscriber, || {
        let request = tracing::info_span!("request", request_id = "r-1", "otel.kind" = "server");
        request.in_scope(|| {
            tracing::info_span!("inner").in_scope(|| tracing::info!("something happened"));
        });
        tracing::debug_span!("below the level").in_scope(|| ());
    });
    telemetry.finish().await;

    let arrived = tokio::time::timeout(Duration::from_secs(30), arrived.recv());
    let (kind, message) = arrived.await.unwrap().unwrap();
    assert_eq!(kind.as_deref(), Some("application/x-protobuf"));
    let [resource] = message.resource_spans.as_slice() else {
        panic!("{message:?}");
    };
    let service = &resource.resource.as_ref().unwrap().attributes;
    let service = service
        .iter()
        .find(|pair| pair.key == "service.name")
        .unwrap();
    assert_eq!(
        service.value.as_ref().unwrap().value,
        Some(Value::StringValue("hersh-host".to_owned()))
    );
    let spans: Vec<&Span> = resource
        .scope_spans
        .iter()
        .flat_map(|scope| &scope.spans)
        .collect();
    let named = |name: &str| *spans.iter().find(|span| span.name == name).expect(name);
    let (request, inner) = (named("request"), named("inner"));
    assert_eq!(spans.len(), 2, "{spans:?}");
    assert_eq!(
        attribute(request, "request_id"),
        Some(Value::StringValue("r-1".to_owned()))
    );
    assert_eq!(request.kind, 2, "a server's");
    assert_eq!(inner.parent_span_id, request.span_id);
    assert_eq!(inner.trace_id, request.trace_id);
    assert_eq!(inner.events[0].name, "something happened");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_down_or_silent_holds_nobody_up() {
    // Accepts, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
    let (silent_address, gone_address) = (address(&silent), address(&gone));
    drop(gone);
    for endpoint in [gone_address, silent_address] {
        let (subscriber, telemetry) = exporting(&endpoint);
        let began = Instant::now();
        tracing::subscriber::with_default(subscriber, || {
            // More than the queue holds: the rest is dropped, nobody waits.
            for number in 0..10_000 {
                tracing::info_span!("request", number).in_scope(|| ());
            }
        });
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
        telemetry.finish().await;
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{:?}",
            began.elapsed()
        );
    }
}
