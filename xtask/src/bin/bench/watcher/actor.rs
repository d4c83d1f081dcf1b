//! The peer: an actor of the library kameo, with a bounded mailbox.

use std::{
    convert::Infallible,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};
use hersh::MESSAGE_CAPACITY;
use kameo::{
    Actor,
    actor::{ActorRef, Spawn},
    error::SendError,
    mailbox,
    message::{Context, Message},
};

use super::{
    flood::{self, join},
    runtime,
};

/// Does nothing, this often.
struct Counter {
    left: u64,
}

impl Actor for Counter {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(counter: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(counter)
    }
}

impl Message<Arc<str>> for Counter {
    type Reply = ();

    async fn handle(&mut self, _: Arc<str>, context: &mut Context<Self, ()>) {
        self.left -= 1;
        if self.left == 0 {
            context.stop();
        }
    }
}

/// How long `count` messages take.
pub(crate) fn flood(count: u64) -> Result<Duration> {
    runtime()?.block_on(async {
        let mailbox = mailbox::bounded(MESSAGE_CAPACITY);
        let actor = Counter::spawn_with_mailbox(Counter { left: count }, mailbox);
        actor.wait_for_startup().await;
        let sender = actor.clone();
        let start = Instant::now();
        let thread = thread::spawn(move || {
            flood::flood(count, |message| match sender.tell(message).try_send() {
                Ok(()) => Ok(true),
                Err(SendError::MailboxFull(_)) => Ok(false),
                Err(error) => Err(anyhow!("the actor took no message: {error}")),
            })
        });
        actor.wait_for_shutdown().await;
        let took = start.elapsed();
        join(thread)?;
        Ok(took)
    })
}
