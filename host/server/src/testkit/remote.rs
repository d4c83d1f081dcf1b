//! A fake engine behind a Unix socket, so that it outlives a host process that is killed.
//!
//! ```text
//! host process: Remote ── one JSON line ──► serve(engine): the test's process
//!                      ◄── one JSON line ── (or one for each exit)
//! ```

use std::{io, path::PathBuf, sync::Arc};

use hersh_base::detached::run_detached;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::mpsc,
};

use super::{EndedInstance, FakeEngine, Operation, Reply, Trouble, turns::Turns};
use hersh_sandbox::EVENT_QUEUE;

#[derive(Serialize, Deserialize)]
enum Request {
    CarryOut(Operation),
    Observe,
}

/// Lets host processes use `engine` through `listener`, for ever. A request goes on when the
/// process that sent it dies, as with a real engine.
pub async fn serve(engine: Arc<FakeEngine>, listener: UnixListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move {
            // Who hung up needs no answer.
            let _ = answer(&engine, stream).await;
        });
    }
}

async fn answer(engine: &FakeEngine, stream: UnixStream) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let Some(request) = receive(&mut stream).await? else {
        return Ok(());
    };
    match request {
        Request::CarryOut(operation) => {
            let reply = engine.carry_out(operation).await;
            send(&mut stream, &reply).await
        }
        Request::Observe => {
            let mut exits = engine.observe();
            while let Some(ended) = exits.recv().await {
                send(&mut stream, &ended).await?;
            }
            Ok(())
        }
    }
}

/// The host's side of the socket.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    socket: PathBuf,
    turns: Arc<Turns>,
}

impl Remote {
    pub(super) fn new(socket: PathBuf) -> Self {
        let turns = Arc::default();
        Self { socket, turns }
    }

    /// What has begun to change a program is waited for before the next change, even when nobody
    /// waits for its answer any more: each goes over a connection of its own, and the engine may
    /// take the later one first.
    pub(super) async fn carry_out(&self, operation: Operation) -> Reply {
        let turn = self.turns.take(&operation).await;
        let remote = self.clone();
        run_detached(async move {
            let answer = remote.ask(&Request::CarryOut(operation)).await;
            drop(turn);
            match answer {
                Ok(Some(reply)) => reply,
                Ok(None) => Err(Trouble::Unavailable("the engine hung up".into())),
                Err(error) => Err(Trouble::Unavailable(error.to_string())),
            }
        })
        .await
    }

    pub(super) fn observe(&self) -> mpsc::Receiver<EndedInstance> {
        let (exits, receiver) = mpsc::channel(EVENT_QUEUE);
        let remote = self.clone();
        tokio::spawn(async move {
            // The tests' engine lives as long as they do, so nothing is connected anew.
            let _ = remote.follow(exits).await;
        });
        receiver
    }

    async fn follow(&self, exits: mpsc::Sender<EndedInstance>) -> io::Result<()> {
        let mut stream = self.connect(&Request::Observe).await?;
        while let Some(ended) = receive(&mut stream).await? {
            if exits.send(ended).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn ask(&self, request: &Request) -> io::Result<Option<Reply>> {
        receive(&mut self.connect(request).await?).await
    }

    async fn connect(&self, request: &Request) -> io::Result<BufReader<UnixStream>> {
        let mut stream = BufReader::new(UnixStream::connect(&self.socket).await?);
        send(&mut stream, request).await?;
        Ok(stream)
    }
}

async fn send(stream: &mut BufReader<UnixStream>, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line).await
}

async fn receive<T: DeserializeOwned>(stream: &mut BufReader<UnixStream>) -> io::Result<Option<T>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&line)?))
}

#[cfg(test)]
mod tests {
    use hersh_program::ProgramId;

    use super::*;
    use crate::testkit::Answer;

    /// Long enough for every task to do all that it can.
    async fn everybody_else() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_given_up_change_is_over_before_the_next_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.sock");
        let engine = std::os::unix::net::UnixListener::bind(&path).unwrap();
        engine.set_nonblocking(true).unwrap();
        let arrived = || {
            let (stream, _) = engine.accept().ok()?;
            stream.set_nonblocking(true).unwrap();
            Some(BufReader::new(UnixStream::from_std(stream).unwrap()))
        };
        let remote = Remote::new(path);
        let program = ProgramId::parse("p").unwrap();
        let asks = |operation| {
            let remote = remote.clone();
            tokio::spawn(async move { remote.carry_out(operation).await })
        };

        let forgotten = asks(Operation::Forget(program.clone()));
        everybody_else().await;
        let mut first = arrived().expect("the first change");
        forgotten.abort();
        let stopped = asks(Operation::Stop(program, hersh_program::Instances::All));
        everybody_else().await;
        assert!(arrived().is_none(), "the next change did not wait");

        send(&mut first, &Reply::Ok(Answer::Done)).await.unwrap();
        assert!(receive::<Request>(&mut first).await.unwrap().is_some());
        assert!(receive::<Request>(&mut first).await.unwrap().is_none());
        everybody_else().await;
        let mut second = arrived().expect("the next change");
        send(&mut second, &Reply::Ok(Answer::Done)).await.unwrap();
        assert_eq!(stopped.await.unwrap(), Ok(Answer::Done));
    }
}
