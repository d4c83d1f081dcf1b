//! Bodies that are too large, and what their senders get to read.

use super::world::{World, decent};

/// Bytes of a request's body, unless a manifest says otherwise.
const BODY_BYTES_MAX: usize = 1 << 20;
const POST: &str = "POST /programs/p/watcher/x HTTP/1.1\r\nHost: h\r\nAUTH\r\n";

#[tokio::test]
async fn a_body_over_the_limit_is_refused_declared_or_not() {
    let world = World::in_one_runtime(decent).await;
    let over = BODY_BYTES_MAX + 1;
    let mut client = world.connect().await;
    client
        .send(&format!("{POST}Content-Length: {over}\r\n\r\n"))
        .await;
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (413, "too_large"));
    let mut client = world.connect().await;
    let chunk = format!("{:x}\r\n{}\r\n", over, "x".repeat(over));
    client
        .send(&format!(
            "{POST}Transfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n"
        ))
        .await;
    assert_eq!(client.answer().await.unwrap().status, 413);
    assert_eq!(world.seen.all(), [""; 0], "nothing came whole");
    let most = "x".repeat(BODY_BYTES_MAX);
    let mut client = world.connect().await;
    client
        .send(&format!(
            "{POST}Content-Length: {}\r\n\r\n{most}",
            most.len()
        ))
        .await;
    assert_eq!(client.answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_client_that_sends_all_first_reads_that_it_was_too_much() {
    let world = World::new(decent).await;
    let body = "x".repeat(16 << 20);
    let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let length = format!("Content-Length: {}\r\n\r\n{body}", body.len());
    let chunked = format!("Transfer-Encoding: chunked\r\n\r\n{chunk}");
    for framed in [length, chunked] {
        let mut client = world.connect().await;
        client.send_all(&format!("{POST}{framed}")).await;
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (413, "too_large"));
        assert!(answer.body.contains("[proxy]"), "{answer:?}");
        assert_eq!(client.answer().await, None, "the connection ends");
    }
    // Whoever asks first sends nothing.
    let mut client = world.connect().await;
    let asking = "Expect: 100-continue\r\nContent-Length: 5000000\r\n\r\n";
    client.send(&format!("{POST}{asking}")).await;
    assert_eq!(client.answer().await.unwrap().status, 413);
    assert_eq!(world.seen.all(), [""; 0]);
}
