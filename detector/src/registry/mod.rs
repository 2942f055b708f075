//! Messages with a schema, in Avro, Protobuf or JSON, by Confluent's wire format: a zero byte, the schema's number in four, then the
//! message. They become JSON, and from there on are read like any other. A message that does not begin with a zero byte is JSON.
//!
//! A number stands for one schema for ever, so the same bytes are always the same event. What a registry does not know is a dead
//! letter; a registry that cannot be asked is waited for.

mod avro;
mod config;
mod protobuf;
#[cfg(test)]
mod tests;

use crate::fetch::{Caller, basic, percent_encoded};
use avro::AvroSchema;
pub use config::RegistrySection;
use engine::limits::MESSAGE_BYTES_MAX;
use engine::wire::{Reject, RejectCode};
use protobuf::ProtobufSchema;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Longest wait for one answer of the registry.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pauses between attempts: at first, and at most.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// The log says this often that the registry is waited for.
const SAY_EVERY: Duration = Duration::from_secs(30);
/// Schemas that are kept; at the cap all are asked for again.
const SCHEMAS_MAX: usize = 1000;
/// Schemas that one schema may refer to, each directly or by another.
const REFERENCES_MAX: usize = 100;
/// A number that the registry does not know is asked for again after this.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);
/// Bytes before the message.
const HEAD: usize = 5;

/// Why there is no JSON.
#[derive(Debug)]
pub enum NoJson {
    /// It never will be.
    Reject(Reject),
    /// The registry was waited for, and the caller wants to stop.
    Stopped,
}

/// Schemas, as far as they were met.
pub struct Registry {
    urls: Vec<String>,
    authorization: Option<String>,
    caller: Caller,
    known: Mutex<HashMap<u32, (Known, Instant)>>,
}

#[derive(Clone)]
enum Known {
    Schema(Arc<Schema>),
    Not(Reject),
}

enum Schema {
    Json,
    Avro(Box<AvroSchema>),
    Protobuf(ProtobufSchema),
}

/// What the registry says of a schema.
#[derive(Deserialize)]
struct Answer {
    schema: String,
    #[serde(default, rename = "schemaType")]
    kind: Option<String>,
    #[serde(default)]
    references: Vec<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    name: String,
    subject: String,
    version: i64,
}

/// Why a question has no answer.
enum Unanswered {
    /// The registry does not have it.
    Unknown,
    /// It is no answer for this number, and never will be.
    Never(String),
    /// Nobody says: ask again.
    NotNow(String),
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
        // A length that a message claims is believed up to this.
        apache_avro::util::max_allocation_bytes(16 * MESSAGE_BYTES_MAX);
        let authorization = match (&section.username, &section.password) {
            (Some(user), Some(password)) => Some(basic(user, password)),
            _ => None,
        };
        let urls = section.urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect();
        let caller = Caller::new(section.ca_file.as_deref(), PATIENCE)?;
        Ok(Some(Self { urls, authorization, caller, known: Mutex::default() }))
    }

    /// Whether it is there and lets us in.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub fn check(&self) -> Result<(), String> {
        match self.ask("/schemas/types") {
            Ok(_) => Ok(()),
            Err(Unanswered::Unknown) => Err(format!(
                "{}: what answers is no schema registry\n  hint: [kafka.registry] urls end where its interface begins, as https://host:8081",
                self.urls.join(", ")
            )),
            Err(Unanswered::NotNow(why) | Unanswered::Never(why)) => Err(format!(
                "{why}\n  hint: are urls, username, password and ca_file in [kafka.registry] right, and is the registry up?"
            )),
        }
    }

    /// A message as JSON. Waits for the registry when it is needed and cannot be asked, until `stop` says so.
    ///
    /// # Errors
    /// See [`NoJson`].
    pub fn json<'a>(
        &self,
        message: &'a [u8],
        stop: &dyn Fn() -> bool,
    ) -> Result<Cow<'a, [u8]>, NoJson> {
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
        let schema = match self.schema(number, stop)? {
            Known::Schema(schema) => schema,
            Known::Not(reject) => return Err(NoJson::Reject(reject)),
        };
        let value = match &*schema {
            Schema::Json => return Ok(Cow::Borrowed(body)),
            Schema::Avro(schema) => schema.json(body),
            Schema::Protobuf(schema) => schema.json(body),
        };
        let value = value
            .map_err(|why| reject(RejectCode::Undecodable, format!("schema {number}: {why}")))?;
        let bytes = serde_json::to_vec(&value);
        bytes.map(Cow::Owned).map_err(|e| reject(RejectCode::Undecodable, e.to_string()))
    }

    /// Whether [`Registry::json`] has to ask for this message's schema, and may have to wait for it.
    pub fn asks_for(&self, message: &[u8]) -> bool {
        let number = message.first().filter(|first| **first == 0).and(message.get(1..HEAD));
        let Some(number) = number.map(number_of) else { return false };
        match self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&number) {
            Some((Known::Not(_), since)) => since.elapsed() > UNKNOWN_FOR,
            Some(_) => false,
            None => true,
        }
    }

    fn schema(&self, number: u32, stop: &dyn Fn() -> bool) -> Result<Known, NoJson> {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known().get(&number) {
            Some((Known::Not(_), since)) if since.elapsed() > UNKNOWN_FOR => {}
            Some((found, _)) => return Ok(found.clone()),
            None => {}
        }
        let (mut pause, mut said) = (PAUSE_FIRST, None::<Instant>);
        let found = loop {
            match self.fetch(number) {
                Ok(schema) => break Known::Schema(Arc::new(schema)),
                Err(Unanswered::Unknown) => {
                    let detail = format!("the registry has no schema {number}");
                    break Known::Not(Reject::new(RejectCode::UnknownSchema, detail));
                }
                Err(Unanswered::Never(why)) => {
                    let detail = format!("schema {number} cannot be used: {}", short(&why));
                    break Known::Not(Reject::new(RejectCode::Undecodable, detail));
                }
                Err(Unanswered::NotNow(why)) => {
                    if said.is_none_or(|said| said.elapsed() > SAY_EVERY) {
                        said = Some(Instant::now());
                        tracing::warn!(
                            schema = number,
                            "the schema registry is waited for, and with it the input: {why}"
                        );
                    }
                }
            }
            let until = Instant::now() + pause;
            while Instant::now() < until {
                if stop() {
                    return Err(NoJson::Stopped);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            pause = (pause * 2).min(PAUSE_MAX);
        };
        if said.is_some() {
            tracing::info!("the schema registry answers again");
        }
        if let Known::Not(reject) = &found {
            tracing::warn!(schema = number, "messages become dead letters: {}", reject.detail);
        }
        let mut known = known();
        if known.len() >= SCHEMAS_MAX {
            known.clear();
        }
        known.insert(number, (found.clone(), Instant::now()));
        Ok(found)
    }

    fn fetch(&self, number: u32) -> Result<Schema, Unanswered> {
        let answer = self.ask_schema(&format!("/schemas/ids/{number}"))?;
        let mut references = Vec::new();
        self.follow(&answer.references, &mut references, &mut BTreeSet::new())?;
        let schema = match answer.kind.as_deref() {
            None | Some("AVRO") => AvroSchema::new(&answer.schema, &references)
                .map(|schema| Schema::Avro(Box::new(schema))),
            Some("PROTOBUF") => {
                ProtobufSchema::new(&answer.schema, &references).map(Schema::Protobuf)
            }
            Some("JSON") => Ok(Schema::Json),
            Some(other) => Err(format!("{other} is neither Avro nor Protobuf nor JSON")),
        };
        schema.map_err(Unanswered::Never)
    }

    /// What references lead to, by the name that they are referred to by; what others need comes first.
    fn follow(
        &self,
        references: &[Reference],
        found: &mut Vec<(String, String)>,
        seen: &mut BTreeSet<(String, i64)>,
    ) -> Result<(), Unanswered> {
        for reference in references {
            if !seen.insert((reference.subject.clone(), reference.version)) {
                continue;
            }
            if seen.len() > REFERENCES_MAX {
                let why = format!("it refers to more than {REFERENCES_MAX} others");
                return Err(Unanswered::Never(why));
            }
            let (subject, version) = (percent_encoded(&reference.subject), reference.version);
            let answer = self.ask_schema(&format!("/subjects/{subject}/versions/{version}"))?;
            self.follow(&answer.references, found, seen)?;
            found.push((reference.name.clone(), answer.schema));
        }
        Ok(())
    }

    fn ask_schema(&self, path: &str) -> Result<Answer, Unanswered> {
        let body = self.ask(path)?;
        serde_json::from_slice(&body)
            .map_err(|e| Unanswered::NotNow(format!("its answer cannot be read: {e}")))
    }

    /// Asks one address after the other.
    fn ask(&self, path: &str) -> Result<Vec<u8>, Unanswered> {
        let mut why = String::new();
        for url in &self.urls {
            match self.caller.get(&format!("{url}{path}"), self.authorization.as_deref()) {
                Ok((200, body)) => return Ok(body),
                Ok((404, _)) => return Err(Unanswered::Unknown),
                Ok((401 | 403, _)) => why = format!("{url} does not let the service in"),
                Ok((status, _)) => why = format!("{url} answers with status {status}"),
                Err(e) => why = format!("{url} does not answer: {e}"),
            }
        }
        Err(Unanswered::NotNow(why))
    }
}

/// The beginning of a text that others wrote.
/// A schema's number: big endian.
fn number_of(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |n, byte| n << 8 | u32::from(*byte))
}

fn short(text: &str) -> String {
    text.replace(['\n', '\r'], " ").chars().take(200).collect()
}
