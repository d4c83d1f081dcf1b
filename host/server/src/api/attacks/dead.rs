//! A container that died while its program's state still names it: whoever has its address by then is
//! a stranger.

use super::speech::{Conversation, closed, request};
use super::world::{Running, Seen, World};

const GET: &str = "GET /programs/p/watcher/x HTTP/1.1\r\nHost: h\r\nAUTH\r\n\r\n";

/// Takes a request and says nothing to it.
fn silent(mut stream: Conversation, seen: Seen) -> Running {
    Box::pin(async move {
        if let Some(request) = request(&mut stream).await {
            seen.note(request);
            closed(&mut stream).await;
            seen.note("closed");
        }
    })
}

#[tokio::test]
async fn a_dead_container_is_asked_nothing_before_its_end_is_told() {
    let world = World::new(silent).await;
    let mut client = world.connect().await;
    client.send(GET).await;
    world.seen.until(1).await;
    // The program's state names the container still.
    world.died();
    let answer = client.answer().await.unwrap();
    assert_eq!((answer.status, answer.code().as_str()), (503, "not_ready"));
    assert_eq!(world.seen.until(2).await[1], "closed");
    for request in [GET, &GET.replacen("GET", "POST", 1)] {
        client.send(request).await;
        let answer = client.answer().await.unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (503, "not_ready"));
    }
    assert_eq!(
        world.seen.all().len(),
        2,
        "whoever has its address sees nothing"
    );
    world.stop().await;
    world.start_again().await;
    client.send(GET).await;
    world.seen.until(3).await;
}
