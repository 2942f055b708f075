//! What wakes the line and the publisher: batches, outputs to publish, and acknowledgements. A channel's own wait turns for a while and
//! gives its turn up four times before it sleeps: too much for one that is woken a thousand times a second, and the kernel lets others go
//! before one that gave its turn up.

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Rings once, however often it is rung before somebody listens.
#[derive(Default)]
pub(super) struct Bell {
    rung: Mutex<bool>,
    listens: Condvar,
}

impl Bell {
    /// One listens at most; who was woken and has not listened yet is not woken again.
    pub(super) fn ring(&self) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let was_rung = std::mem::replace(&mut *rung, true);
        drop(rung);
        if !was_rung {
            self.listens.notify_one();
        }
    }

    /// Returns when it rings, or has rung since the last time, or after `most`.
    pub(super) fn wait(&self, most: Duration) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.listens.wait_timeout_while(rung, most, |rung| !*rung);
        let (mut rung, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *rung = false;
    }
}

/// The next one of a channel whose senders ring after they sent, and when they end ([`RingsAtEnd`]).
///
/// # Errors
/// As the channel's own: nothing came until then, or nobody sends any more.
pub(super) fn receive<T>(
    from: &Receiver<T>,
    bell: &Bell,
    until: Instant,
) -> Result<T, RecvTimeoutError> {
    loop {
        match from.try_recv() {
            Ok(received) => return Ok(received),
            Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
            Err(TryRecvError::Empty) => {}
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(RecvTimeoutError::Timeout);
        }
        bell.wait(left);
    }
}

/// Rings when it is dropped. Behind a sender in a structure: who listens sees that nobody sends any more.
pub(super) struct RingsAtEnd(pub(super) Arc<Bell>);

impl RingsAtEnd {
    pub(super) fn ring(&self) {
        self.0.ring();
    }
}

impl Drop for RingsAtEnd {
    fn drop(&mut self) {
        self.0.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::{Sender, bounded};

    #[test]
    fn a_ring_is_heard_once_whenever_it_came() {
        let (long, bell) = (Duration::from_secs(600), Arc::new(Bell::default()));
        bell.ring();
        bell.ring();
        bell.wait(long);
        let (begun, short) = (Instant::now(), Duration::from_millis(20));
        bell.wait(short);
        assert!(begun.elapsed() >= short);
        let rings = bell.clone();
        let other = std::thread::spawn(move || rings.ring());
        bell.wait(long);
        other.join().expect("it rang");
    }

    #[test]
    fn what_is_sent_is_received_until_nobody_sends_any_more() {
        struct To(Sender<u8>, RingsAtEnd);
        let (bell, (send, from)) = (Arc::new(Bell::default()), bounded(4));
        let to = To(send, RingsAtEnd(bell.clone()));
        let soon = || Instant::now() + Duration::from_millis(20);
        let late = Instant::now() + Duration::from_secs(600);
        assert_eq!(receive(&from, &bell, soon()), Err(RecvTimeoutError::Timeout));
        let other = std::thread::spawn(move || {
            for n in [1, 2] {
                to.0.send(n).expect("somebody listens");
                to.1.ring();
            }
            // Long enough for the end to come when somebody waits for more.
            std::thread::sleep(Duration::from_millis(20));
        });
        assert_eq!(receive(&from, &bell, late), Ok(1));
        assert_eq!(receive(&from, &bell, late), Ok(2));
        assert_eq!(receive(&from, &bell, late), Err(RecvTimeoutError::Disconnected));
        other.join().expect("it sent");
        // A ring for what was received already is no end of the waiting.
        bell.ring();
        let (_still, none) = bounded::<u8>(1);
        let begun = Instant::now();
        assert_eq!(receive(&none, &bell, soon()), Err(RecvTimeoutError::Timeout));
        assert!(begun.elapsed() >= Duration::from_millis(19));
    }
}
