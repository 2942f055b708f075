//! Messages with a schema, in Avro, Protobuf or JSON, by Confluent's wire format: a zero byte, the schema's number in four, then the
//! message. They become JSON, and from there on are read like any other. A message that does not begin with a zero byte is JSON.
//!
//! A number stands for one schema for ever, so the same bytes are always the same event. Threads of the registry ask for numbers that are
//! met the first time; nobody waits for them here. What a registry does not have, and what cannot be used, is a dead letter
//! (`answer.rs`); while it cannot be asked, messages with that number are pending.

mod answer;
mod asking;
mod avro;
mod config;
mod known;
mod protobuf;
#[cfg(test)]
mod tests;

use crate::fetch::{Caller, basic};
use answer::Unanswered;
use asking::Asking;
use avro::AvroSchema;
pub use config::RegistrySection;
use engine::limits::MESSAGE_BYTES_MAX;
use engine::wire::{Reject, RejectCode};
use known::Found;
use protobuf::ProtobufSchema;
use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, Instant};

/// Longest wait for one answer of the registry.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes before the message.
const HEAD: usize = 5;
/// Values in one message: a short one could become many, by a schema that was made for it.
const VALUES_MAX: usize = 1 << 16;
/// Bytes of a field's or a symbol's name, which stands in every message's JSON.
const NAME_BYTES_MAX: usize = 256;

/// A message in Avro as JSON, by a schema without references; local times are of UTC.
///
/// # Errors
/// Why the schema, or the message, is refused.
pub(crate) fn avro_json(schema: &str, message: &[u8]) -> Result<serde_json::Value, String> {
    AvroSchema::new(schema, &[])?.json(message, 0)
}

/// A message in Protobuf as JSON, by a schema that imports no other.
///
/// # Errors
/// Why the schema, or the message, is refused.
pub(crate) fn protobuf_json(schema: &str, message: &[u8]) -> Result<serde_json::Value, String> {
    ProtobufSchema::new(schema, &[])?.json(message)
}

/// Why there is no JSON.
#[derive(Debug)]
pub enum NoJson {
    /// It never will be.
    Reject(Reject),
    /// Its schema is asked for.
    Pending(Pending),
}

/// A schema that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Its number.
    pub schema: u32,
    /// When it was asked for first.
    pub since: Instant,
    /// Why the last answer was none.
    pub why: Option<String>,
}

impl fmt::Display for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = self.why.as_deref().unwrap_or("the schema registry has not answered yet");
        write!(f, "schema {} is not known: {why}", self.schema)
    }
}

/// Schemas, as far as they were met.
pub struct Registry {
    asking: Asking,
    /// Offset from UTC of times without one.
    local_offset_ms: i64,
}

enum Schema {
    Json,
    Avro(Box<AvroSchema>),
    Protobuf(ProtobufSchema),
}

impl Registry {
    /// As configured; `None` when there is no registry.
    ///
    /// # Errors
    /// When its certificates cannot be read.
    pub fn new(section: &RegistrySection) -> Result<Option<Self>, String> {
        if section.urls.is_empty() {
            return Ok(None);
        }
        // A length that a message claims is believed up to this; what it claims is looked at before ([`avro`]).
        apache_avro::util::max_allocation_bytes(16 * MESSAGE_BYTES_MAX);
        let authorization = match (&section.username, &section.password) {
            (Some(user), Some(password)) => Some(basic(user, password)),
            _ => None,
        };
        let urls = section.urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect();
        let caller = Caller::new(section.ca_file.as_deref(), PATIENCE)?;
        let server = answer::Server { urls, authorization, caller };
        Ok(Some(Self { asking: Asking::new(server), local_offset_ms: 0 }))
    }

    /// Reads times without an offset (Avro's `local-timestamp-…`) as of this one; without it they are UTC.
    #[must_use]
    pub fn local_times_at(mut self, offset_ms: i64) -> Self {
        self.local_offset_ms = offset_ms;
        self
    }

    /// Whether it is there and lets us in.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub fn check(&self) -> Result<(), String> {
        let server = self.asking.server();
        match server.ask("/schemas/types") {
            Ok(_) => Ok(()),
            Err(Unanswered::Unknown) => Err(format!(
                "{}: what answers is no schema registry\n  hint: [kafka.registry] urls end where its interface begins, as https://host:8081",
                server.urls.join(", ")
            )),
            Err(Unanswered::NotNow(why) | Unanswered::Never(why)) => Err(format!(
                "{why}\n  hint: are urls, username, password and ca_file in [kafka.registry] right, and is the registry up?"
            )),
        }
    }

    /// A message as JSON. Never waits.
    ///
    /// # Errors
    /// See [`NoJson`].
    pub fn json<'a>(&self, message: &'a [u8]) -> Result<Cow<'a, [u8]>, NoJson> {
        if message.first() != Some(&0) {
            return Ok(Cow::Borrowed(message));
        }
        let reject = |code, detail: String| NoJson::Reject(Reject::new(code, detail));
        if message.len() > MESSAGE_BYTES_MAX {
            let detail = format!("{} bytes; at most {MESSAGE_BYTES_MAX} are read", message.len());
            return Err(reject(RejectCode::TooLarge, detail));
        }
        let Some((head, body)) = message.split_at_checked(HEAD) else {
            let detail = "cut off in the number of its schema".to_owned();
            return Err(reject(RejectCode::Undecodable, detail));
        };
        let number = number_of(&head[1..]);
        let schema = match self.asking.find(number) {
            Ok(Found::Schema(schema)) => schema,
            Ok(Found::Not(reject)) => return Err(NoJson::Reject(reject)),
            Err(pending) => return Err(NoJson::Pending(pending)),
        };
        let value = match &*schema {
            Schema::Json => return Ok(Cow::Borrowed(body)),
            Schema::Avro(schema) => schema.json(body, self.local_offset_ms),
            Schema::Protobuf(schema) => schema.json(body),
        };
        let value = value
            .map_err(|why| reject(RejectCode::Undecodable, format!("schema {number}: {why}")))?;
        let bytes = serde_json::to_vec(&value);
        bytes.map(Cow::Owned).map_err(|e| reject(RejectCode::Undecodable, e.to_string()))
    }

    /// Has the schema of a message asked for that is not read yet.
    pub fn announce(&self, message: &[u8]) {
        let head = message.first().filter(|first| **first == 0).and(message.get(1..HEAD));
        if let Some(head) = head {
            let _ = self.asking.find(number_of(head));
        }
    }

    /// How many numbers were answered: after another one, what was pending may be read.
    pub fn answers(&self) -> u64 {
        self.asking.answers()
    }
}

/// A schema's number: big endian.
fn number_of(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |n, byte| n << 8 | u32::from(*byte))
}

/// A number of variable length, signs folded in.
fn zigzag(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}
