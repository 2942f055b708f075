//! Checkpoints, by a thread of their own: Redis never keeps an event waiting.

use super::copies::{Copied, Copies};
use super::names;
use super::pace::Pace;
use super::position::{Detail, position};
use crate::kafka::journal::Offsets;
use crate::kafka::publish::Committed;
use crate::store::redis::{RedisStoreError, Shards, Store};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// While events come, Redis gets a fifth of a core at most for checkpoints: so many times the work is rest.
const REST_PER_WORK: u32 = 4;

/// One checkpoint to be written.
pub struct Job {
    /// Everything that changed since the last one.
    pub records: Copies,
    /// How far the inputs were taken.
    pub at: Offsets,
    /// Comes when the outputs of everything before are committed.
    pub outputs: Receiver<Committed>,
    /// What is said of the state.
    pub detail: Detail,
}

/// What became of a checkpoint, or of the lease.
#[derive(Debug)]
pub enum Outcome {
    /// It is durable as far as Redis can say.
    Done {
        /// How long it took, rests among it.
        took: Duration,
        /// Records written.
        records: u64,
        /// Bytes of their values.
        bytes: u64,
        /// Another one would remove what nobody needs any more, even if nothing changes.
        untidy: bool,
        /// Memory for the next one.
        spare: Copies,
    },
    /// Redis cannot be used now; it is tried again.
    Waiting(String),
    /// The lease is gone or the store is of no use any more.
    Failed(RedisStoreError),
}

/// The running thread.
pub struct Checkpoints {
    jobs: Option<Sender<Job>>,
    /// What became of things.
    pub out: Receiver<Outcome>,
    orderly: Arc<AtomicBool>,
    hurry: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// Starts with a store that has a base. `unread`: its records were not read by this process, whose state came by another
    /// way; they are looked at before the first checkpoint, which has to put in order what an abandoned one left.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn start<S: Shards + Send + 'static>(
        mut store: Store<S>,
        unread: bool,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = bounded(1);
        let (send, out) = bounded(64);
        let orderly = Arc::new(AtomicBool::new(false));
        let hurry = Arc::new(AtomicBool::new(false));
        let pace = Pace::new(REST_PER_WORK, hurry.clone());
        let rests = pace.clone();
        store.rest_by(Box::new(move || rests.step()));
        let mut work = Work { store, send, unread, orderly: orderly.clone(), pace };
        let thread = std::thread::Builder::new()
            .name("checkpoints".into())
            .spawn(move || work.run(&queue))?;
        Ok(Self { jobs: Some(jobs), out, orderly, hurry, thread: Some(thread) })
    }

    /// Hands a checkpoint over. Only one at a time is under way.
    pub fn write(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(job);
        }
    }

    /// Whether somebody waits for a checkpoint: then it is written without a rest.
    pub fn hurry(&self, is_waited_for: bool) {
        self.hurry.store(is_waited_for, Ordering::Relaxed);
    }
}

impl Checkpoints {
    /// Ends in order: the sign of life is given up, and a standby takes over at once.
    pub fn end(self) {
        self.orderly.store(true, Ordering::Relaxed);
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.jobs = None;
        self.hurry(true);
        let (_, closed) = bounded(0);
        self.out = closed;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Work<S> {
    store: Store<S>,
    send: Sender<Outcome>,
    unread: bool,
    orderly: Arc<AtomicBool>,
    pace: Pace,
}

impl<S: Shards> Work<S> {
    fn run(&mut self, queue: &Receiver<Job>) {
        while let Ok(job) = queue.recv() {
            if !self.write(job) {
                return;
            }
        }
        // An orderly end; after anything else the sign of life runs out by itself.
        if self.orderly.load(Ordering::Relaxed) {
            let _ = self.store.release();
        }
    }

    /// False: the lease is gone, or nobody waits any more.
    fn write(&mut self, job: Job) -> bool {
        // The publisher says by itself why it did not commit.
        let Ok(outputs) = job.outputs.recv() else { return false };
        let older_to_go = job.detail.older_to_go;
        let position = position(&job.at, &outputs, job.detail);
        let begun = Instant::now();
        self.pace.begin();
        let newest = job.records.newest(|| self.pace.step());
        let looked_up = begun.elapsed();
        let count = newest.len() as u64;
        let bytes =
            newest.iter().filter_map(|copied| copied.value).map(|v| v.len() as u64).sum::<u64>();
        let mut pause = Duration::from_millis(100);
        let _span = tracing::info_span!("checkpoint", records = count, bytes).entered();
        loop {
            let read = match self.unread {
                true => self.store.load(|_, _| Ok(()), |_| {}).map(|_| self.unread = false),
                false => Ok(()),
            };
            let begun = Instant::now();
            self.pace.begin();
            let record = |copied: &Copied<'_>| {
                (names::of_store(&copied.name()), copied.value.map(<[u8]>::to_vec))
            };
            let records = newest.iter().map(record);
            let written = read.and_then(|()| self.store.checkpoint(&position, records));
            match written {
                Ok(_) => {
                    let took = looked_up + begun.elapsed();
                    if older_to_go {
                        let names = newest.iter().map(|copied| names::of_store(&copied.name()));
                        self.store.keep_one_version(names);
                    }
                    let untidy = self.store.is_untidy();
                    let mut spare = job.records;
                    spare.clear();
                    let done = Outcome::Done { took, records: count, bytes, untidy, spare };
                    return self.send.send(done).is_ok();
                }
                Err(error) if error.is_lost() || !error.is_unavailable() => {
                    let _ = self.send.send(Outcome::Failed(error));
                    return false;
                }
                Err(error) => {
                    if self.send.send(Outcome::Waiting(error.to_string())).is_err() {
                        return false;
                    }
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_secs(2));
                }
            }
        }
    }
}
