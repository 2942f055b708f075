//! Signs of life: how standbys notice that the owner is gone. Safety never rests on them.

use super::call::{Call, Reply};
use super::error::RedisStoreError;
use super::protocol::Owner;
use super::shards::Shards;
use super::store::{Store, lost};
use std::time::{Duration, Instant};

impl<S: Shards> Store<S> {
    /// Says that the owner lives for another `ttl`. Call it every third of that. One round trip.
    ///
    /// # Errors
    /// `Lost` when another process has claimed.
    pub fn heartbeat(&mut self, ttl: Duration) -> Result<(), RedisStoreError> {
        self.beat("heartbeat", ms(ttl))
    }

    /// Gives up the sign of life, so that a standby takes over at once; the claim stays until it does.
    ///
    /// # Errors
    /// As [`Store::heartbeat`].
    pub fn release(&mut self) -> Result<(), RedisStoreError> {
        self.beat("release", 0)
    }

    /// An owner's last sign of life, if it has not run out by Redis's clock: each is another one. One round trip; claims nothing.
    ///
    /// # Errors
    /// When Redis cannot be asked, which says nothing about the owner.
    pub fn sign_of_life(&mut self) -> Result<Option<String>, RedisStoreError> {
        self.shards.alive().map_err(|e| RedisStoreError::from_call("heartbeat", e))
    }

    /// Publishes the field table of a layout at `det:layout:<hash>`, for other readers. One round trip.
    ///
    /// # Errors
    /// When it was not written.
    pub fn publish_layout(&mut self, hash: &str, json: &str) -> Result<(), RedisStoreError> {
        self.shards
            .publish_layout(hash, json)
            .map_err(|e| RedisStoreError::from_call("publish layout", e))
    }

    /// For a standby, before it reads the state: asks the owner to write no new checkpoint over the one that is read, for `ttl` at
    /// most. [`Store::has_read`] takes it back. One round trip; claims nothing.
    ///
    /// # Errors
    /// When it was not written.
    pub fn will_read(&mut self, ttl: Duration) -> Result<(), RedisStoreError> {
        let set = self.shards.set_reading(ms(ttl));
        set.map_err(|e| RedisStoreError::from_call("read as a standby", e))
    }

    /// As [`Store::will_read`].
    ///
    /// # Errors
    /// When it was not written.
    pub fn has_read(&mut self) -> Result<(), RedisStoreError> {
        let set = self.shards.set_reading(0);
        set.map_err(|e| RedisStoreError::from_call("read as a standby", e))
    }

    /// The field table of a layout, if it was published. One round trip.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn layout(&mut self, hash: &str) -> Result<Option<String>, RedisStoreError> {
        self.shards.layout(hash).map_err(|e| RedisStoreError::from_call("read a layout", e))
    }

    /// A heart for the lease that is held, on a connection of its own, so that it can beat on another thread while
    /// a checkpoint is written.
    ///
    /// # Errors
    /// Before the claim.
    pub fn heart<T: Shards>(&self, shards: T) -> Result<Heart<T>, RedisStoreError> {
        let lease = self.held("heartbeat")?;
        Ok(Heart { shards, epoch: lease.epoch, owner: lease.owner })
    }

    fn beat(&mut self, what: &'static str, ttl_ms: u64) -> Result<(), RedisStoreError> {
        let lease = self.held(what)?;
        let (epoch, owner) = (lease.epoch, lease.owner);
        beat(&mut self.shards, what, Call::Beat { epoch, owner, ttl_ms })
    }
}

/// Judges signs of life by a clock of its own: Redis's may be set back after a sign was given, which then holds for that much longer.
#[derive(Debug, Default)]
pub struct Watch {
    last: Option<(String, Instant)>,
}

impl Watch {
    /// Whether an owner lives that gave `sign`, seen `now`; not when it is the same for longer than `longest`.
    pub fn is_alive(&mut self, sign: Option<String>, now: Instant, longest: Duration) -> bool {
        let Some(sign) = sign else {
            self.last = None;
            return false;
        };
        match &self.last {
            Some((last, since)) if *last == sign => now.duration_since(*since) <= longest,
            _ => {
                self.last = Some((sign, now));
                true
            }
        }
    }
}

/// The owner's sign of life, apart from the store.
pub struct Heart<T> {
    shards: T,
    epoch: u32,
    owner: Owner,
}

impl<T: Shards> Heart<T> {
    /// As [`Store::heartbeat`].
    ///
    /// # Errors
    /// `Lost` when another process has claimed.
    pub fn heartbeat(&mut self, ttl: Duration) -> Result<(), RedisStoreError> {
        let (epoch, owner) = (self.epoch, self.owner);
        beat(&mut self.shards, "heartbeat", Call::Beat { epoch, owner, ttl_ms: ms(ttl) })
    }
}

impl<T: Shards> Heart<T> {
    /// Whether a standby reads the state now.
    ///
    /// # Errors
    /// When Redis cannot be asked.
    pub fn is_being_read(&mut self) -> Result<bool, RedisStoreError> {
        self.shards.reading().map_err(|e| RedisStoreError::from_call("heartbeat", e))
    }
}

/// Zero would take the sign away.
fn ms(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX >> 1).max(1)
}

fn beat(shards: &mut impl Shards, what: &str, call: Call) -> Result<(), RedisStoreError> {
    match shards.call(0, &call) {
        Ok(Reply::Done) => Ok(()),
        Ok(_) => Err(lost(0, what)),
        Err(why) => Err(RedisStoreError::from_call(what, why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_that_stays_the_same_is_none_after_a_while() {
        let (mut watch, begun) = (Watch::default(), Instant::now());
        let mut is_alive = |sign: Option<&str>, after_s: u64| {
            let now = begun + Duration::from_secs(after_s);
            watch.is_alive(sign.map(str::to_owned), now, Duration::from_secs(10))
        };
        assert!(!is_alive(None, 0));
        assert!(is_alive(Some("a1"), 1) && is_alive(Some("a1"), 11));
        assert!(!is_alive(Some("a1"), 12));
        assert!(is_alive(Some("a2"), 13) && is_alive(Some("a2"), 23));
        assert!(!is_alive(Some("a2"), 24) && !is_alive(None, 25));
        assert!(is_alive(Some("a2"), 26));
    }
}
