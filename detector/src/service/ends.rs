//! Where the partitions end, and whether there are new ones: asked beside the line.

use super::{Settings, Stop};
use crate::kafka::client::Trouble;
use crate::kafka::journal::{Offsets, Tp};
use crate::kafka::topics::Topics;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Where the partitions end, as far as is known.
pub type Ends = Arc<Mutex<Seen>>;

/// What was seen of the partitions' ends.
#[derive(Default)]
pub struct Seen {
    /// The offset after the last message of each.
    pub ends: Offsets,
    /// Partitions that ended earlier than before: messages were lost.
    pub shrunk: BTreeSet<Tp>,
}

/// What was seen, for a moment.
pub fn locked(ends: &Ends) -> MutexGuard<'_, Seen> {
    ends.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often their ends are asked for.
const ENDS_EVERY: Duration = Duration::from_secs(2);

/// Asks now and then whether there are new partitions, and where all of them end, by a thread of its own.
///
/// # Errors
/// When the client refuses, or no thread can be made.
pub fn watch(
    settings: &Settings,
    at: &Offsets,
    ends: &Ends,
    stop: &Stop,
) -> Result<Receiver<Offsets>, Trouble> {
    let (send, receive): (Sender<Offsets>, _) = bounded(1);
    let topics = Topics::new(&settings.kafka)?;
    let every = Duration::from_millis(settings.times.partitions_every_ms.max(1000) as u64);
    let mut known: Vec<Tp> = at.keys().cloned().collect();
    let (stop, ends) = (stop.clone(), ends.clone());
    let body = move || {
        let (mut asked, mut looked) = (Instant::now(), None::<Instant>);
        // A life that ended leaves its receiver.
        while !stop.asked() && Arc::strong_count(&ends) > 1 {
            if looked.is_none_or(|looked| looked.elapsed() > ENDS_EVERY) {
                looked = Some(Instant::now());
                let found =
                    known.iter().filter_map(|tp| Some((tp.clone(), topics.bounds(tp).ok()?.1)));
                let found: Offsets = found.collect();
                let mut seen = locked(&ends);
                for (tp, end) in found {
                    if seen.ends.insert(tp.clone(), end).is_some_and(|before| before > end) {
                        seen.shrunk.insert(tp);
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(100));
            if asked.elapsed() < every {
                continue;
            }
            asked = Instant::now();
            let Ok(now) = topics.inputs() else { continue };
            let mut new = Offsets::new();
            for tp in now {
                if !known.contains(&tp)
                    && let Ok((low, _)) = topics.bounds(&tp)
                {
                    known.push(tp.clone());
                    new.insert(tp, low);
                }
            }
            if !new.is_empty() && send.send(new).is_err() {
                return;
            }
        }
    };
    let thread = std::thread::Builder::new().name("partitions".into()).spawn(body);
    thread.map(|_| receive).map_err(|e| Trouble::Fatal(format!("cannot start a thread: {e}")))
}
