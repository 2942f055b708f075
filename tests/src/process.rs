//! What the kernel says of a process.

use std::fs::read_to_string;

/// The kernel's ticks of CPU time per second, as `/proc` counts them on every Linux of these days.
const TICKS: f64 = 100.0;

/// Memory of a process that is in use now.
pub fn resident_bytes(id: u32) -> Option<u64> {
    let text = read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = text.lines().find(|line| line.starts_with("VmRSS"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
}

/// CPU time of a process so far.
pub fn cpu_seconds(id: u32) -> Option<f64> {
    let ticks = |number| field(&id.to_string(), number);
    Some((ticks(14)? + ticks(15)?) as f64 / TICKS)
}

/// The policy by which a process (`self`, `12`) or a thread of it (`12/task/14`) gets cores, and its priority under a real-time one (1 is the
/// lowest; else 0). Both are handed down to what is started. None if it has ended.
pub fn policy(task: &str) -> Option<(&'static str, u64)> {
    let name = match field(task, 41)? {
        0 => "other",
        1 => "fifo",
        2 => "rr",
        3 => "batch",
        5 => "idle",
        _ => "unknown",
    };
    Some((name, field(task, 40)?))
}

/// A field of `/proc/TASK/stat`, counted as in proc(5).
fn field(task: &str, number: usize) -> Option<u64> {
    let text = read_to_string(format!("/proc/{task}/stat")).ok()?;
    // Its name, the second field, may have spaces and parentheses.
    text.rsplit(')').next()?.split_whitespace().nth(number - 3)?.parse().ok()
}
