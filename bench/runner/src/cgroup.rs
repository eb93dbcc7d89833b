//! A control group that gives a process the share of a processor that Lambda gives at a memory size.

use std::{
    fs, io,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

/// The memory size, in MB, at which Lambda gives one whole processor.
const ONE_CPU_MB: u32 = 1769;
const PERIOD_US: u32 = 20_000;
/// How many were made, for a unique name.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A control group with a quota, removed when it is dropped.
pub(crate) struct Quota(PathBuf);

impl Quota {
    /// The share of a function with `memory_mb`; an error if this user or system cannot set one.
    pub(crate) fn of_memory(memory_mb: u32) -> io::Result<Self> {
        let quota_us = PERIOD_US * memory_mb / ONE_CPU_MB;
        let name = format!("hub-bench-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let (unified, v1) = (PathBuf::from("/sys/fs/cgroup"), PathBuf::from("/sys/fs/cgroup/cpu"));
        let quota = if v1.is_dir() { Self(v1.join(name)) } else { Self(unified.join(name)) };
        fs::create_dir(&quota.0)?;
        if quota.0.join("cpu.max").exists() {
            fs::write(quota.0.join("cpu.max"), format!("{quota_us} {PERIOD_US}"))?;
        } else {
            fs::write(quota.0.join("cpu.cfs_period_us"), PERIOD_US.to_string())?;
            fs::write(quota.0.join("cpu.cfs_quota_us"), quota_us.to_string())?;
        }
        Ok(quota)
    }

    /// Applies the quota to a process from now on.
    pub(crate) fn hold(&self, pid: u32) -> io::Result<()> {
        fs::write(self.0.join("cgroup.procs"), pid.to_string())
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // Impossible while it has a process: the caller ends that first.
        if let Err(error) = fs::remove_dir(&self.0) {
            eprintln!("remove {} by hand: {error}", self.0.display());
        }
    }
}
