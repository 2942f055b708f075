//! Numbers that were answered. Schemas and refusals have bounds of their own, so that no flood of unknown numbers forgets a schema.

use super::Schema;
use engine::wire::Reject;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Schemas that are kept, and bytes of their texts; at the cap, the one goes that was not met for longest.
const SCHEMAS_MAX: usize = 1000;
const TEXT_BYTES_MAX: usize = 64 << 20;
/// Numbers without a schema that are kept; at the cap, the older half goes.
const REFUSED_MAX: usize = 10_000;
/// A number without a schema is asked for again after this.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// What is known of a number.
#[derive(Clone)]
pub(super) enum Found {
    Schema(Arc<Schema>),
    Not(Reject),
}

struct Kept {
    schema: Arc<Schema>,
    bytes: usize,
    met: u64,
}

#[derive(Default)]
pub(super) struct Known {
    schemas: HashMap<u32, Kept>,
    bytes: usize,
    refused: HashMap<u32, (Reject, Instant)>,
    met: u64,
}

impl Known {
    /// What is known of a number; a refusal counts for a while only.
    pub(super) fn find(&mut self, number: u32, now: Instant) -> Option<Found> {
        if let Some(kept) = self.schemas.get_mut(&number) {
            self.met += 1;
            kept.met = self.met;
            return Some(Found::Schema(kept.schema.clone()));
        }
        let (reject, since) = self.refused.get(&number)?;
        (now.duration_since(*since) <= REFUSED_FOR).then(|| Found::Not(reject.clone()))
    }

    pub(super) fn schema(&mut self, number: u32, schema: Schema, bytes: usize) {
        self.refused.remove(&number);
        while self.schemas.len() >= SCHEMAS_MAX || self.bytes + bytes > TEXT_BYTES_MAX {
            let oldest = self.schemas.iter().min_by_key(|(_, kept)| kept.met).map(|(n, _)| *n);
            let Some(gone) = oldest.and_then(|number| self.schemas.remove(&number)) else { break };
            self.bytes -= gone.bytes;
        }
        self.met += 1;
        self.bytes += bytes;
        let kept = Kept { schema: Arc::new(schema), bytes, met: self.met };
        if let Some(before) = self.schemas.insert(number, kept) {
            self.bytes -= before.bytes;
        }
    }

    /// True: it was not refused before.
    pub(super) fn refuse(&mut self, number: u32, reject: Reject, now: Instant) -> bool {
        if self.refused.len() >= REFUSED_MAX && !self.refused.contains_key(&number) {
            let mut since: Vec<Instant> = self.refused.values().map(|(_, since)| *since).collect();
            let (_, middle, _) = since.select_nth_unstable(REFUSED_MAX / 2);
            let middle = *middle;
            self.refused.retain(|_, (_, since)| *since > middle);
        }
        self.refused.insert(number, (reject, now)).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::wire::RejectCode;

    fn reject() -> Reject {
        Reject::new(RejectCode::UnknownSchema, "none")
    }

    fn is_schema(known: &mut Known, number: u32, now: Instant) -> bool {
        matches!(known.find(number, now), Some(Found::Schema(_)))
    }

    #[test]
    fn a_flood_of_unknown_numbers_forgets_no_schema_and_stays_within_its_bound() {
        let (mut known, now) = (Known::default(), Instant::now());
        for number in 0..10 {
            known.schema(number, Schema::Json, 100);
        }
        for number in 100..50_000 {
            let later = now + Duration::from_millis(number.into());
            assert!(known.refuse(number, reject(), later), "{number} was refused before");
            assert!(known.refused.len() <= REFUSED_MAX);
        }
        assert!((0..10).all(|number| is_schema(&mut known, number, now)));
        let last = now + Duration::from_millis(49_999);
        assert!(matches!(known.find(49_999, last), Some(Found::Not(_))));
    }

    #[test]
    fn a_refusal_is_asked_for_again_after_a_while_and_a_schema_replaces_it() {
        let (mut known, now) = (Known::default(), Instant::now());
        assert!(known.refuse(7, reject(), now));
        assert!(matches!(known.find(7, now + REFUSED_FOR), Some(Found::Not(_))));
        let late = now + REFUSED_FOR + Duration::from_millis(1);
        assert!(known.find(7, late).is_none());
        assert!(!known.refuse(7, reject(), late), "the same again is nothing new");
        known.schema(7, Schema::Json, 1);
        assert!(is_schema(&mut known, 7, late));
    }

    #[test]
    fn at_the_cap_the_schema_goes_that_was_not_met_for_longest() {
        let (mut known, now) = (Known::default(), Instant::now());
        for number in 0..SCHEMAS_MAX as u32 {
            known.schema(number, Schema::Json, 1);
        }
        assert!(is_schema(&mut known, 0, now));
        known.schema(5000, Schema::Json, 1);
        assert!(is_schema(&mut known, 0, now) && is_schema(&mut known, 5000, now));
        assert!(!is_schema(&mut known, 1, now));
        // By bytes as well: one that fills half of them leaves room for as much.
        known.schema(6000, Schema::Json, TEXT_BYTES_MAX / 2);
        known.schema(6001, Schema::Json, TEXT_BYTES_MAX / 2);
        assert!(is_schema(&mut known, 6000, now) && is_schema(&mut known, 6001, now));
        assert!(known.bytes <= TEXT_BYTES_MAX && known.schemas.len() == 2);
    }
}
