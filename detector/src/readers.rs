//! Readers of what other processes write, one call each: for those who try them with any bytes, such as the fuzz targets.

use crate::kafka::{journal, signature};
use crate::registry::{avro_json, protobuf_json};
use crate::service;
use crate::source;
use engine::Engine;

/// A record of the journal: its place in the order of writers is found, its messages are counted. False: it is refused.
pub fn journal_record(bytes: &[u8]) -> bool {
    let Ok(record) = journal::Record::read(bytes) else { return false };
    let written = serde_json::to_vec(&record).unwrap_or_default();
    assert_eq!(journal::Record::read(&written).as_ref(), Ok(&record), "it is written as read");
    let mut reading = journal::Reading::default();
    reading.counts(&record);
    let mut order = journal::Order::default();
    if let journal::Entry::Took(runs) = record.entry {
        order.push(0, runs);
        order.messages_before(&journal::Offsets::new());
        order.leads_to(journal::Offsets::new());
    }
    true
}

/// A published action takes effect on its account's record again, whatever it says. False: it is refused.
pub fn published_action(engine: &mut Engine, bytes: &[u8], cap_hour: Option<&[u8]>) -> bool {
    service::put_back(engine, bytes, cap_hour)
}

/// Whether a signature fits a record, with a secret that nobody has.
pub fn signature(bytes: &[u8], payload: &[u8]) -> bool {
    let signer = signature::Signer::behind(signature::Secret::random(), 0);
    let content = signature::Content { payload, ..signature::Content::default() };
    let own = signer.sign(signature::Of::Actions, &content);
    let check = |signature| signer.check(signature::Of::Actions, Some(signature), &content);
    assert!(check(own.as_bytes()).is_ok(), "its own is right");
    check(bytes).is_ok()
}

/// A message in Avro, by a schema, as JSON.
///
/// # Errors
/// Why it is refused.
pub fn avro(schema: &str, message: &[u8]) -> Result<serde_json::Value, String> {
    avro_json(schema, message)
}

/// A message in Protobuf, by a schema, as JSON.
///
/// # Errors
/// Why it is refused.
pub fn protobuf(schema: &str, message: &[u8]) -> Result<serde_json::Value, String> {
    protobuf_json(schema, message)
}

/// The first lines of a file of any form, as far as `most` bytes.
///
/// # Errors
/// Why it is refused, or cannot be read on.
pub fn lines_of_a_file(bytes: &[u8], most: u64) -> Result<Vec<u8>, String> {
    source::first_lines(bytes, most)
}
