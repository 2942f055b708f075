//! How much memory the process has, and how much of it lies in huge pages.

/// What Linux says of this process. Reading it looks at all its pages: some milliseconds for gigabytes.
const SMAPS: &str = "/proc/self/smaps_rollup";

/// Memory of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    /// What lies in RAM.
    pub resident_bytes: u64,
    /// Of it, what lies in huge pages.
    pub huge_bytes: u64,
}

impl Memory {
    /// This process's, as of now; `None` where the system does not say.
    pub fn now() -> Option<Self> {
        Self::parse(&std::fs::read_to_string(SMAPS).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let bytes = |field: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(field))?;
            let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
            kib.checked_mul(1024)
        };
        Some(Self { resident_bytes: bytes("Rss:")?, huge_bytes: bytes("AnonHugePages:")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_writes() {
        let text = "55b07000-7ffd8000 ---p 00000000 00:00 0    [rollup]\nRss:    1752 kB\nPss:     396 kB\nAnonHugePages:    1024 kB\nShmemPmdMapped:   0 kB\n";
        let memory = Memory { resident_bytes: 1752 * 1024, huge_bytes: 1024 * 1024 };
        assert_eq!(Memory::parse(text), Some(memory));
        for other in
            ["", "Rss: 1 kB\n", "Rss: x kB\nAnonHugePages: 0 kB\n", "Rss: 1\nAnonHugePages: 0 kB"]
        {
            assert_eq!(Memory::parse(other), None, "{other}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_some() {
        let memory = Memory::now().expect("Linux says it");
        assert!(memory.resident_bytes >= memory.huge_bytes && memory.resident_bytes > 100_000);
    }
}
