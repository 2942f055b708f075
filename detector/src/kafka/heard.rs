//! What a client said went wrong. Calls only say that they took too long; why is in what the client says by itself.

use super::client::hint;
use super::outcome::Outcome;
use rdkafka::error::RDKafkaErrorCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Different reasons kept; older ones are dropped.
const REASONS_MAX: usize = 4;
/// Different reasons that are known to have been logged.
const LOGGED_MAX: usize = 32;
/// A reason that comes again is logged again after this.
const LOG_AGAIN: Duration = Duration::from_secs(10);

/// The last different reasons, oldest first.
#[derive(Debug, Default)]
pub struct Heard {
    reasons: Mutex<Vec<(Option<RDKafkaErrorCode>, String)>>,
    served: AtomicBool,
    repeated: Mutex<Vec<Repeated>>,
}

/// A reason that was logged.
#[derive(Debug)]
struct Repeated {
    reason: String,
    logged: Instant,
    /// How often it came since.
    since: u64,
}

impl Heard {
    /// Notes a reason.
    pub fn failed(&self, code: Option<RDKafkaErrorCode>, reason: &str) {
        // That all are down is what follows from the reasons.
        if code == Some(RDKafkaErrorCode::AllBrokersDown) {
            return;
        }
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = without_times(reason);
        reasons.retain(|(_, known)| *known != reason);
        if reasons.len() == REASONS_MAX {
            reasons.remove(0);
        }
        reasons.push((code, reason));
    }

    /// Whether a reason is to be logged now, and how often it came since it was last: a client that retries says the same hundreds of times.
    pub fn is_to_be_logged(&self, reason: &str, now: Instant) -> Option<u64> {
        let mut repeated = self.repeated.lock().unwrap_or_else(PoisonError::into_inner);
        let reason = without_times(reason);
        if let Some(known) = repeated.iter_mut().find(|known| known.reason == reason) {
            if now.duration_since(known.logged) < LOG_AGAIN {
                known.since += 1;
                return None;
            }
            known.logged = now;
            return Some(std::mem::take(&mut known.since));
        }
        if repeated.len() == LOGGED_MAX {
            repeated.remove(0);
        }
        repeated.push(Repeated { reason, logged: now, since: 0 });
        Some(0)
    }

    /// Forgets them: what comes now is new.
    pub fn forget(&self) {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// A reason that trying again does not change: credentials, certificates, rights.
    pub fn refusal(&self) -> Option<String> {
        let reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        reasons.iter().rev().find_map(|(code, reason)| {
            let code = (*code)?;
            let is_final = Outcome::of_reported(code, reason) == Outcome::Refused;
            is_final.then(|| format!("{reason}{}", hint(code).unwrap_or_default()))
        })
    }

    /// All reasons, on lines of their own; empty when there are none.
    pub fn said(&self) -> String {
        let reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        reasons.iter().map(|(_, reason)| format!("\n  {reason}")).collect()
    }

    /// The client has asked for its first token.
    pub fn token_served(&self) {
        self.served.store(true, Ordering::Relaxed);
    }

    /// Whether the client has asked for its first token.
    pub fn has_served_token(&self) -> bool {
        self.served.load(Ordering::Relaxed)
    }
}

/// A reason without how long it took and how often it came, so that the same is the same.
fn without_times(reason: &str) -> String {
    match reason.rsplit_once(" (after ") {
        Some((said, _)) => said.to_owned(),
        None => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_different_reasons_are_kept() {
        let heard = Heard::default();
        for i in 0..9 {
            let reason = format!("host {i}: refused (after 0ms in state CONNECT, {i} suppressed)");
            heard.failed(Some(RDKafkaErrorCode::BrokerTransportFailure), &reason);
            heard.failed(Some(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
            heard.failed(Some(RDKafkaErrorCode::BrokerTransportFailure), &reason);
        }
        assert_eq!(heard.said().lines().count(), 1 + REASONS_MAX, "{}", heard.said());
        assert!(heard.said().ends_with("host 8: refused"), "{}", heard.said());
        assert_eq!(heard.refusal(), None);
        let broke = "SASL handshake failed: Local: Broker transport failure";
        heard.failed(Some(RDKafkaErrorCode::Authentication), broke);
        assert_eq!(heard.refusal(), None);
        heard.failed(Some(RDKafkaErrorCode::Authentication), "no such user");
        let refusal = heard.refusal().unwrap();
        assert!(refusal.starts_with("no such user") && refusal.contains("hint:"), "{refusal}");
        heard.forget();
        for code in [
            RDKafkaErrorCode::GroupAuthorizationFailed,
            RDKafkaErrorCode::ClusterAuthorizationFailed,
            RDKafkaErrorCode::TransactionalIdAuthorizationFailed,
        ] {
            heard.failed(Some(code), "not allowed");
            let refusal = heard.refusal().expect("a person is needed");
            assert!(refusal.contains("hint:"), "{code:?}: {refusal}");
            heard.forget();
        }
        heard.forget();
        assert_eq!((heard.refusal(), heard.said()), (None, String::new()));
    }

    #[test]
    fn a_reason_that_comes_again_is_logged_every_ten_seconds_with_its_count() {
        let heard = Heard::default();
        let begun = Instant::now();
        let say = |reason: &str, ms: u64| {
            heard.is_to_be_logged(reason, begun + Duration::from_millis(ms))
        };
        let down = |n: u32| format!("host 1: refused (after {n}ms in state CONNECT)");
        assert_eq!(say(&down(0), 0), Some(0));
        for n in 1..=300 {
            assert_eq!(say(&down(n), u64::from(n) * 30), None, "{n}");
        }
        assert_eq!(say("host 2: refused", 9_500), Some(0), "another one");
        assert_eq!(say(&down(1), 10_000), Some(300));
        assert_eq!(say(&down(2), 10_001), None);
        for n in 0..LOGGED_MAX {
            assert_eq!(say(&format!("host x{n}"), 10_002), Some(0));
        }
        assert_eq!(say(&down(3), 10_003), Some(0), "too many others came since");
    }
}
