//! Phase 1: the lifecycle alone. Nothing here touches a clock, a disk or an engine.
//!
//! Every step of every life is checked against the invariants; the last checks fold all that
//! was recorded.

use anyhow::{Context, Result, bail, ensure};
use hersh_program::{
    Cause, Effect, Event, ProgramRecord, ProgramStepper, RestartPolicy,
    recovery::{BASE_MS, CAP_MS, back_off_ms},
};

use crate::{
    life::{Life, SEED},
    report::{Report, Seen, same, seen},
};

/// Runs the phase. Its checks stand alone: one that fails ends no other.
pub(crate) fn run(report: &mut Report) {
    report.phase("Phase 1, pure domain");
    let mut lives = Vec::new();
    for (what, check) in [
        ("a start leads to Ready", start as fn() -> _),
        (
            "a command that is fulfilled is refused with its reason",
            refuse,
        ),
        ("a restart restarts, without a build", restart),
        ("a stop during Starting cancels it", stop_during_starting),
        ("a crash is tried again after its back-off", crash),
        ("the policy 'never' tries nothing again", crash_for_good),
        ("retries go on", crash_for_ever),
        ("a delete works from anywhere", delete),
    ] {
        lives.extend(report.check(what, check()).unwrap_or_default());
    }
    // What these see is in the report; nothing stands on it.
    let _ = report.check(
        "a replay of the records gives the same state",
        replay(&lives),
    );
    let _ = report.check("an altered record is found by its number", alter(&lives));
}

type Checked = Result<Seen<Vec<Life>>>;

fn start() -> Checked {
    let mut life = Life::ready(RestartPolicy::OnFailure)?;
    let story = told(
        &mut life,
        "building [EnsureProgramFolders, BuildImage] > starting [StartInstance] > ready",
    )?;
    seen(vec![life], format!("created > {story}"))
}

fn refuse() -> Checked {
    let mut life = Life::ready(RestartPolicy::OnFailure)?;
    life.event(Event::UserStartRequested)?;
    let Some((_, Effect::Refuse { refusal })) = life.last_effect() else {
        bail!("found {:?}, asked for a refusal", life.last_effect());
    };
    same("state", life.state().name(), "ready")?;
    seen(vec![life], format!("start in ready: {refusal}"))
}

fn restart() -> Checked {
    let mut life = Life::ready(RestartPolicy::OnFailure)?;
    let before = life.container()?;
    life.tell();
    life.event(Event::UserRestartRequested)?;
    life.settle()?;
    let story = told(
        &mut life,
        "stopping [StopInstances] > starting [StartInstance] > ready",
    )?;
    ensure!(
        life.container()? != before,
        "the container before still runs"
    );
    seen(vec![life], format!("{story}, another container"))
}

fn stop_during_starting() -> Checked {
    let mut life = starting()?;
    let (late, start) = life.last_effect().context("a start was asked for")?;
    ensure!(matches!(start, Effect::StartInstance { .. }), "{start:?}");
    life.tell();
    life.event(Event::UserStopRequested)?;
    life.stale(Event::StartFailed {
        op: late,
        cause: Cause::HostRestarted,
    })?;
    life.settle()?;
    let story = told(&mut life, "stopping [Cancel, StopInstances] > stopped")?;
    seen(
        vec![life],
        format!("{story}; the start's late outcome changes nothing"),
    )
}

fn crash() -> Checked {
    let mut life = Life::ready(RestartPolicy::OnFailure)?;
    life.tell();
    life.crash(3)?;
    let story = told(
        &mut life,
        "stopping [StopInstances] > error [ScheduleRetry]",
    )?;
    let (cause, _) = life.failure()?;
    same("cause", cause.to_string().as_str(), "exited with code 3")?;
    let waited_ms = life.wait()?;
    same("back-off in ms", &waited_ms, &back_off_ms(SEED, 0))?;
    ensure!(
        (BASE_MS / 2..=BASE_MS).contains(&waited_ms),
        "the first retry waits {waited_ms} ms"
    );
    life.settle()?;
    let again = told(&mut life, "starting [StartInstance] > ready")?;
    seen(
        vec![life],
        format!("{story} ({cause}), after {waited_ms} ms {again}"),
    )
}

fn crash_for_good() -> Checked {
    let mut life = Life::ready(RestartPolicy::Never)?;
    life.tell();
    life.crash(3)?;
    let story = told(&mut life, "stopping [StopInstances] > error")?;
    let (cause, retry) = life.failure()?;
    same("retry", &retry, &None)?;
    seen(vec![life], format!("{story} ({cause})"))
}

fn crash_for_ever() -> Checked {
    let mut life = Life::ready(RestartPolicy::Always)?;
    let mut waits_ms = Vec::new();
    life.crash(1)?;
    while waits_ms.len() < 100 {
        ensure!(
            life.failure()?.1.is_some(),
            "it is not tried again after {} retries",
            waits_ms.len()
        );
        waits_ms.push(life.wait()?);
        life.settle()?;
        life.crash(1)?;
    }
    let last = waits_ms[99];
    ensure!(
        (CAP_MS / 2..=CAP_MS).contains(&last),
        "the last of 100 waits is {last} ms"
    );
    seen(
        vec![life],
        format!("100 retries, first after {:?} ms", &waits_ms[..10]),
    )
}

fn delete() -> Checked {
    let mut deleted = Vec::new();
    let mut from = Vec::new();
    for mut life in one_in_each_state()? {
        from.push(life.state().name());
        life.event(Event::UserDeleteRequested)?;
        life.settle()?;
        same("state", life.state().name(), "removed")?;
        let removed = matches!(
            life.records.last().map(|record| &record.event),
            Some(Event::Removed { .. })
        );
        ensure!(removed, "it ended without removing its files");
        deleted.push(life);
    }
    seen(deleted, format!("from {}", from.join(", ")))
}

fn replay(lives: &[Life]) -> Result<Seen<()>> {
    let mut count = 0;
    for life in lives {
        let stored = serde_json::to_string(&life.records)?;
        let records: Vec<ProgramRecord> = serde_json::from_str(&stored)?;
        count += records.len();
        let mut again = ProgramStepper::new(life.created.clone());
        again.fold(records)?;
        same(
            "state after the replay",
            &again.snapshot(),
            &life.stepper.snapshot(),
        )?;
    }
    ensure!(count > 0, "there are no records");
    seen(
        (),
        format!(
            "{count} records of {} lives, through JSON; the invariants held after each",
            lives.len()
        ),
    )
}

fn alter(lives: &[Life]) -> Result<Seen<()>> {
    let life = lives.first().context("there are no records")?;
    let mut records = life.records.clone();
    let altered = records.get_mut(1).context("there is no second record")?;
    altered.effects.clear();
    let asked = altered.seq;
    match ProgramStepper::new(life.created.clone()).fold(records) {
        Ok(()) => bail!("the replay took it in"),
        Err(divergence) => {
            same("record", &divergence.seq, &asked)?;
            seen((), divergence.to_string())
        }
    }
}

/// Lives in every state in which a delete can come, in the order of the diagram.
fn one_in_each_state() -> Result<Vec<Life>> {
    let policy = RestartPolicy::OnFailure;
    let mut building = Life::new(policy)?;
    building.event(Event::UserStartRequested)?;
    let mut stopping = Life::ready(policy)?;
    stopping.event(Event::UserStopRequested)?;
    let mut stopped = Life::ready(policy)?;
    stopped.event(Event::UserStopRequested)?;
    stopped.settle()?;
    let mut failed = Life::ready(policy)?;
    failed.crash(3)?;
    let lives = vec![
        Life::new(policy)?,
        building,
        starting()?,
        Life::ready(policy)?,
        stopping,
        stopped,
        failed,
    ];
    let names: Vec<_> = lives.iter().map(|life| life.state().name()).collect();
    same(
        "states",
        &names[..],
        &[
            "created", "building", "starting", "ready", "stopping", "stopped", "error",
        ],
    )?;
    Ok(lives)
}

fn starting() -> Result<Life> {
    let mut life = Life::new(RestartPolicy::OnFailure)?;
    life.event(Event::UserStartRequested)?;
    life.succeed()?;
    life.succeed()?;
    same("state", life.state().name(), "starting")?;
    Ok(life)
}

/// What happened since the last telling, if it is what was asked for.
fn told(life: &mut Life, asked: &str) -> Result<String> {
    let found = life.tell();
    same("story", found.as_str(), asked)?;
    Ok(found)
}
