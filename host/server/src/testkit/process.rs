//! A program of a fake engine, as whoever plays it sees it.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use hersh_base::locked::locked;
use hersh_program::{BuildId, ContainerId, ExitReason, InstanceId, NetworkMode};
use tokio::{net::TcpStream, sync::watch};

use super::world::{Made, Phase, World};

/// A program that a test plays. What it does, it does by [`Process::step`], so that nothing is done of what
/// was paused, killed or removed.
pub struct Process {
    world: Arc<Mutex<World>>,
    instance: InstanceId,
    container: ContainerId,
    made: Made,
    phase: watch::Receiver<Phase>,
}

impl Process {
    /// The process of an instance, if it is still there.
    pub(super) fn find(
        world: &Arc<Mutex<World>>,
        instance: InstanceId,
        container: ContainerId,
    ) -> Option<Self> {
        let (made, phase) = locked(world).process(&instance)?;
        Some(Self {
            world: Arc::clone(world),
            instance,
            container,
            made,
            phase,
        })
    }

    /// The build that made its image, unless that was forgotten.
    #[must_use]
    pub fn build(&self) -> Option<BuildId> {
        let world = locked(&self.world);
        let mut images = world.images.iter();
        let own = images.find(|(_, image)| Some(*image) == self.made.image.as_ref());
        own.map(|((_, build), _)| build.clone())
    }

    /// Its network.
    #[must_use]
    pub fn network(&self) -> NetworkMode {
        self.made.network
    }

    /// Does `step` as soon as it is not paused; `false`, and nothing is done, once it has ended. `step` may
    /// not block: the engine answers nobody meanwhile.
    pub async fn step(&mut self, step: impl FnOnce()) -> bool {
        let done = self.act(|_| step()).await;
        done.is_some()
    }

    /// Waits for the stop signal; `false` once it has ended.
    pub async fn asked_to_stop(&mut self) -> bool {
        let asked = self.phase.wait_for(|phase| phase.is_asked || phase.is_over);
        asked.await.is_ok_and(|phase| !phase.is_over)
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) {
        // It is over as well once the instance was removed.
        let _ = self.phase.wait_for(|phase| phase.is_over).await;
    }

    /// Ends with `code`, as its own doing, as soon as it is not paused. Who observes the engine is told.
    pub async fn end(mut self, code: i32) {
        let instance = self.instance.clone();
        let ended = self.act(|world| {
            let ended = world.end_one(&instance, ExitReason::Code(code));
            ended.zip(world.exits.clone())
        });
        if let Some(Some((ended, exits))) = ended.await {
            // A host that has gone away finds out when it comes back.
            let _ = exits.send(ended).await;
        }
    }

    /// Connects to what its network reaches: with egress a service outside, otherwise nobody.
    ///
    /// # Errors
    /// What the kernel said, or that the network is unreachable.
    pub async fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let is_outside = locked(&self.world).outside.contains(&to);
        match self.network() {
            NetworkMode::Egress if is_outside => TcpStream::connect(to).await,
            NetworkMode::Egress | NetworkMode::Internal | NetworkMode::None => {
                Err(io::ErrorKind::NetworkUnreachable.into())
            }
        }
    }

    /// Acts in the engine as soon as it is not paused; `None` once it has ended.
    async fn act<T>(&mut self, act: impl FnOnce(&mut World) -> T) -> Option<T> {
        loop {
            let runs = self
                .phase
                .wait_for(|phase| !phase.is_paused || phase.is_over);
            let is_over = runs.await.map_or(true, |phase| phase.is_over);
            if is_over {
                return None;
            }
            let mut world = locked(&self.world);
            // It may have been paused or removed meanwhile.
            if world.note_step(&self.instance, &self.container) {
                return Some(act(&mut world));
            }
        }
    }
}
