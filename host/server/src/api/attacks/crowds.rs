//! Connections by the thousand: one member has a part of them, and admins are always let in.

use hersh_base::permits::Share;

use super::world::{World, decent};
use crate::{auth::Role, limits::MEMBER_CONNECTIONS_MAX};

const GETS: [&str; 2] = [
    "GET /programs HTTP/1.1\r\nHost: h\r\nAUTH\r\n\r\n",
    "GET /programs/p/watcher/x HTTP/1.1\r\nHost: h\r\nAUTH\r\n\r\n",
];

#[tokio::test]
async fn one_member_leaves_connections_for_others() {
    let world = World::new(decent).await;
    let ann = world.add_user("ann", Role::Member).await;
    let bob = world.add_user("bob", Role::Member).await;
    let (_, of_ann) = world.add_token(&ann).await;
    let (_, of_bob) = world.add_token(&bob).await;
    let permits = &world.host.permits().connections;
    let mut held: Vec<_> = std::iter::from_fn(|| permits.take(&ann, Share::Fair)).collect();
    assert_eq!(held.len(), MEMBER_CONNECTIONS_MAX.one_user);
    for get in GETS {
        let mut client = world.connect_as(&of_ann).await;
        client.send(get).await;
        let refused = client.answer().await.unwrap();
        let got = (refused.status, refused.code());
        assert_eq!(got, (503, "queue_full".to_owned()), "{get}");
        // It would be refused again and again, and stay open.
        assert_eq!(client.rest().await, [], "{get}");
        for others in [&of_bob, &world.token] {
            let mut client = world.connect_as(others).await;
            client.send(get).await;
            let answer = client.answer().await.unwrap();
            assert_ne!(answer.status, 503, "{get}");
        }
    }
    held.pop();
    let mut client = world.connect_as(&of_ann).await;
    for get in GETS {
        // One connection is one place, however often it is used.
        client.send(get).await;
        assert_ne!(client.answer().await.unwrap().status, 503, "{get}");
    }
    assert!(permits.take(&ann, Share::Fair).is_none());
}

#[tokio::test]
async fn admins_are_let_in_when_members_have_all_they_may() {
    let world = World::new(decent).await;
    let permits = &world.host.permits().connections;
    let mut held = Vec::new();
    for n in 0.. {
        let user = world.add_user(&format!("u{n}"), Role::Member).await;
        let before = held.len();
        held.extend(std::iter::from_fn(|| permits.take(&user, Share::Fair)));
        if held.len() == before {
            break;
        }
    }
    assert_eq!(
        held.len(),
        MEMBER_CONNECTIONS_MAX.all - MEMBER_CONNECTIONS_MAX.for_admins
    );
    let ann = world.add_user("ann", Role::Member).await;
    let (_, of_ann) = world.add_token(&ann).await;
    for (token, status) in [(&of_ann, 503), (&world.token, 200)] {
        let mut client = world.connect_as(token).await;
        client.send(GETS[0]).await;
        assert_eq!(client.answer().await.unwrap().status, status);
    }
}
