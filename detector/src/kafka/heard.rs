//! What a client said went wrong. Calls only say that they took too long; why is in what the client says by itself.

use super::client::hint;
use rdkafka::error::RDKafkaErrorCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// Different reasons kept; older ones are dropped.
const REASONS_MAX: usize = 4;

/// The last different reasons, oldest first.
#[derive(Debug, Default)]
pub struct Heard {
    reasons: Mutex<Vec<(Option<RDKafkaErrorCode>, String)>>,
    served: AtomicBool,
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

    /// Forgets them: what comes now is new.
    pub fn forget(&self) {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// A reason that trying again does not change: credentials, certificates.
    pub fn refusal(&self) -> Option<String> {
        let reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        reasons.iter().rev().find_map(|(code, reason)| {
            let code = (*code)?;
            let final_ = matches!(
                code,
                RDKafkaErrorCode::Authentication
                    | RDKafkaErrorCode::SaslAuthenticationFailed
                    | RDKafkaErrorCode::UnsupportedSASLMechanism
                    | RDKafkaErrorCode::SSL
            );
            // A connection that broke while somebody was being let in.
            let broke = reason.contains("Broker transport failure") || reason.contains("Timed out");
            (final_ && !broke).then(|| format!("{reason}{}", hint(code).unwrap_or_default()))
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
        assert_eq!((heard.refusal(), heard.said()), (None, String::new()));
    }
}
