//! Phase 2: what the host does to the world, without the host. Storage and contracts first, then
//! one program on the real engine.
//!
//! ```text
//! archive ─► Storage ─► build ─► Spec ─► validate ─► start in gVisor ─► Receipt ─► stop
//! ```

use hersh_sandbox::Contract;

use crate::{
    engine::Engine,
    patience::{Interrupted, Signals},
    report::{PhaseOver, Report},
    world::World,
};

/// Runs the phase. A check that fails ends it; what it made is removed all the same.
///
/// # Errors
/// [`Interrupted`], after it has cleaned up.
pub(crate) async fn run(
    report: &mut Report,
    engine: &Engine,
    signals: &mut Signals,
) -> Result<(), Interrupted> {
    report.phase("Phase 2, host IO");
    let Ok(world) = report.check("storage opens in an empty folder", World::open(engine)) else {
        return Ok(());
    };
    let ended = signals.unless_interrupted(checks(report, &world)).await;
    let gone = world.close(engine).await;
    // Nothing stands on this one.
    let _ = report.check("nothing is left on the engine and the disk", gone);
    ended.map(drop)
}

async fn checks(report: &mut Report, world: &World) -> Result<(), PhaseOver> {
    for path in ["../escape", "/etc/escape"] {
        let what = format!("an archive with {path} is refused whole");
        report.check(&what, world.refuse(path))?;
    }
    let build = report.check("a good archive is taken in", world.take())?;
    let again = world.take_again(&build);
    report.check("the same tree gets the same build id", again)?;
    for contract in Contract::ALL {
        let what = format!("a spec that breaks '{contract}' is refused by that name");
        report.check(&what, world.violate(contract))?;
    }
    report.check("the engine can run programs", world.greet().await)?;
    let image = report.check("the tree builds", world.build(&build).await)?;
    let again = world.build_again(&build, &image).await;
    report.check("a tree that is built is not built again", again)?;
    let refused = world.start_broken(&image).await;
    report.check("a broken spec creates no container", refused)?;
    let running = report.check("it starts in gVisor", world.start(&image).await)?;
    let receipt = world.read_receipt(&running);
    report.check("the receipt holds every contract", receipt)?;
    let answer = world.reach(&running).await;
    report.check("it answers the host at its address", answer)?;
    report.check("a stop leaves no container", world.stop().await)?;
    let removed = world.remove(&build).await;
    report.check("a removal leaves no image and no folder", removed)
}
