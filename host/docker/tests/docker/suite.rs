//! What holds of every runtime holds of this one.

use hersh_docker::DockerRuntime;
use hersh_program::ProgramId;
use hersh_sandbox::{
    BuildRequest,
    testkit::{self, ANSWER, Conduct, END_CODE, PORT},
};

use crate::world::{UNTIL_GO, World};

hersh_sandbox::runtime_suite!(World::new());

impl testkit::World for World {
    type Runtime = DockerRuntime;

    fn runtime(&self) -> &DockerRuntime {
        &self.runtime
    }

    fn program(&self) -> &ProgramId {
        &self.program
    }

    fn tree(&self, conduct: Conduct) -> BuildRequest {
        let script = match conduct {
            Conduct::Waits => format!("{UNTIL_GO}; exit {END_CODE}"),
            Conduct::Listens => format!("nc -ll -p {PORT} -e echo {ANSWER}"),
        };
        self.build_request(&self.store_script(&script))
    }

    fn write_state(&self, bytes: usize) {
        let state = self.storage.paths(&self.program).state;
        std::fs::write(state.join("written"), vec![1; bytes]).unwrap();
    }

    async fn tell_to_end(&self) {
        self.go();
    }
}
