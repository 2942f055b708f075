//! Two detectors of one group, each behind proxies of its own, kept running as a service manager would.

use super::proxy::Proxy;
use crate::instance::{Instance, free_port};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often it is looked whether they run.
const LOOK: Duration = Duration::from_millis(50);
/// A process that ended is started again after this.
const AGAIN: Duration = Duration::from_millis(300);

/// The proxies and the clock of one detector.
pub struct Side {
    /// To Kafka.
    pub kafka: Proxy,
    /// To Redis.
    pub redis: Proxy,
    /// The file by which its clock is set.
    pub clock: PathBuf,
}

struct Slot {
    command: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    folder: PathBuf,
    log: PathBuf,
    /// How long the log was when the process was started.
    mark: u64,
    instance: Option<Instance>,
    again: Instant,
    /// Options of the next start only.
    options: Vec<&'static str>,
    /// It refused to start and waits for a person.
    refused: bool,
    stopped: bool,
    ending: bool,
}

#[derive(Default)]
struct Told {
    /// Why processes ended that nobody had ended, and how often.
    exits: BTreeMap<String, u32>,
    panics: Vec<String>,
}

struct Shared {
    slots: Mutex<Vec<Slot>>,
    told: Mutex<Told>,
    stop: AtomicBool,
}

/// Both.
pub struct Pair {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Pair {
    /// Keeps two processes of these commands running; each says what it says to its file.
    pub fn start(commands: Vec<(Command, PathBuf)>) -> Self {
        let slot = |(command, log): (Command, PathBuf)| Slot {
            command: std::iter::once(command.get_program())
                .chain(command.get_args())
                .map(Into::into)
                .collect(),
            env: command
                .get_envs()
                .filter_map(|(name, value)| Some((name.into(), value?.into())))
                .collect(),
            folder: command.get_current_dir().expect("it has a folder").into(),
            log,
            mark: 0,
            instance: None,
            again: Instant::now(),
            options: Vec::new(),
            refused: false,
            stopped: false,
            ending: false,
        };
        let slots = commands.into_iter().map(slot).collect();
        let shared = Arc::new(Shared {
            slots: Mutex::new(slots),
            told: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let watched = shared.clone();
        let thread = std::thread::spawn(move || {
            while !watched.stop.load(SeqCst) {
                watched.tend();
                std::thread::sleep(LOOK);
            }
        });
        Self { shared, thread: Some(thread) }
    }

    /// Which one is live, if one says so.
    pub fn live(&self) -> Option<usize> {
        let slots = self.shared.slots();
        slots.iter().position(|s| !s.stopped && s.state().as_deref() == Some("live"))
    }

    /// Whether both refuse to start and wait for a person.
    pub fn both_refuse(&self) -> bool {
        self.shared.slots().iter().all(|slot| slot.refused)
    }

    /// A person starts the first one with these options; the other one is started again as whoever keeps it running does.
    pub fn decide(&self, options: &[&'static str]) {
        let slot = &mut self.shared.slots()[0];
        (slot.refused, slot.again) = (false, Instant::now());
        slot.options = options.to_vec();
    }

    /// SIGKILL; it is started again after a moment.
    pub fn kill(&self, number: usize, pause: Duration) {
        let slot = &mut self.shared.slots()[number];
        if let Some(instance) = slot.instance.take() {
            instance.kill();
            (slot.again, slot.stopped) = (Instant::now() + pause, false);
        }
    }

    /// Sends a signal to one that runs.
    pub fn signal(&self, number: usize, name: &str) {
        let slot = &mut self.shared.slots()[number];
        if let Some(instance) = &mut slot.instance
            && instance.exit().is_none()
        {
            instance.signal(name);
            slot.stopped = name == "STOP";
            slot.ending = name == "TERM";
        }
    }

    /// Ends both in order, the one that is not live first; why that did not work, if so.
    pub fn end(&mut self) -> Result<(), String> {
        let live = self.live().unwrap_or(0);
        self.halt();
        let mut slots = self.shared.slots();
        for number in [1 - live, live] {
            let slot = &mut slots[number];
            let Some(instance) = &mut slot.instance else { continue };
            instance.signal("TERM");
            let until = Instant::now() + Duration::from_secs(120);
            loop {
                match instance.exit() {
                    Some(0) => break,
                    Some(code) => {
                        return Err(format!("SIGTERM: exit code {code}\n{}", instance.log()));
                    }
                    None if Instant::now() > until => {
                        return Err(format!("SIGTERM: it does not end\n{}", instance.log()));
                    }
                    None => std::thread::sleep(LOOK),
                }
            }
            slot.instance = None;
        }
        Ok(())
    }

    /// Writes a line into both logs.
    pub fn note(&self, text: &str) {
        for slot in self.shared.slots().iter() {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(&slot.log);
            writeln!(file.expect("a file can be made"), "=== {text}").expect("it can be written");
        }
    }

    /// Why processes ended that nobody had ended, and how often.
    pub fn exits(&self) -> BTreeMap<String, u32> {
        self.shared.told().exits.clone()
    }

    /// What was a mistake of the program.
    pub fn panics(&self) -> Vec<String> {
        self.shared.told().panics.clone()
    }

    /// The state of each, for a report.
    pub fn states(&self) -> Vec<String> {
        let slots = self.shared.slots();
        let state = |slot: &Slot| match (&slot.instance, slot.refused) {
            (_, true) => "refused".to_owned(),
            (None, _) => "down".to_owned(),
            (Some(_), _) => slot.state().unwrap_or_else(|| "silent".to_owned()),
        };
        slots.iter().map(state).collect()
    }

    fn halt(&mut self) {
        self.shared.stop.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.halt();
    }
}

impl Shared {
    fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tend(&self) {
        let mut slots = self.slots();
        // Who refuses waits for a person; once the other one is live, it is started again.
        if slots.iter().any(|slot| slot.refused)
            && slots.iter().any(|slot| slot.state().as_deref() == Some("live"))
        {
            for slot in slots.iter_mut().filter(|slot| slot.refused) {
                (slot.refused, slot.again) = (false, Instant::now() + AGAIN);
            }
        }
        slots.iter_mut().for_each(|slot| slot.tend(&self.told));
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn state(&self) -> Option<String> {
        self.instance.as_ref().and_then(Instance::state)
    }

    fn tend(&mut self, told: &Mutex<Told>) {
        if let Some(instance) = &mut self.instance {
            let Some(code) = instance.exit() else { return };
            self.instance = None;
            self.again = Instant::now() + AGAIN;
            let said = self.said();
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(line) = said.lines().find(|line| line.contains("panicked")) {
                told.panics.push(line.to_owned());
            }
            let asked = std::mem::take(&mut self.ending) && code == 0;
            if said.contains("`--cold` starts with an empty state") {
                self.refused = true;
            } else if !asked {
                let why = said.lines().rfind(|line| line.starts_with("error"));
                let why: String = why.unwrap_or("no word").chars().take(120).collect();
                *told.exits.entry(format!("{code}: {why}")).or_default() += 1;
            }
        }
        if !self.refused && Instant::now() >= self.again {
            self.mark = std::fs::metadata(&self.log).map_or(0, |m| m.len());
            let port = free_port();
            let mut command = Command::new(&self.command[0]);
            command
                .args(&self.command[1..])
                .args(std::mem::take(&mut self.options))
                .envs(self.env.iter().map(|(name, value)| (name, value)))
                .env("DETECTOR__HTTP__LISTEN", format!("127.0.0.1:{port}"))
                .current_dir(&self.folder);
            self.instance = Some(Instance::start(command, port, self.log.clone()));
        }
    }

    /// What the last process said.
    fn said(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes[(self.mark as usize).min(bytes.len())..]).into_owned()
    }
}

/// Sets a clock ahead of the true one, or behind it.
pub fn set_clock(file: &Path, ahead_ms: i64) {
    use std::os::unix::fs::FileExt;
    let now = ahead_ms.saturating_mul(1_000_000).to_ne_bytes();
    let file =
        std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(file);
    let file = file.expect("the clock's file can be opened");
    let mut before = [0; 8];
    // A file that is new has none.
    let _ = file.read_exact_at(&mut before, 0);
    let written = file.write_all_at(&before, 8).and_then(|()| file.write_all_at(&now, 0));
    written.expect("the clock's file can be written");
}
