//! What can never run is told once, in words: what, for whom, and what to do.

use hersh_program::{Cause, ExitReason};

use crate::world::World;

/// Files that can't be run, made from the busybox beside them. Its names are links, so that there is a
/// shell that could take a file for a script.
const FILES: &str = "FROM scratch\nCOPY bin /bin\nENV PATH=/bin\n\
    RUN mkdir /closed /d && printf '#!/bin/sh\\necho up\\nexec sleep 1000\\n' > /good \
    && cp /good /noexec && chmod 0644 /noexec && cp /good /closed/app && chmod 0755 /good /closed/app && chmod 0700 /closed \
    && printf '#!/bin/nosuch\\n' > /badint && printf '#!/bin/sh\\r\\n' > /crlf \
    && printf '\\177ELF\\002\\001\\001\\000\\000\\000\\000\\000\\000\\000\\000\\000\\002\\000\\267\\000' > /arm \
    && head -c 4000 /dev/zero >> /arm && chmod 0755 /badint /crlf /arm\n";

/// Why `command` did not run, as the cause that its program has.
async fn cause(world: &World, tail: &str) -> Cause {
    let image = world.try_build(&format!("{FILES}{tail}")).await.unwrap();
    match world.end(world.spec(&image, |_| {})).await {
        Ok(exit) => Cause::from(&exit),
        Err(error) => error.into(),
    }
}

#[tokio::test]
async fn what_can_not_be_run_is_told_with_path_user_and_remedy() {
    let world = World::new();
    for (command, expected) in [
        (
            "CMD [\"/noexec\"]",
            vec!["/noexec has mode 0644", "uid 65532", "chmod a+rx /noexec"],
        ),
        (
            "WORKDIR /closed\nCMD [\"./app\"]",
            vec![
                "/closed/app lies in /closed",
                "uid 65532",
                "chmod a+x /closed",
            ],
        ),
        (
            "CMD [\"/badint\"]",
            vec!["/badint needs the interpreter /bin/nosuch"],
        ),
        (
            "CMD [\"/crlf\"]",
            vec!["first line of /crlf ends with a carriage return"],
        ),
        (
            "CMD [\"/arm\"]",
            vec!["/arm is a program for arm64", "linux/amd64"],
        ),
        (
            "CMD [\"nosuch\", \"x\"]",
            vec!["there is no nosuch in the image"],
        ),
        ("CMD [\"/d\"]", vec!["/d is a folder"]),
        ("ENTRYPOINT []", vec!["names no program", "CMD"]),
        (
            "COPY bin/busybox /etc/passwd/x\nCMD [\"/good\"]",
            vec!["/etc/passwd of the image can't be read (is a directory)"],
        ),
        (
            "COPY bin/busybox /etc/group/x\nCMD [\"/good\"]",
            vec!["/etc/group of the image can't be read (is a directory)"],
        ),
    ] {
        let cause = cause(&world, command).await;
        let Cause::NotRunnable { message } = &cause else {
            panic!("{command}: {cause:?}");
        };
        for words in expected {
            assert!(message.contains(words), "{command}: {message}");
        }
        for foreign in ["OCI", "/merged/", "docker"] {
            assert!(!message.contains(foreign), "{message}");
        }
        world.stop().await;
    }
}

#[tokio::test]
async fn an_init_of_the_image_is_the_first_process_and_told_alike() {
    let world = World::new();
    let init = "RUN cp /bin/busybox /bin/dumb-init\n";
    let cause = cause(
        &world,
        &format!("{init}USER root\nENTRYPOINT [\"/none/dumb-init\"]"),
    )
    .await;
    let Cause::NotRunnable { message } = &cause else {
        panic!("{cause:?}");
    };
    assert!(
        message.contains("there is no /none/dumb-init in the image"),
        "{message}"
    );
}

#[tokio::test]
async fn a_program_that_ends_with_such_a_code_is_no_certainty() {
    let world = World::new();
    for code in [2, 126, 127] {
        let image = world.script(&format!("echo no luck; exit {code}")).await;
        let exit = world.end(world.spec(&image, |_| {})).await.unwrap();
        assert_eq!(exit.reason, ExitReason::Code(code));
        world.stop().await;
    }
}
