//! What has to be done for the metrics while nobody reads them.

use super::Telemetry;
use crate::health::Health;
use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How often.
const EVERY: Duration = Duration::from_secs(5);

/// Every so many times the process's memory is looked at, too: once a minute.
const MEMORY_EVERY: u32 = 12;

/// The thread that does it; it ends with this.
#[derive(Debug)]
pub struct Upkeep {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Upkeep {
    /// Starts it.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn start(telemetry: Telemetry, health: Arc<Health>) -> std::io::Result<Self> {
        let (stop, stopped) = bounded::<()>(0);
        let thread = std::thread::Builder::new().name("upkeep".into()).spawn(move || {
            telemetry.look_at_memory();
            let mut times = 0u32;
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                telemetry.upkeep(&health);
                times = times.wrapping_add(1);
                if times.is_multiple_of(MEMORY_EVERY) {
                    telemetry.look_at_memory();
                }
            }
            telemetry.upkeep(&health);
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
