//! The name of the user that every program runs as.

use hersh_sandbox::{BuildError, Builder, Runtime};

use crate::world::World;

const SCRATCH: &str = "FROM scratch\nCOPY bin /bin\nENV PATH=/bin\n";
const SLEEPS: &str = "CMD [\"/bin/sh\", \"-c\", \"sleep 1000\"]\n";
const NAMES: &str = "whoami; id -un; id -gn; echo ~hersh";

/// What `command` prints in a program that the steps made.
async fn said(world: &World, steps: &str, command: &str) -> String {
    let text = format!("{SCRATCH}{steps}{SLEEPS}");
    let image = world.try_build(&text).await.unwrap();
    let spec = world.spec(&image, |_| {});
    let id = world.runtime.start(spec).await.unwrap().container;
    let said = world.inside(id.as_str(), command).await;
    world.stop().await;
    world.runtime.forget(&world.program).await.unwrap();
    said
}

#[tokio::test]
async fn the_user_of_an_image_without_users_has_a_name_and_a_home() {
    let world = World::new();
    assert_eq!(
        said(&world, "", NAMES).await,
        "hersh\nhersh\nhersh\n/state\n"
    );
}

#[tokio::test]
async fn the_users_of_an_image_stay() {
    let world = World::new();
    let steps = "RUN echo 'root:x:0:0:root:/root:/bin/sh' > /etc/passwd && \
                 echo 'hersh:x:7:7::/:/bin/sh' >> /etc/passwd && printf 'staff:x:50:' > /etc/group\n";
    let said = said(&world, steps, "id -un; cat /etc/passwd /etc/group").await;
    assert_eq!(
        said,
        "hersh-program\nroot:x:0:0:root:/root:/bin/sh\nhersh:x:7:7::/:/bin/sh\n\
         hersh-program:x:65532:65532::/state:/bin/sh\nstaff:x:50:\nhersh:x:65532:\n"
    );
}

#[tokio::test]
async fn files_that_are_links_stay_and_lead_where_they_led() {
    let world = World::new();
    let steps = "RUN mkdir /elsewhere && echo a > /elsewhere/passwd && \
                 ln -s /elsewhere/passwd /etc/passwd && ln -s ../../../../state/x /etc/group\n";
    let look = "readlink /etc/passwd; readlink /etc/group; cat /etc/passwd; ls /state";
    assert_eq!(
        said(&world, steps, look).await,
        "/elsewhere/passwd\n../../../../state/x\na\n"
    );
}

#[tokio::test]
async fn a_file_that_is_too_large_stays() {
    let world = World::new();
    let steps = "RUN yes a:x:1:1::/:/a | head -c 2000000 > /etc/passwd\n";
    let look = "stat -c %s /etc/passwd; cat /etc/group";
    assert_eq!(said(&world, steps, look).await, "2000000\nhersh:x:65532:\n");
}

/// The engine hides such a link from containers, and a copy would go to where it leads.
#[tokio::test]
async fn nothing_is_written_behind_a_link_in_place_of_etc() {
    let world = World::new();
    let steps = "RUN mkdir -p /new/elsewhere && echo a > /new/elsewhere/passwd && \
                 ln -s elsewhere /new/etc\n\
                 FROM scratch\nCOPY --from=0 /new /\nCOPY bin /bin\nENV PATH=/bin\n";
    let look = "ls /elsewhere; cat /elsewhere/passwd";
    assert_eq!(said(&world, steps, look).await, "passwd\na\n");
}

#[tokio::test]
async fn what_else_an_image_says_stays() {
    let world = World::new();
    let text = "FROM scratch\nCOPY bin /bin\nENV PATH=/bin A=b\nWORKDIR /srv\nUSER 7:8\nLABEL l=m\n\
                EXPOSE 81\nSTOPSIGNAL SIGINT\nENTRYPOINT [\"/bin/echo\", \"e\"]\nCMD [\"c d\"]\n";
    let build = world.store(text);
    let request = world.build_request(&build);
    let image = world.runtime.build(request.clone()).await.unwrap();
    let seen = world.engine.inspect_image(image.as_str()).await.unwrap();
    let config = seen.config.unwrap();
    assert_eq!(config.entrypoint.unwrap(), ["/bin/echo", "e"]);
    assert_eq!(config.cmd.unwrap(), ["c d"]);
    assert_eq!(config.env.unwrap(), ["PATH=/bin", "A=b"]);
    assert_eq!(config.working_dir.as_deref(), Some("/srv"));
    assert_eq!(config.user.as_deref(), Some("7:8"));
    assert_eq!(config.stop_signal.as_deref(), Some("SIGINT"));
    let mut labels: Vec<String> = config.labels.unwrap().into_keys().collect();
    labels.sort();
    assert_eq!(labels, ["hersh.cache", "hersh.layer", "l"]);
    let log = std::fs::read_to_string(&request.log_path).unwrap();
    assert!(!log.contains("/etc/"), "{log}");
    assert!(log.contains("Step 10/10 : CMD"), "{log}");
    let tag = format!("hersh/{0}/{0}:{build}", world.program);
    assert!(
        log.ends_with(&format!("Successfully tagged {tag}\n")),
        "{log}"
    );

    // The same tree is the same image again, and nothing is left of the look.
    world.runtime.forget(&world.program).await.unwrap();
    let again: Result<_, BuildError> = world.runtime.build(request).await;
    let labelled = bollard::query_parameters::ListContainersOptions {
        all: true,
        filters: Some(
            [(
                "label".into(),
                vec![format!("hersh.layer={}", world.program)],
            )]
            .into(),
        ),
        ..Default::default()
    };
    let left = world.engine.list_containers(Some(labelled)).await.unwrap();
    assert!(again.is_ok() && left.is_empty(), "{again:?} {left:?}");
    world.runtime.forget(&world.program).await.unwrap();
}
