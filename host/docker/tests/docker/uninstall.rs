//! What README says to type for an uninstall leaves nothing of a host on an engine or in the firewall.

use std::{path::Path, process::Command};

use hersh_program::NetworkMode;
use hersh_sandbox::Runtime;

use crate::{own_engine::OwnEngine, world::World};

/// The lines of README's block below its heading.
fn block() -> Vec<&'static str> {
    let readme = include_str!("../../../../README.md");
    let (_, section) = readme.split_once("### Uninstall").unwrap();
    let (_, block) = section.split_once("```sh\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    block.lines().collect()
}

/// What a shell prints, which must succeed.
fn shell(mut command: Command, script: &str) -> String {
    let output = command.arg("-ec").arg(script).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{script}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

fn beside(engine: &Path) -> Command {
    let mut shell = Command::new("sh");
    shell.env("DOCKER_HOST", format!("unix://{}", engine.display()));
    shell
}

#[tokio::test]
async fn the_uninstall_of_readme_leaves_nothing_on_the_engine() {
    let engine = OwnEngine::with_runsc_arguments(&["--overlay2=none"]).await;
    let socket = engine.socket();
    let world = World::with(|config| config.socket = socket.clone());
    let image = world.script("sleep 1000").await;
    let spec = world.spec(&image, |manifest| manifest.network = NetworkMode::None);
    world.runtime.start(spec).await.unwrap();
    let failed = world.try_build("FROM scratch\nCOPY bin /bin\nRUN [\"/bin/false\"]\n");
    assert!(failed.await.is_err());
    let network =
        "docker network create --internal --label hersh.network=internal hersh-internal-0";
    shell(beside(&socket), network);
    let left = "docker ps -aq; docker images -aq; docker volume ls -q; docker network ls -q --filter type=custom";
    assert!(shell(beside(&socket), left).lines().count() > 3);
    for line in block().iter().filter(|line| line.starts_with("docker ")) {
        shell(beside(&socket), line);
    }
    assert_eq!(shell(beside(&socket), left), "");
}

#[test]
fn the_uninstall_of_readme_removes_the_rules_and_no_others() {
    let block = block();
    let rules: Vec<&str> = block
        .into_iter()
        .filter(|line| line.starts_with("nft "))
        .collect();
    let script = format!(
        "nft add table inet hersh_1
         nft add chain inet hersh_1 input '{{ type filter hook input priority mangle; }}'
         nft add rule inet hersh_1 input iifname 'hersh*' drop
         nft add table inet other
         {}
         nft list ruleset",
        rules.join("\n")
    );
    let mut alone = Command::new("unshare");
    alone.args(["--net", "sh"]);
    let left = shell(alone, &script);
    assert!(!left.contains("hersh"), "{left}");
    assert!(left.contains("table inet other"), "{left}");
}
