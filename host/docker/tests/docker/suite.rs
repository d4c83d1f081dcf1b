//! What holds of every runtime holds of this one.

use std::{net::SocketAddr, process::Command};

use hersh_docker::DockerRuntime;
use hersh_program::ProgramId;
use hersh_sandbox::{
    BuildRequest, RunningInstance, Runtime,
    testkit::{self, ANSWER, ASKED, COUNT, Conduct, END_CODE, ENDED, NOTHING, PORT, READY},
};
use hersh_storage::SourceLimits;

use crate::world::{UNTIL_GO, World, add_file, address, busybox_archive};

hersh_sandbox::runtime_suite!(World::new());

/// The row about folders also holds of a runtime that has none, as the one in memory.
#[tokio::test]
async fn the_folder_of_the_engines_images_is_told_after_a_check() {
    let world = World::new();
    world.runtime.check().await.unwrap();
    assert_eq!(world.runtime.folders().len(), 1);
}

/// Answers on a Unix socket, which no busybox does. Perl is on every Debian, and needs no module for it.
const SERVE_SOCKET: &str = r#"
    socket(L, 1, 1, 0) && bind(L, pack("Sa108", 1, $ENV{HERSH_WATCHER_SOCKET})) && listen(L, 9) or die $!;
    while (accept(S, L)) { syswrite(S, "$ARGV[0]\n"); close(S) }
"#;

impl testkit::World for World {
    type Runtime = DockerRuntime;

    fn runtime(&self) -> &DockerRuntime {
        &self.runtime
    }

    fn program(&self) -> &ProgramId {
        &self.program
    }

    fn tree(&self, conduct: Conduct) -> BuildRequest {
        let asked = format!("echo 1 > /state/{ASKED}");
        let ready = format!("echo 1 > /state/{READY}; while :; do sleep 0.1; done");
        let script = match conduct {
            Conduct::Waits => format!("{UNTIL_GO}; exit {END_CODE}"),
            Conduct::Listens => return self.listener(),
            Conduct::Counts => {
                format!("n=0; while :; do n=$((n+1)); echo $n > /state/{COUNT}; done")
            }
            Conduct::Dials(to) => {
                let (ip, port) = (to.ip(), to.port());
                let said = format!("said=$(nc -w 5 {ip} {port} </dev/null)");
                format!("{said}; echo ${{said:-{NOTHING}}} > /state/{to}; {UNTIL_GO}")
            }
            Conduct::Obeys => {
                let ends = format!("{asked}; sleep 0.5; echo 1 > /state/{ENDED}; exit {END_CODE}");
                format!("trap '{ends}' TERM; {ready}")
            }
            Conduct::Refuses => format!("trap '{asked}' TERM; {ready}"),
        };
        self.build_request(&self.store_script(&script))
    }

    fn write_state(&self, bytes: usize) {
        let state = self.storage.paths(&self.program).state;
        std::fs::write(state.join("written"), vec![1; bytes]).unwrap();
    }

    fn read_state(&self, name: &str) -> String {
        let state = self.storage.paths(&self.program).state;
        std::fs::read_to_string(state.join(name)).unwrap_or_default()
    }

    async fn tell_to_end(&self) {
        self.go();
    }

    fn outside(&self) -> SocketAddr {
        let internet = std::env::var("HERSH_TEST_INTERNET").unwrap();
        internet.parse().unwrap()
    }

    async fn address(&self, running: &RunningInstance) -> SocketAddr {
        SocketAddr::new(address(running).await.unwrap(), PORT)
    }
}

impl World {
    /// A request to build what listens, on its port or on its socket.
    fn listener(&self) -> BuildRequest {
        let on_socket = format!("exec perl -e '{SERVE_SOCKET}' {ANSWER}");
        let on_port = format!("exec nc -ll -p {PORT} -e echo {ANSWER}");
        let script = format!("[ -z \"$HERSH_WATCHER_SOCKET\" ] || {on_socket}; {on_port}");
        let command = serde_json::json!(["/bin/sh", "-c", script]);
        let dockerfile = format!("FROM scratch\nCOPY . /\nENV PATH=/bin\nCMD {command}\n");
        let mut archive = busybox_archive();
        let perl = std::fs::read("/usr/bin/perl").expect("no perl on this machine");
        add_file(&mut archive, "bin/perl", 0o755, &perl);
        for library in libraries("/usr/bin/perl") {
            let content = std::fs::read(&library).unwrap();
            add_file(&mut archive, &library[1..], 0o755, &content);
        }
        add_file(&mut archive, "Dockerfile", 0o644, dockerfile.as_bytes());
        let tree = archive.into_inner().unwrap();
        let limits = SourceLimits::default();
        let staged = self.storage.stage_archive(tree.as_slice(), limits);
        let build = self.storage.commit(&self.program, staged.unwrap());
        self.build_request(&build.unwrap())
    }
}

/// The paths of the libraries that a program needs, its loader too.
fn libraries(program: &str) -> Vec<String> {
    let listed = Command::new("ldd").arg(program).output().unwrap().stdout;
    let listed = String::from_utf8(listed).unwrap();
    let words = listed.split_whitespace();
    let paths = words.filter(|it| it.starts_with('/'));
    paths.map(str::to_owned).collect()
}
