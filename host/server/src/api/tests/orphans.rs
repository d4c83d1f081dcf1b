//! What a start of the host finds that no program accounts for.

use std::{sync::Arc, time::Duration};

use hersh_program::{ContainerId, InstanceId, InstanceNumber, ProgramId};
use tokio::time::Instant;

use crate::testkit::{FakeEngine, Operation, OperationOutcome, Setup, TestHost};

#[tokio::test(start_paused = true)]
async fn an_engine_that_hangs_holds_a_start_up_for_a_minute() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Arc::new(FakeEngine::scripted(|operation| OperationOutcome {
        before: match matches!(operation, Operation::Stop(..)) {
            true => Duration::from_secs(3_600),
            false => Duration::ZERO,
        },
        ..OperationOutcome::default()
    }));
    for number in 1..=5 {
        let instance = InstanceId {
            program: ProgramId::parse("gone").unwrap(),
            number: InstanceNumber(number),
        };
        let container = ContainerId::parse(&format!("{number:064x}")).unwrap();
        engine.plant(instance, container);
    }
    let began = Instant::now();
    let setup = Setup::new(folder.path(), &engine).unwrap().simulated(7);
    let host = TestHost::start(setup).await.unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(61),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(host.programs().len(), 0);
    assert_eq!(engine.instances().len(), 5, "none could be removed");
}
