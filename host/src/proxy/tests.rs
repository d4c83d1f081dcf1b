use axum::{Router, body::to_bytes, http::StatusCode, routing::any};
use tokio::net::TcpListener;

use super::*;

async fn program(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

async fn forward(request: Request, address: SocketAddr) -> Result<Response, ForwardError> {
    let peer = Some("192.0.2.7:1000".parse().unwrap());
    Proxy::default()
        .forward(request, "/watcher/x", address, peer, &InFlight::default())
        .await
}

#[tokio::test]
async fn credentials_stay_here_and_the_program_learns_who_asked() {
    let echo = any(|request: Request| async move {
        let headers: Vec<String> = request
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        format!(
            "{} {}\n{}",
            request.method(),
            request.uri(),
            headers.join("\n")
        )
    });
    let address = program(Router::new().route("/watcher/x", echo)).await;
    let request = Request::post("http://host/programs/p/watcher/x?a=1")
        .header("authorization", "Bearer hersh_canary")
        .header("cookie", "session=canary")
        .header("proxy-authorization", "canary")
        .header("x-forwarded-for", "10.9.9.9")
        .header("x-anything", "canary")
        .header("host", "host.example")
        .header("accept", "text/plain")
        .body(Body::from("hello"))
        .unwrap();
    let answer = forward(request, address).await.unwrap();
    let text = to_bytes(answer.into_body(), 10_000).await.unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert!(text.starts_with("POST /watcher/x?a=1"), "{text}");
    assert!(
        !text.contains("canary") && !text.contains("10.9.9.9"),
        "{text}"
    );
    for expected in [
        "x-forwarded-for: 192.0.2.7",
        "x-forwarded-host: host.example",
        "accept: text/plain",
    ] {
        assert!(text.contains(expected), "{text}");
    }
}

#[tokio::test]
async fn a_program_can_not_speak_for_the_hosts_origin() {
    let hostile = any(|| async {
        Response::builder()
            .status(StatusCode::FOUND)
            .header("location", "http://elsewhere/")
            .header("set-cookie", "session=stolen")
            .header("clear-site-data", "\"*\"")
            .header("content-type", "text/html")
            .body(Body::empty())
            .unwrap()
    });
    let address = program(Router::new().route("/watcher/x", hostile)).await;
    let answer = forward(Request::new(Body::empty()), address).await.unwrap();
    assert_eq!(
        answer.status(),
        StatusCode::FOUND,
        "redirects are passed on, never followed"
    );
    let names: Vec<&str> = answer.headers().keys().map(|name| name.as_str()).collect();
    for dropped in ["location", "set-cookie", "clear-site-data"] {
        assert!(!names.contains(&dropped), "{names:?}");
    }
    assert_eq!(answer.headers()["content-security-policy"], "sandbox");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_declared_or_not() {
    let address =
        program(Router::new().route("/watcher/x", any(|body: String| async move { body }))).await;
    let declared = Request::post("/x")
        .header("content-length", REQUEST_BODY_BYTES_MAX + 1)
        .body(Body::empty())
        .unwrap();
    assert!(matches!(
        forward(declared, address).await,
        Err(ForwardError::BodyTooLarge)
    ));
    let chunk = bytes::Bytes::from(vec![b'x'; REQUEST_BODY_BYTES_MAX]);
    let chunks = futures_util::stream::iter([Ok::<_, std::io::Error>(chunk.clone()), Ok(chunk)]);
    let streamed = Request::post("/x").body(Body::from_stream(chunks)).unwrap();
    assert!(matches!(
        forward(streamed, address).await,
        Err(ForwardError::BodyTooLarge)
    ));
}

#[tokio::test]
async fn nobody_there_is_a_broken_gateway_and_a_tunnel_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let answer = forward(Request::new(Body::empty()), address).await;
    assert!(matches!(answer, Err(ForwardError::Broken(_))), "{answer:?}");
    let upgrade = Request::get("/x")
        .header("upgrade", "websocket")
        .body(Body::empty())
        .unwrap();
    assert!(matches!(
        forward(upgrade, address).await,
        Err(ForwardError::Upgrade)
    ));
}

#[tokio::test]
async fn a_program_that_hangs_is_answered_for_in_time() {
    let address = program(Router::new().route("/watcher/x", any(std::future::pending::<()>))).await;
    let proxy = Proxy {
        answer_timeout: Duration::from_millis(50),
        ..Proxy::default()
    };
    let request = Request::new(Body::empty());
    let answer = proxy
        .forward(request, "/watcher/x", address, None, &InFlight::default())
        .await;
    assert!(matches!(answer, Err(ForwardError::Late)), "{answer:?}");
}

#[tokio::test]
async fn streams_hold_their_place_until_they_end() {
    let endless = any(|| async {
        Body::from_stream(futures_util::stream::pending::<
            Result<bytes::Bytes, std::io::Error>,
        >())
    });
    let address = program(Router::new().route("/watcher/x", endless)).await;
    let (proxy, in_flight) = (Proxy::default(), InFlight::default());
    let mut open = Vec::new();
    for _ in 0..IN_FLIGHT_MAX {
        let request = Request::new(Body::empty());
        open.push(
            proxy
                .forward(request, "/watcher/x", address, None, &in_flight)
                .await
                .unwrap(),
        );
    }
    let request = Request::new(Body::empty());
    let refused = proxy
        .forward(request, "/watcher/x", address, None, &in_flight)
        .await;
    assert!(matches!(refused, Err(ForwardError::Busy)));
    drop(open.pop());
    let request = Request::new(Body::empty());
    assert!(
        proxy
            .forward(request, "/watcher/x", address, None, &in_flight)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_is_broken() {
    let switch = any(|| async { StatusCode::SWITCHING_PROTOCOLS });
    let address = program(Router::new().route("/watcher/x", switch)).await;
    let answer = forward(Request::new(Body::empty()), address).await;
    assert!(matches!(answer, Err(ForwardError::Broken(_))), "{answer:?}");
}

#[tokio::test]
async fn a_request_without_a_body_is_sent_without_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n") {
            tokio::io::AsyncReadExt::read_buf(&mut stream, &mut seen)
                .await
                .unwrap();
        }
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, answer)
            .await
            .unwrap();
        tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut seen)
            .await
            .unwrap();
        String::from_utf8(seen).unwrap()
    });
    let answer = forward(Request::get("/x").body(Body::empty()).unwrap(), address)
        .await
        .unwrap();
    drop(answer);
    let seen = seen.await.unwrap();
    assert!(
        seen.ends_with("\r\n\r\n") && !seen.contains("chunked"),
        "{seen}"
    );
}
