//! Whether an event's id names one event: ids of an account that come again, with the same content or with other.

use super::sketch::{Sample, fingerprint, mix};
use engine::wire::RawEvent;
use engine::wire::json::Value;
use serde::Serialize;

/// Ids that are followed, at most; beyond, a share of them.
const IDS_MAX: usize = 1 << 18;

/// Collects ids in the order of the stream.
#[derive(Clone, Debug)]
pub struct Ids {
    events: u64,
    seen: Sample<Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    /// Of the first event with the id.
    content: u64,
    same: u64,
    other: u64,
}

/// What the ids showed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct IdsReport {
    /// Events that bring an id.
    pub events: u64,
    /// Events with the id and content of an earlier one of their account, about: they will count once.
    pub redelivered: u64,
    /// Events with the id of an earlier one of their account and other content, about: they are events for themselves.
    pub conflicts: u64,
    /// Whether these are counts and no estimates.
    pub complete: bool,
}

impl Default for Ids {
    fn default() -> Self {
        Self { events: 0, seen: Sample::new(IDS_MAX) }
    }
}

impl Ids {
    /// Takes the next event; `account` is its account's fingerprint.
    pub fn observe(&mut self, event: &RawEvent<'_>, account: u64) {
        let Some(id) = &event.event_id else { return };
        self.events += 1;
        let hash = mix(fingerprint(id) ^ account.rotate_left(32));
        if !self.seen.holds(hash) {
            return;
        }
        let content = content(event);
        let mut first = false;
        let entry = self.seen.entry(hash, || {
            first = true;
            Seen { content, same: 0, other: 0 }
        });
        if let Some(seen) = entry.filter(|_| !first) {
            *(if seen.content == content { &mut seen.same } else { &mut seen.other }) += 1;
        }
    }

    /// What was seen.
    pub fn report(&self) -> IdsReport {
        let sum = |of: fn(&Seen) -> u64| {
            let seen = self.seen.sorted();
            seen.iter().map(|(_, seen)| of(seen)).sum::<u64>() * self.seen.scale()
        };
        IdsReport {
            events: self.events,
            redelivered: sum(|seen| seen.same),
            conflicts: sum(|seen| seen.other),
            complete: self.seen.is_complete(),
        }
    }
}

impl IdsReport {
    /// What is to be said of it.
    pub fn note(&self) -> Option<String> {
        (self.conflicts > 0).then(|| {
            format!(
                "{}{} of {} events with an `event_id` repeat one that their account used for another event. Each is \
                 kept, under a derived id; if a session's or a request's id is sent in place of the event's, send \
                 none instead.",
                if self.complete { "" } else { "About " },
                self.conflicts,
                self.events
            )
        })
    }
}

/// Of everything that is read of an event beside its id and account.
fn content(event: &RawEvent<'_>) -> u64 {
    let text = |text: Option<&str>| text.map_or(1, |text| mix(2 ^ fingerprint(text)));
    // Members of an object have no order.
    let entities = event.entities.iter().flat_map(|(kind, keys)| {
        keys.iter().map(move |key| mix(fingerprint(kind).rotate_left(3) ^ fingerprint(key)))
    });
    let attributes = event
        .attributes
        .iter()
        .map(|(name, value)| mix(fingerprint(name).rotate_left(5) ^ of_value(value)));
    let parts = [
        event.ts_ms as u64,
        text(event.event_type.as_deref()),
        text(event.target.as_deref()),
        entities.fold(0, u64::wrapping_add),
        attributes.fold(0, u64::wrapping_add),
    ];
    parts.into_iter().fold(0u64, |hash, part| mix(hash.rotate_left(7) ^ part))
}

fn of_value(value: &Value<'_>) -> u64 {
    match value {
        Value::Null | Value::Word | Value::List(_) | Value::Object(_) => 3,
        Value::Bool(value) => 4 + u64::from(*value),
        Value::Number(number) => mix(6 ^ number.text(64).map_or(0, |text| fingerprint(&text))),
        Value::Text(text) => mix(7 ^ text.read().map_or(0, |text| fingerprint(&text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::wire::{Form, MappingConfig};

    #[test]
    fn ids_that_repeat_are_told_by_account_and_content() {
        let lines = [
            r#"{"event_id":"s","ts":1,"type":"m","account":"u","entities":{"ip":"a","device":"b"}}"#,
            r#"{"account":"u","entities":{"device":"b","ip":"a"},"event_id":"s","type":"m","ts":1}"#,
            r#"{"event_id":"s","ts":2,"type":"m","account":"u"}"#,
            r#"{"event_id":"s","ts":3,"type":"m","account":"u"}"#,
            r#"{"event_id":"s","ts":1,"type":"m","account":"v"}"#,
            r#"{"ts":1,"type":"m","account":"v"}"#,
        ];
        let mut ids = Ids::default();
        for line in lines {
            let form = Form::new(&MappingConfig::default(), None);
            let read = form.event(line.as_bytes(), |event| {
                ids.observe(event, fingerprint(&event.account));
            });
            read.expect("readable");
        }
        let report = ids.report();
        let want = IdsReport { events: 5, redelivered: 1, conflicts: 2, complete: true };
        assert_eq!(report, want);
        assert!(report.note().is_some_and(|note| note.starts_with("2 of 5 events")));
        assert_eq!(IdsReport { conflicts: 0, ..report }.note(), None);
    }
}
