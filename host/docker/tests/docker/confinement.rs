//! What a program finds when it tries the walls.

use hersh_program::{DeployStrategy, ExitReason, InstanceNumber};
use hersh_sandbox::{MEMORY_FOLDERS, Runtime};

use crate::world::{World, until};

const MIB: u64 = 1024 * 1024;

/// Tries to write in every folder of every mount, and beside it.
const WRITE_EVERYWHERE: &str = r#"
for mount in $(cut -d' ' -f2 /proc/mounts); do
    for folder in $(find "$mount" -xdev -type d 2>/dev/null); do
        case "$folder" in /proc/*|/sys/*) continue;; esac
        if (echo x > "$folder/.written") 2>/dev/null; then echo "$folder"; fi
    done
    if [ -f "$mount" ] && (echo x >> "$mount") 2>/dev/null; then echo "$mount"; fi
done
for file in /proc/sys/kernel/hostname /proc/sysrq-trigger /sys/kernel/uevent_helper; do
    if (echo x > "$file") 2>/dev/null; then echo "$file"; fi
done
"#;

#[tokio::test]
async fn nothing_but_state_and_folders_in_memory_can_be_written() {
    let world = World::new();
    let id = world.start("sleep 1000").await.container;
    let written = world.inside(id.as_str(), WRITE_EVERYWHERE).await;
    let mut written: Vec<&str> = written.lines().collect();
    written.sort_unstable();
    written.dedup();
    assert_eq!(written, ["/dev/shm", "/run", "/state", "/tmp", "/var/tmp"]);
    let state = world.storage.paths(&world.program).state;
    assert!(state.join(".written").exists());
    world.stop().await;
}

#[tokio::test]
async fn state_stays_and_tmp_does_not() {
    let world = World::new();
    let id = world.start("sleep 1000").await.container;
    world
        .inside(
            id.as_str(),
            "echo kept > /state/file; echo gone > /tmp/file",
        )
        .await;
    let id = world.start("sleep 1000").await.container;
    let found = world
        .inside(id.as_str(), "cat /state/file; ls -A /tmp")
        .await;
    assert_eq!(found, "kept\n");
    world.stop().await;
}

#[tokio::test]
async fn there_are_no_capabilities_and_no_way_to_get_one() {
    let world = World::new();
    let id = world.start("sleep 1000").await.container;
    let status = world.inside(id.as_str(), "cat /proc/1/status; id").await;
    for kind in ["CapInh", "CapPrm", "CapEff", "CapBnd"] {
        let line = status.lines().find(|line| line.starts_with(kind));
        let value = line.and_then(|line| line.split('\t').nth(1)).unwrap();
        assert_eq!(value.trim_matches('0'), "", "{kind} {value}");
    }
    assert!(
        status.contains("uid=65532(hersh) gid=65532(hersh)"),
        "{status}"
    );
    let inspected = world.inspect(id.as_str()).await;
    let config = inspected.host_config.unwrap();
    assert_eq!(config.security_opt.unwrap(), ["no-new-privileges"]);
    let denied = world
        .inside(
            id.as_str(),
            "mount -t tmpfs x /state; mknod /state/d c 1 3; chroot /state; hostname x; su",
        )
        .await;
    assert_eq!(world.inside(id.as_str(), "ls /state").await, "", "{denied}");
    world.stop().await;
}

#[tokio::test]
async fn a_user_namespace_gives_nothing_over_the_sandbox() {
    const TRIES: &str = "mount -o remount,rw /; mount -t tmpfs x /state; umount /tmp; hostname other; \
                         mknod /state/disk b 8 0; echo x > /bin/new; chown 0 /state";
    let world = World::new();
    let id = world.start("sleep 1000").await.container;
    let look = "hostname; ls -An /state /tmp; ls -dn /state; cat /proc/mounts";
    let before = world.inside(id.as_str(), look).await;
    let tried = world
        .inside(
            id.as_str(),
            &format!("unshare -U sh -c '{TRIES}'; ls /bin/new"),
        )
        .await;
    assert!(tried.contains("/bin/new: No such file"), "{tried}");
    let after = world.inside(id.as_str(), look).await;
    assert_eq!(before, after, "{tried}");
    world.stop().await;
}

#[tokio::test]
async fn limits_are_those_asked() {
    let world = World::new();
    let image = world.script("sleep 1000").await;
    let spec = world.spec(&image, |manifest| {
        manifest.limits.memory_bytes = 96 * MIB;
        manifest.limits.cpu_millis = 500;
        manifest.limits.pids = 99;
        manifest.limits.tmp_bytes = 3 * MIB;
        manifest.limits.log_bytes = 2 * MIB;
    });
    let running = world.runtime.start(spec).await.unwrap();
    let id = running.container.as_str();
    let config = world.inspect(id).await.host_config.unwrap();
    assert_eq!(config.memory, Some(96 * 1024 * 1024));
    assert_eq!(config.memory_swap, Some(96 * 1024 * 1024));
    assert_eq!(config.nano_cpus, Some(500_000_000));
    assert_eq!(config.pids_limit, Some(1_024 + 32 * 99));
    let processes = &config.ulimits.unwrap()[0];
    assert_eq!(processes.name.as_deref(), Some("nproc"));
    assert_eq!((processes.soft, processes.hard), (Some(100), Some(100)));

    let total = world
        .inside(id, "grep MemTotal /proc/meminfo | tr -dc 0-9")
        .await;
    assert_eq!(total.parse(), Ok(96 * 1024), "memory seen from inside, KiB");
    for folder in MEMORY_FOLDERS {
        let fill = format!(
            "dd if=/dev/zero of={folder}/full bs=1024 count=4096 2>/dev/null; stat -c %s {folder}/full; rm {folder}/full"
        );
        let filled = world.inside(id, &fill).await;
        assert_eq!(
            filled.trim().parse(),
            Ok(3 * MIB),
            "a file that filled {folder}"
        );
    }
    world.stop().await;
}

#[tokio::test]
async fn nothing_in_a_folder_in_memory_may_be_executed() {
    let world = World::new();
    let id = world.start("sleep 1000").await.container;
    for folder in MEMORY_FOLDERS {
        let tried = format!("cp /bin/busybox {folder}/sh && {folder}/sh -c 'echo ran'");
        let said = world.inside(id.as_str(), &tried).await;
        assert!(said.contains("Permission denied"), "{folder}: {said}");
    }
    let tried = "cp /bin/busybox /state/sh && /state/sh -c 'echo ran'; rm /state/sh";
    assert_eq!(world.inside(id.as_str(), tried).await, "ran\n");
    world.stop().await;
}

#[tokio::test]
async fn a_state_in_memory_is_each_instance_s_own() {
    let world = World::new();
    let image = world.script("sleep 1000").await;
    let overlap = |number: u64| {
        let mut spec = world.spec(&image, |manifest| {
            manifest.deploy = DeployStrategy::Overlap { drain_ms: 1 };
            manifest.limits.tmp_bytes = 3 * MIB;
        });
        spec.instance.number = InstanceNumber(number);
        spec
    };
    let first = world.runtime.start(overlap(1)).await.unwrap();
    let second = world.runtime.start(overlap(2)).await.unwrap();
    let (one, two) = (first.container.as_str(), second.container.as_str());
    assert_eq!(
        world
            .inside(one, "echo one > /state/x; cat /state/x; ls $HOME")
            .await,
        "one\nx\n"
    );
    assert_eq!(world.inside(two, "ls /state").await, "");
    let fill =
        "dd if=/dev/zero of=/state/full bs=1024 count=4096 2>/dev/null; stat -c %s /state/full";
    let filled = world.inside(two, fill).await;
    assert_eq!(filled.trim().parse(), Ok(3 * MIB));
    let tried = "cp /bin/busybox /state/sh && /state/sh -c 'echo ran'";
    let said = world.inside(one, tried).await;
    assert!(said.contains("Permission denied"), "{said}");
    let kept = world.storage.paths(&world.program).state;
    assert_eq!(std::fs::read_dir(kept).unwrap().count(), 0);
    world.stop().await;
}

#[tokio::test]
async fn what_is_in_memory_counts_as_memory() {
    let world = World::new();
    // Together more than its memory, each less than its own bound.
    let script = "for folder in /dev/shm /run /tmp /var/tmp; do head -c 40000000 /dev/zero > $folder/x; done; sleep 1000";
    let image = world.script(script).await;
    let spec = world.spec(&image, |manifest| {
        manifest.limits.memory_bytes = 96 * 1024 * 1024;
    });
    let exit = world.end(spec).await.unwrap();
    assert_eq!(exit.reason, ExitReason::OutOfMemory);
    world.stop().await;
}

#[tokio::test]
async fn home_can_be_written_unless_image_or_manifest_say_another() {
    let world = World::new();
    let script = "mkdir -p $HOME/.cache; echo $HOME; sleep 1000";
    let command = serde_json::json!(["sh", "-c", script]);
    for (own, asked, expected) in [
        ("", None, "/state"),
        ("HOME=/tmp", None, "/tmp"),
        ("HOME=/tmp", Some("/run"), "/run"),
    ] {
        let dockerfile =
            format!("FROM scratch\nCOPY bin /bin\nENV PATH=/bin {own}\nCMD {command}\n");
        let image = world.try_build(&dockerfile).await.unwrap();
        let spec = world.spec(&image, |manifest| {
            let asked = asked.map(|home: &str| ("HOME".to_owned(), home.to_owned()));
            manifest.env.extend(asked);
        });
        world.runtime.start(spec).await.unwrap();
        until("it said where its home is", || async {
            world.last_lines(1).await == [expected]
        })
        .await;
    }
    assert!(
        world
            .storage
            .paths(&world.program)
            .state
            .join(".cache")
            .is_dir()
    );
    world.stop().await;
}
