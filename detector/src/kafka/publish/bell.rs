//! What wakes the publisher: outputs to publish, and acknowledgements. A channel's own wait turns for a while before it sleeps, which is too
//! much for one that is woken a thousand times a second.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Rings once, however often it is rung before somebody listens.
#[derive(Default)]
pub(super) struct Bell {
    rung: Mutex<bool>,
    listens: Condvar,
}

impl Bell {
    pub(super) fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.listens.notify_one();
    }

    /// Returns when it rings, or has rung since the last time, or after `most`.
    pub(super) fn wait(&self, most: Duration) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.listens.wait_timeout_while(rung, most, |rung| !*rung);
        let (mut rung, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *rung = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Instant;

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
}
