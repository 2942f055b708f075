//! Messages as subscribers see them, into the client's queue and out of it.

use super::producer::{Prepared, ProducedMs};
use super::{CAP_HOUR, PATIENCE};
use crate::kafka::client::Trouble;
use crate::kafka::config::Delivery;
use crate::kafka::journal::Tp;
use crate::kafka::signature::{Content, Of, SIGNATURE};
use crate::kafka::source::DeadMessage;
use engine::Draft;
use engine::Finisher;
use engine::wire::ActionV1;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Longest wait for the bell before acknowledgements are counted again.
const LOOK_FOR_ACKS: Duration = Duration::from_millis(20);

/// Between two looks at whether the client still counts a message that was told.
const TELLING: Duration = Duration::from_micros(20);

/// Longest wait for the bell before a message is offered again to a queue that is full.
const ROOM: Duration = Duration::from_millis(5);

/// Waits until every message has arrived, or failed. The client's own `flush` takes a tenth of a second where it still counts one.
pub(super) fn acknowledged(by: &Prepared) -> Result<(), KafkaError> {
    let until = Instant::now() + PATIENCE;
    while !by.deliveries.are_all_told() {
        if Instant::now() > until {
            return Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut));
        }
        by.deliveries.bell.wait(LOOK_FOR_ACKS);
    }
    // A transaction's commit flushes: the client counts those for a moment that were just told.
    while by.section.delivery == Delivery::ExactlyOnce && by.producer.in_flight_count() > 0 {
        if Instant::now() > until {
            return Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut));
        }
        std::thread::sleep(TELLING);
    }
    Ok(())
}

pub(super) fn line(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(b"\n").unwrap_or(bytes)
}

/// An action as its subscribers get it.
pub(super) struct Finished {
    key: Vec<u8>,
    payload: Vec<u8>,
    headers: OwnedHeaders,
    cap_hour: Option<String>,
    pub(super) produced_ms: ProducedMs,
}

impl Finished {
    /// With its reasons, which is what takes time.
    pub(super) fn of(draft: Draft, finisher: &Finisher) -> Self {
        let produced_ms = ProducedMs::try_from(draft.source().produced_ms).unwrap_or(0);
        let action = finisher.finish(draft);
        let mut payload = Vec::new();
        action.write(&mut payload);
        payload.truncate(line(&payload).len());
        let cap_hour = action.cap_hour.map(|hour| hour.to_string());
        let headers = about(&action, cap_hour.as_deref());
        Self { key: action.account.as_bytes().to_vec(), payload, headers, cap_hour, produced_ms }
    }

    /// Sends it; the time since `produced_ms` is taken when it arrives.
    pub(super) fn send(self, by: &Prepared, produced_ms: ProducedMs) -> Result<(), Trouble> {
        let Self { key, payload, headers, cap_hour, .. } = self;
        let partition = by.partition_of(&key);
        let cap_hour = cap_hour.as_ref().map(String::as_bytes);
        let content = Content { partition, key: &key, cap_hour, payload: &payload };
        let signature = by.signer()?.sign(Of::Actions, &content);
        let headers = headers.insert(Header { key: SIGNATURE, value: Some(&signature) });
        let mut record = keyed(&by.section.actions, &key, &payload, Some(headers), produced_ms);
        if let Some(partition) = partition {
            record = record.partition(partition);
        }
        send_record(by, record)
    }
}

pub(super) fn send(
    by: &Prepared,
    topic: &str,
    key: &[u8],
    payload: &[u8],
    headers: Option<OwnedHeaders>,
    produced_ms: ProducedMs,
) -> Result<(), Trouble> {
    send_record(by, keyed(topic, key, payload, headers, produced_ms))
}

fn keyed<'a>(
    topic: &'a str,
    key: &'a [u8],
    payload: &'a [u8],
    headers: Option<OwnedHeaders>,
    produced_ms: ProducedMs,
) -> BaseRecord<'a, [u8], [u8], ProducedMs> {
    let mut record: BaseRecord<'_, [u8], [u8], _> =
        BaseRecord::with_opaque_to(topic, produced_ms).payload(payload);
    if !key.is_empty() {
        record = record.key(key);
    }
    if let Some(headers) = headers {
        record = record.headers(headers);
    }
    record
}

/// Sends, making room in the client's queue when it is full.
pub(super) fn send_record(
    by: &Prepared,
    mut record: BaseRecord<'_, [u8], [u8], ProducedMs>,
) -> Result<(), Trouble> {
    let until = Instant::now() + PATIENCE;
    by.deliveries.sent.fetch_add(1, Ordering::Relaxed);
    loop {
        match by.producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                if Instant::now() < until =>
            {
                record = back;
                by.deliveries.bell.wait(ROOM);
            }
            Err((error, _)) => return Err(Trouble::of("cannot publish", &error)),
        }
    }
}

/// An action's headers, as CloudEvents has them in Kafka.
fn about(action: &ActionV1, cap_hour: Option<&str>) -> OwnedHeaders {
    let time = jiff::Timestamp::from_millisecond(action.at);
    let time = time.map(|t| t.to_string()).unwrap_or_default();
    [
        ("ce_specversion", Some("1.0")),
        ("ce_id", Some(&*action.action_id)),
        ("ce_type", Some("detector.action.v1")),
        ("ce_source", Some("detector")),
        ("ce_time", Some(&*time)),
        (CAP_HOUR.to_str().unwrap_or_default(), cap_hour),
        ("content-type", Some("application/json")),
    ]
    .into_iter()
    .filter(|(_, value)| value.is_some())
    .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value }))
}

pub(super) fn reasons(letter: &DeadMessage) -> OwnedHeaders {
    let Tp { topic, partition } = &letter.tp;
    let truncated = (letter.original.len() as u64) < letter.size;
    let hex: String = letter.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    [
        ("reason", letter.reject.code.as_str().to_owned()),
        ("detail", letter.reject.detail.clone()),
        ("topic", topic.clone()),
        ("partition", partition.to_string()),
        ("offset", letter.offset.to_string()),
        ("truncated", truncated.to_string()),
        ("size", letter.size.to_string()),
        ("sha256", hex),
    ]
    .iter()
    .fold(OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value) })
    })
}
