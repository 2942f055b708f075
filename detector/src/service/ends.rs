//! Where the partitions end, and whether there are new ones: asked beside the line.

use super::{Settings, Stop};
use crate::kafka::client::Trouble;
use crate::kafka::journal::{Offsets, Tp};
use crate::kafka::topics::Topics;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::{BTreeMap, BTreeSet};
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
    /// Partitions whose end was not told when it was asked for last, and since when.
    unknown: BTreeMap<Tp, Instant>,
}

impl Seen {
    /// Partitions whose end has not been known for `most` or longer.
    pub fn unknown_for(&self, most: Duration, now: Instant) -> Vec<Tp> {
        let is_long = |(_, since): &(&Tp, &Instant)| now.duration_since(**since) >= most;
        self.unknown.iter().filter(is_long).map(|(tp, _)| tp.clone()).collect()
    }

    fn told(&mut self, tp: &Tp, end: Option<i64>, now: Instant) {
        let Some(end) = end else {
            self.unknown.entry(tp.clone()).or_insert(now);
            return;
        };
        self.unknown.remove(tp);
        if self.ends.insert(tp.clone(), end).is_some_and(|before| before > end) {
            self.shrunk.insert(tp.clone());
        }
    }
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
                for tp in &known {
                    let end = topics.bounds(tp).ok().map(|(_, high)| high);
                    locked(&ends).told(tp, end, Instant::now());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_that_shrink_and_ends_that_nobody_tells_are_noted() {
        let tp = |partition| Tp { topic: "events".into(), partition };
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut seen = Seen::default();
        for (seconds, partition, end) in [
            (0, 0, Some(7)),
            (0, 1, None),
            (10, 0, Some(5)),
            (10, 1, None),
            (20, 2, None),
            (30, 2, Some(1)),
        ] {
            seen.told(&tp(partition), end, at(seconds));
        }
        assert_eq!(seen.shrunk, [tp(0)].into());
        assert_eq!(seen.ends, [(tp(0), 5), (tp(2), 1)].into());
        assert_eq!(seen.unknown_for(Duration::from_secs(60), at(59)), []);
        assert_eq!(seen.unknown_for(Duration::from_secs(60), at(60)), [tp(1)]);
    }
}
