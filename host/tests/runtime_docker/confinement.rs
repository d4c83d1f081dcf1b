//! What a program finds when it tries the walls.

use crate::world::World;

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
async fn nothing_but_state_and_tmp_can_be_written() {
    let world = World::new();
    let id = world.start("sleep 1000").await.container;
    let written = world.inside(id.as_str(), WRITE_EVERYWHERE).await;
    let mut written: Vec<&str> = written.lines().collect();
    written.sort_unstable();
    written.dedup();
    assert_eq!(written, ["/state", "/tmp"]);
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
    assert!(status.contains("uid=65532 gid=65532"), "{status}");
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
async fn limits_are_those_asked() {
    const MIB: u64 = 1024 * 1024;
    let world = World::new();
    let image = world.script("sleep 1000").await;
    let spec = world.spec(&image, |manifest| {
        manifest.limits.memory_bytes = 96 * MIB;
        manifest.limits.cpu_millis = 500;
        manifest.limits.pids = 99;
        manifest.limits.tmp_bytes = 3 * MIB;
        manifest.limits.log_bytes = 2 * MIB;
    });
    let running = hersh_host::runtime::Runtime::start(&world.runtime, spec)
        .await
        .unwrap();
    let id = running.container.as_str();
    let config = world.inspect(id).await.host_config.unwrap();
    assert_eq!(config.memory, Some(96 * 1024 * 1024));
    assert_eq!(config.memory_swap, Some(96 * 1024 * 1024));
    assert_eq!(config.nano_cpus, Some(500_000_000));
    assert_eq!(config.pids_limit, Some(99));

    let total = world
        .inside(id, "grep MemTotal /proc/meminfo | tr -dc 0-9")
        .await;
    assert_eq!(total.parse(), Ok(96 * 1024), "memory seen from inside, KiB");
    let filled = world
        .inside(
            id,
            "dd if=/dev/zero of=/tmp/full bs=1024 count=4096 2>/dev/null; stat -c %s /tmp/full",
        )
        .await;
    assert_eq!(
        filled.trim().parse(),
        Ok(3 * MIB),
        "size of a file that filled /tmp"
    );
    world.stop().await;
}
