//! A progress bar on a terminal, nothing on a pipe; and what a run cost.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Shows how far a file was read.
pub struct Progress {
    bar: ProgressBar,
    started: Instant,
}

impl Progress {
    /// A bar over `total` bytes, or a spinner when the length is unknown.
    pub fn bytes(what: &str, total: Option<u64>) -> Self {
        let style = |template: &str| {
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
        };
        let bar = match total {
            Some(total) => ProgressBar::new(total)
                .with_style(style("{msg} {wide_bar} {bytes}/{total_bytes} {eta} left")),
            None => {
                ProgressBar::new_spinner().with_style(style("{spinner} {msg} {bytes} {elapsed}"))
            }
        };
        bar.set_message(what.to_string());
        if !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self { bar, started: Instant::now() }
    }

    /// A bar over a number of things.
    pub fn count(what: &str, total: u64) -> Self {
        let progress = Self::bytes(what, Some(total));
        let style =
            ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {eta} left");
        progress.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        progress
    }

    /// Where it is now.
    pub fn set(&self, done: u64) {
        self.bar.set_position(done);
    }

    /// Takes the bar away; how long it took.
    pub fn finish(self) -> Duration {
        self.bar.finish_and_clear();
        self.started.elapsed()
    }

    /// A handle for another thread.
    pub fn handle(&self) -> ProgressBar {
        self.bar.clone()
    }
}

/// Peak memory of this process in bytes, where the system tells.
pub fn memory_peak_bytes() -> Option<u64> {
    proc_status("VmHWM:")
}

/// Memory of this process now, in bytes, where the system tells.
pub fn memory_now_bytes() -> Option<u64> {
    proc_status("VmRSS:")
}

fn proc_status(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kb| kb * 1024)
}

/// CPU time used by all threads of this process so far, where the system tells.
pub fn cpu_time() -> Option<Duration> {
    let stat_file = std::fs::read_to_string("/proc/self/stat").ok()?;
    let after = stat_file.rsplit(')').next()?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    // The kernel reports clock ticks of 1/100 s on every supported platform.
    Some(Duration::from_millis(ticks * 10))
}

/// 1234567 as `1,234,567`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, d) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(d);
    }
    out
}

/// Bytes as `12.3 MB`.
pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_grouped() {
        assert_eq!(super::grouped(0), "0");
        assert_eq!(super::grouped(999), "999");
        assert_eq!(super::grouped(1_234_567), "1,234,567");
        assert_eq!(super::grouped(100_000), "100,000");
    }
}
