//! Signs of life from the claim on, by a thread and a connection of their own: neither a long load nor a long checkpoint makes a
//! standby believe that nobody is there.

use crate::store::redis::{Heart, Shards};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The beating heart; it stops when this is dropped.
pub struct Pulse {
    stop: Arc<AtomicBool>,
    lost: Arc<AtomicBool>,
    read: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pulse {
    /// Beats at once, and four times within `ttl` from then on.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn start<S: Shards + Send + 'static>(
        mut heart: Heart<S>,
        ttl: Duration,
    ) -> std::io::Result<Self> {
        let (stop, lost) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let read = Arc::new(AtomicBool::new(false));
        let (stopped, gone, is_read) = (stop.clone(), lost.clone(), read.clone());
        let body = move || {
            let mut last: Option<Instant> = None;
            while !stopped.load(Ordering::Relaxed) {
                if last.is_none_or(|last| last.elapsed() >= ttl / 4) {
                    last = Some(Instant::now());
                    match heart.heartbeat(ttl) {
                        Ok(()) => {
                            let reading = heart.is_being_read().unwrap_or(false);
                            is_read.store(reading, Ordering::Relaxed);
                        }
                        // Redis is away: a checkpoint will say so, and standbys cannot ask either.
                        Err(error) if error.is_unavailable() => {}
                        Err(error) => {
                            tracing::warn!("{error}");
                            gone.store(true, Ordering::Relaxed);
                            return;
                        }
                    }
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        let thread = std::thread::Builder::new().name("pulse".into()).spawn(body)?;
        Ok(Self { stop, lost, read, thread: Some(thread) })
    }

    /// Whether a standby reads the state and asks to let its checkpoint be.
    pub fn is_being_read(&self) -> bool {
        self.read.load(Ordering::Relaxed)
    }

    /// Whether another instance has claimed.
    pub fn lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
