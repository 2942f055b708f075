//! How long a core was with none of what is measured: with the machine below it, the kernel, or whoever else works there. A thread on
//! each core, before everybody else by its priority, sleeps for a moment, and notes by how much it wakes too late.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const SLEEP: Duration = Duration::from_millis(2);
/// Less than this is what waking takes.
const LEAST: Duration = Duration::from_millis(1);

/// The threads.
pub struct Pauses {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Duration>>>,
}

impl Pauses {
    /// Begins. None without a real-time policy: there a thread wakes late for having no share of the core just then.
    pub fn watch() -> Option<Self> {
        let (policy, priority) = crate::process::policy("self")?;
        if policy != "rr" {
            return None;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let on = |core: u32| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                first_on(core, priority + 1);
                late(&stop)
            })
        };
        let threads = cores()?.into_iter().map(on).collect();
        Some(Self { stop, threads })
    }

    /// Ends: milliseconds of the longest pause of a core (`longest`) and of all together (`total`).
    pub fn ended(self) -> BTreeMap<&'static str, f64> {
        self.stop.store(true, SeqCst);
        let joined = |thread: JoinHandle<_>| thread.join().expect("it does not panic");
        let all: Vec<Duration> = self.threads.into_iter().flat_map(joined).collect();
        let ms = |pause: Duration| pause.as_secs_f64() * 1e3;
        let longest = all.iter().max().copied().unwrap_or_default();
        [("longest", ms(longest)), ("total", ms(all.iter().sum()))].into()
    }
}

/// The pauses that were noticed.
fn late(stop: &AtomicBool) -> Vec<Duration> {
    let mut pauses = Vec::new();
    while !stop.load(SeqCst) {
        let begun = Instant::now();
        std::thread::sleep(SLEEP);
        let late = begun.elapsed().saturating_sub(SLEEP);
        if late >= LEAST {
            pauses.push(late);
        }
    }
    pauses
}

/// Ties this thread to a core, with a priority under SCHED_RR.
fn first_on(core: u32, priority: u64) {
    let me = std::fs::read_link("/proc/thread-self").expect("/proc is there");
    let me = me.file_name().expect("it ends with a number").to_owned();
    let set = |command: &str, flags: &[&str], value: &str| {
        let mut command = Command::new(command);
        let status = command.args(flags).arg(value).arg(&me).stdout(Stdio::null()).status();
        assert!(status.is_ok_and(|s| s.success()), "{command:?} failed");
    };
    set("taskset", &["--cpu-list", "--pid"], &core.to_string());
    set("chrt", &["--rr", "--pid"], &priority.to_string());
}

/// The cores this process may use.
fn cores() -> Option<Vec<u32>> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    listed(status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?.trim())
}

/// `0-2,5`: 0, 1, 2, 5.
fn listed(list: &str) -> Option<Vec<u32>> {
    let mut cores = Vec::new();
    for part in list.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        cores.extend(from.parse::<u32>().ok()?..=to.parse().ok()?);
    }
    Some(cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_listed_as_the_kernel_writes_them() {
        for (list, cores) in [
            ("0", Some(vec![0])),
            ("0-1", Some(vec![0, 1])),
            ("0-2,5,8-9", Some(vec![0, 1, 2, 5, 8, 9])),
            ("", None),
            ("0-", None),
            ("a", None),
        ] {
            assert_eq!(listed(list), cores, "{list}");
        }
        let here = std::thread::available_parallelism().expect("it is known").get();
        assert!(cores().expect("Linux says").len() >= here);
    }

    #[test]
    fn pauses_of_all_cores_are_summed_up() {
        let stop = Arc::new(AtomicBool::new(false));
        let pauses = Pauses { stop: stop.clone(), threads: [3, 9].map(noticed).into() };
        assert_eq!(pauses.ended(), [("longest", 9.0), ("total", 12.0)].into());
        assert!(stop.load(SeqCst));
        assert!(late(&stop).is_empty());
    }

    fn noticed(ms: u64) -> JoinHandle<Vec<Duration>> {
        std::thread::spawn(move || vec![Duration::from_millis(ms)])
    }
}
