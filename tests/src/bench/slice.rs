//! How long a thread with a real-time policy keeps its core while others of its priority wait. The kernel's 100 ms are long here: a
//! request goes through five threads or so, and behind a backlog each of them would wait for so long.

use std::fs::{read_to_string, write};

const SETTING: &str = "/proc/sys/kernel/sched_rr_timeslice_ms";
const SHORT_MS: u32 = 4;

/// Ends with the slice that there was before.
pub struct Slice {
    before_ms: u32,
}

impl Slice {
    /// Shortens it, for everybody on this machine. None without a real-time policy, or where that is not allowed.
    pub fn shorten() -> Option<Self> {
        let (policy, _) = crate::process::policy("self")?;
        if policy != "rr" {
            return None;
        }
        let slice = Self { before_ms: Self::ms()? };
        write(SETTING, SHORT_MS.to_string()).ok()?;
        Some(slice)
    }

    /// What it is now.
    pub fn ms() -> Option<u32> {
        read_to_string(SETTING).ok()?.trim().parse().ok()
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        // It could be written before.
        let _ = write(SETTING, self.before_ms.to_string());
    }
}
