//! Reads a container's counters where the kernel keeps them. That takes well under a millisecond, while the
//! engine takes up to a second to answer. Also writes bounds there: gVisor's runtime can't change the
//! bounds of a container that runs.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use hersh_sandbox::Stats;

/// Reads the counters of the container whose first process on this machine is `pid`. `None` when
/// its control groups can't be seen from here, or the process is not the container's any more.
pub(super) fn read(container: &str, pid: i64) -> Option<Stats> {
    Counters {
        process: PathBuf::from(format!("/proc/{pid}")),
        groups: PathBuf::from("/sys/fs/cgroup"),
    }
    .read(container)
}

/// Bounds the container whose first process on this machine is `pid`: memory with swap in bytes, and the
/// number of processes and threads. Returns false when the container's control groups can't be reached from
/// here.
pub(super) fn bound(container: &str, pid: i64, memory_bytes: u64, pids: u64) -> bool {
    Counters {
        process: PathBuf::from(format!("/proc/{pid}")),
        groups: PathBuf::from("/sys/fs/cgroup"),
    }
    .bound(container, memory_bytes, pids)
    .is_some()
}

/// The bounds in the control groups of a container; `None` for what has no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupBounds {
    /// Memory, bytes, in whole pages.
    pub(super) memory_bytes: Option<u64>,
    /// Processor time, thousandths of one core.
    pub(super) cpu_millis: Option<u64>,
    /// The number of processes and threads.
    pub(super) threads: Option<u64>,
}

/// Reads the bounds of the container whose first process on this machine is `pid`. `None` when its control
/// groups can't be seen from here.
pub(super) fn bounds(container: &str, pid: i64) -> Option<GroupBounds> {
    Counters {
        process: PathBuf::from(format!("/proc/{pid}")),
        groups: PathBuf::from("/sys/fs/cgroup"),
    }
    .bounds(container)
}

struct Counters {
    process: PathBuf,
    groups: PathBuf,
}

impl Counters {
    fn read(&self, container: &str) -> Option<Stats> {
        let listed = fs::read_to_string(self.process.join("cgroup")).ok()?;
        let (cpu_us, memory, pids) = match self.group(&listed, "memory", container) {
            Some(memory) => {
                let cpu = self.group(&listed, "cpuacct", container)?;
                let pids = self.group(&listed, "pids", container)?;
                (number(&cpu, "cpuacct.usage")? / 1_000, memory, pids)
            }
            None => {
                let group = self.group(&listed, "", container)?;
                (
                    named(&group, "cpu.stat", "usage_usec")?,
                    group.clone(),
                    group,
                )
            }
        };
        let usage = number(&memory, "memory.usage_in_bytes");
        let limit = number(&memory, "memory.limit_in_bytes");
        // The memory of files that the kernel keeps only as long as there is room.
        let droppable = named(&memory, "memory.stat", "total_inactive_file")
            .or_else(|| named(&memory, "memory.stat", "inactive_file"));
        let (received_bytes, sent_bytes) = self.network();
        Some(Stats {
            cpu_us,
            memory_bytes: usage
                .or_else(|| number(&memory, "memory.current"))?
                .saturating_sub(droppable.unwrap_or(0)),
            memory_limit_bytes: limit.or_else(|| number(&memory, "memory.max"))?,
            pids: number(&pids, "pids.current")?,
            received_bytes,
            sent_bytes,
        })
    }

    fn bound(&self, container: &str, memory_bytes: u64, pids: u64) -> Option<()> {
        let listed = fs::read_to_string(self.process.join("cgroup")).ok()?;
        let write = |group: &Path, file: &str, value: u64| {
            let file = group.join(file);
            // The file is never created: a missing file means that there is no control group.
            let open = fs::OpenOptions::new().write(true).open(file);
            open.and_then(|mut file| file.write_all(value.to_string().as_bytes()))
        };
        let Some(memory) = self.group(&listed, "memory", container) else {
            let group = self.group(&listed, "", container)?;
            write(&group, "pids.max", pids).ok()?;
            return write(&group, "memory.max", memory_bytes).ok();
        };
        let group = self.group(&listed, "pids", container)?;
        write(&group, "pids.max", pids).ok()?;
        // The limit of memory with swap is written first, because it can't be less than the limit of memory
        // alone. The write may fail, because a kernel may not count swap.
        let _ = write(&memory, "memory.memsw.limit_in_bytes", memory_bytes);
        write(&memory, "memory.limit_in_bytes", memory_bytes).ok()
    }

    fn bounds(&self, container: &str) -> Option<GroupBounds> {
        let listed = fs::read_to_string(self.process.join("cgroup")).ok()?;
        let Some(memory) = self.group(&listed, "memory", container) else {
            let group = self.group(&listed, "", container)?;
            return Some(GroupBounds {
                memory_bytes: least(&group, container, |it| limit(it, "memory.max"))?,
                cpu_millis: least(&group, container, share)?,
                threads: least(&group, container, |it| limit(it, "pids.max"))?,
            });
        };
        let cpu = self.group(&listed, "cpu", container)?;
        let pids = self.group(&listed, "pids", container)?;
        let memory_limit = |it: &Path| limit(it, "memory.limit_in_bytes");
        Some(GroupBounds {
            memory_bytes: least(&memory, container, memory_limit)?,
            cpu_millis: least(&cpu, container, quota)?,
            threads: least(&pids, container, |it| limit(it, "pids.max"))?,
        })
    }

    /// Returns the folder of the process's group under `controller`; in version 2, `controller` is "".
    fn group(&self, listed: &str, controller: &str, container: &str) -> Option<PathBuf> {
        let path = listed.lines().find_map(|line| {
            let (_, line) = line.split_once(':')?;
            let (controllers, path) = line.split_once(':')?;
            controllers
                .split(',')
                .any(|it| it == controller)
                .then_some(path)
        })?;
        // When a process has ended, another process can get its number. So the path has to name the
        // container.
        path.contains(container).then(|| {
            self.groups
                .join(controller)
                .join(path.trim_start_matches('/'))
        })
    }

    /// Returns the bytes received and sent over all interfaces but loopback.
    fn network(&self) -> (u64, u64) {
        let listed = fs::read_to_string(self.process.join("net/dev")).unwrap_or_default();
        let mut sums = (0_u64, 0_u64);
        for (name, counts) in listed.lines().filter_map(|line| line.split_once(':')) {
            let counts: Vec<u64> = counts
                .split_ascii_whitespace()
                .map_while(|count| count.parse().ok())
                .collect();
            if let (false, Some(received), Some(sent)) =
                (name.trim() == "lo", counts.first(), counts.get(8))
            {
                sums = (
                    sums.0.saturating_add(*received),
                    sums.1.saturating_add(*sent),
                );
            }
        }
        sums
    }
}

/// Returns the lowest bound of a group and of the groups above it that are the container's. `None` when one
/// of these groups can't be read.
fn least(
    group: &Path,
    container: &str,
    bound: impl Fn(&Path) -> Option<Option<u64>>,
) -> Option<Option<u64>> {
    let is_containers = |it: &&Path| it.to_string_lossy().contains(container);
    let mut least: Option<u64> = None;
    for group in group.ancestors().take_while(is_containers) {
        if let Some(found) = bound(group)? {
            least = Some(least.map_or(found, |least| least.min(found)));
        }
    }
    Some(least)
}

/// Reads the number in a file; `Some(None)` if the file says that there is no bound.
fn limit(group: &Path, file: &str) -> Option<Option<u64>> {
    let text = fs::read_to_string(group.join(file)).ok()?;
    match text.trim() {
        "max" => Some(None),
        number => number.parse().ok().map(Some),
    }
}

/// Reads the share of processor time in version 2, `quota period` in microseconds.
fn share(group: &Path) -> Option<Option<u64>> {
    let text = fs::read_to_string(group.join("cpu.max")).ok()?;
    match text.trim().split_once(' ')? {
        ("max", _) => Some(None),
        (quota, period) => Some(millis(quota.parse().ok()?, period.parse().ok()?)),
    }
}

/// Reads the share of processor time in version 1, where -1 is no bound.
fn quota(group: &Path) -> Option<Option<u64>> {
    let quota = fs::read_to_string(group.join("cpu.cfs_quota_us")).ok()?;
    let quota: i64 = quota.trim().parse().ok()?;
    match u64::try_from(quota) {
        Err(_unbounded) => Some(None),
        Ok(quota) => Some(millis(quota, number(group, "cpu.cfs_period_us")?)),
    }
}

fn millis(quota: u64, period: u64) -> Option<u64> {
    quota.checked_mul(1_000)?.checked_div(period)
}

fn number(group: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(group.join(file))
        .ok()?
        .trim()
        .parse()
        .ok()
}

fn named(group: &Path, file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(group.join(file)).ok()?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICES: &str = "Inter-|   Receive  |  Transmit\n face |bytes packets|bytes packets\n\
        lo: 900 1 0 0 0 0 0 0 900 1 0 0 0 0 0 0\n  eth0: 10 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n";

    const EXPECTED: Stats = Stats {
        cpu_us: 5,
        memory_bytes: 700,
        memory_limit_bytes: 4_096,
        pids: 3,
        received_bytes: 10,
        sent_bytes: 20,
    };

    fn lay(files: &[(&str, &str)]) -> (tempfile::TempDir, Counters) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files.iter().chain(&[("process/net/dev", DEVICES)]) {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let counters = Counters {
            process: folder.path().join("process"),
            groups: folder.path().join("groups"),
        };
        (folder, counters)
    }

    #[test]
    fn both_versions_of_control_groups_are_read() {
        let one = lay(&[
            (
                "process/cgroup",
                "4:memory:/e/abc\n2:cpu,cpuacct:/e/abc\n8:pids:/e/abc\n0::/\n",
            ),
            ("groups/memory/e/abc/memory.usage_in_bytes", "1000\n"),
            ("groups/memory/e/abc/memory.limit_in_bytes", "4096\n"),
            (
                "groups/memory/e/abc/memory.stat",
                "inactive_file 1\ntotal_inactive_file 300\n",
            ),
            ("groups/cpuacct/e/abc/cpuacct.usage", "5000\n"),
            ("groups/pids/e/abc/pids.current", "3\n"),
        ]);
        let two = lay(&[
            ("process/cgroup", "0::/system.slice/docker-abc.scope\n"),
            (
                "groups/system.slice/docker-abc.scope/memory.current",
                "1000\n",
            ),
            ("groups/system.slice/docker-abc.scope/memory.max", "4096\n"),
            (
                "groups/system.slice/docker-abc.scope/memory.stat",
                "anon 9\ninactive_file 300\n",
            ),
            (
                "groups/system.slice/docker-abc.scope/cpu.stat",
                "usage_usec 5\nuser_usec 4\n",
            ),
            ("groups/system.slice/docker-abc.scope/pids.current", "3\n"),
        ]);
        for (_folder, counters) in [one, two] {
            assert_eq!(counters.read("abc"), Some(EXPECTED));
            assert_eq!(counters.read("abd"), None, "another one's process");
        }
    }

    #[test]
    fn bounds_are_read_from_both_versions() {
        let one = [
            (
                "process/cgroup",
                "4:memory:/e/abc\n2:cpu,cpuacct:/e/abc\n8:pids:/e/abc\n0::/\n",
            ),
            ("groups/memory/e/abc/memory.limit_in_bytes", "4096\n"),
            ("groups/cpu/e/abc/cpu.cfs_quota_us", "50000\n"),
            ("groups/cpu/e/abc/cpu.cfs_period_us", "100000\n"),
            ("groups/pids/e/abc/pids.max", "77\n"),
        ];
        let two = [
            ("process/cgroup", "0::/docker-abc.scope/inner\n"),
            ("groups/docker-abc.scope/memory.max", "4096\n"),
            ("groups/docker-abc.scope/inner/memory.max", "max\n"),
            ("groups/docker-abc.scope/cpu.max", "50000 100000\n"),
            ("groups/docker-abc.scope/inner/cpu.max", "max 100000\n"),
            ("groups/docker-abc.scope/pids.max", "77\n"),
            ("groups/docker-abc.scope/inner/pids.max", "max\n"),
        ];
        let bounded = GroupBounds {
            memory_bytes: Some(4_096),
            cpu_millis: Some(500),
            threads: Some(77),
        };
        for files in [one.as_slice(), &two] {
            let (_folder, counters) = lay(files);
            assert_eq!(counters.bounds("abc"), Some(bounded));
            assert_eq!(counters.bounds("abd"), None, "another one's process");
        }
    }

    #[test]
    fn what_no_control_group_bounds_is_unbounded() {
        let (_folder, one) = lay(&[
            (
                "process/cgroup",
                "4:memory:/e/abc\n2:cpu:/e/abc\n8:pids:/e/abc\n0::/\n",
            ),
            (
                "groups/memory/e/abc/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
            ("groups/cpu/e/abc/cpu.cfs_quota_us", "-1\n"),
            ("groups/pids/e/abc/pids.max", "max\n"),
        ]);
        let bounded = one.bounds("abc").unwrap();
        assert_eq!((bounded.cpu_millis, bounded.threads), (None, None));
        let (_folder, two) = lay(&[
            ("process/cgroup", "0::/abc\n"),
            ("groups/abc/memory.max", "max\n"),
            ("groups/abc/cpu.max", "max 100000\n"),
            ("groups/abc/pids.max", "max\n"),
        ]);
        let nothing = GroupBounds {
            memory_bytes: None,
            cpu_millis: None,
            threads: None,
        };
        assert_eq!(two.bounds("abc"), Some(nothing));
    }

    #[test]
    fn both_versions_of_control_groups_are_bounded() {
        let (one, counters) = lay(&[
            ("process/cgroup", "4:memory:/e/abc\n8:pids:/e/abc\n0::/\n"),
            ("groups/memory/e/abc/memory.memsw.limit_in_bytes", "1"),
            ("groups/memory/e/abc/memory.limit_in_bytes", "1"),
            ("groups/pids/e/abc/pids.max", "max"),
        ]);
        assert_eq!(counters.bound("abd", 4_096, 100), None, "another's");
        assert_eq!(counters.bound("abc", 4_096, 100), Some(()));
        let said = |folder: &Path, file: &str| {
            fs::read_to_string(folder.join("groups").join(file)).unwrap()
        };
        for (file, expected) in [
            ("memory/e/abc/memory.memsw.limit_in_bytes", "4096"),
            ("memory/e/abc/memory.limit_in_bytes", "4096"),
            ("pids/e/abc/pids.max", "100"),
        ] {
            assert_eq!(said(one.path(), file), expected);
        }
        let (two, counters) = lay(&[
            ("process/cgroup", "0::/docker-abc.scope\n"),
            ("groups/docker-abc.scope/memory.max", "1"),
            ("groups/docker-abc.scope/pids.max", "max"),
        ]);
        assert_eq!(counters.bound("abc", 4_096, 100), Some(()));
        assert_eq!(said(two.path(), "docker-abc.scope/memory.max"), "4096");
        // A missing file is not created: it means that there is no control group.
        fs::remove_file(two.path().join("groups/docker-abc.scope/memory.max")).unwrap();
        assert_eq!(counters.bound("abc", 4_096, 100), None);
        assert!(
            !two.path()
                .join("groups/docker-abc.scope/memory.max")
                .exists()
        );
    }
}
