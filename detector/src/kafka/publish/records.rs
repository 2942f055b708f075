//! Messages as subscribers see them, into the client's queue and out of it.

use super::producer::Context;
use super::{CAP_HOUR, PATIENCE};
use crate::kafka::client::Trouble;
use crate::kafka::journal::Tp;
use crate::kafka::source::DeadMessage;
use engine::wire::ActionV1;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::time::{Duration, Instant};

/// Acknowledgements are looked for this often.
const LOOK_FOR_ACKS: Duration = Duration::from_micros(200);

/// Waits until every message has arrived, or failed. The client's own `flush` always takes a tenth of a second.
pub(super) fn acknowledged(producer: &BaseProducer<Context>) -> Result<(), KafkaError> {
    let until = Instant::now() + PATIENCE;
    loop {
        let before = producer.in_flight_count();
        producer.poll(Duration::ZERO);
        match producer.in_flight_count() {
            0 => return Ok(()),
            _ if Instant::now() > until => {
                return Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut));
            }
            now if now == before => std::thread::sleep(LOOK_FOR_ACKS),
            _ => {}
        }
    }
}

pub(super) fn line(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(b"\n").unwrap_or(bytes)
}

pub(super) fn send(
    producer: &BaseProducer<Context>,
    topic: &str,
    key: &[u8],
    payload: &[u8],
    headers: Option<OwnedHeaders>,
) -> Result<(), Trouble> {
    let mut record = BaseRecord::<[u8], [u8]>::to(topic).payload(payload);
    if !key.is_empty() {
        record = record.key(key);
    }
    if let Some(headers) = headers {
        record = record.headers(headers);
    }
    send_record(producer, record)
}

/// Sends, making room in the client's queue when it is full.
pub(super) fn send_record(
    producer: &BaseProducer<Context>,
    mut record: BaseRecord<'_, [u8], [u8]>,
) -> Result<(), Trouble> {
    let until = Instant::now() + PATIENCE;
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                if Instant::now() < until =>
            {
                record = back;
                producer.poll(Duration::from_millis(5));
            }
            Err((error, _)) => return Err(Trouble::of("cannot publish", &error)),
        }
    }
}

/// An action's headers, as CloudEvents has them in Kafka.
pub(super) fn about(action: &ActionV1) -> OwnedHeaders {
    let time = jiff::Timestamp::from_millisecond(action.at);
    let time = time.map(|t| t.to_string()).unwrap_or_default();
    let hour = action.cap_hour.map(|hour| hour.to_string());
    [
        ("ce_specversion", Some("1.0")),
        ("ce_id", Some(&*action.action_id)),
        ("ce_type", Some("detector.action.v1")),
        ("ce_source", Some("detector")),
        ("ce_time", Some(&*time)),
        (CAP_HOUR, hour.as_deref()),
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
