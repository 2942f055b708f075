//! What the registry says of a number, and what that means for messages with it.

use super::Schema;
use super::avro::AvroSchema;
use super::protobuf::ProtobufSchema;
use crate::fetch::{Caller, NoAnswer, percent_encoded};
use serde::Deserialize;
use std::collections::BTreeSet;

/// Schemas that one schema may refer to, each directly or by another.
const REFERENCES_MAX: usize = 100;
/// Bytes of a schema's text and of those that it refers to.
const TEXT_BYTES_MAX: usize = 8 << 20;
/// Characters of a reason that others wrote.
const REASON_MAX: usize = 200;

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// The registry does not have it.
    Unknown,
    /// It is no answer for this number, and never will be.
    Never(String),
    /// Nobody says: ask again.
    NotNow(String),
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

/// Where the registry is.
pub(super) struct Server {
    pub(super) urls: Vec<String>,
    pub(super) authorization: Option<String>,
    pub(super) caller: Caller,
}

/// What a status means for the number that was asked for; `None`: the body is the answer.
pub(super) fn of_status(status: u16, url: &str) -> Option<Unanswered> {
    match status {
        200..300 => None,
        404 => Some(Unanswered::Unknown),
        401 | 403 => Some(Unanswered::NotNow(format!("{url} does not let the service in"))),
        408 | 429 => Some(Unanswered::NotNow(format!("{url} answers with status {status}"))),
        400..500 => Some(Unanswered::Never(format!("the registry answers with status {status}"))),
        // Redirects, which are not followed, and what is wrong with the server.
        _ => Some(Unanswered::NotNow(format!("{url} answers with status {status}"))),
    }
}

impl Server {
    /// The schema of a number.
    pub(super) fn schema(&self, number: u32) -> Result<(Schema, usize), Unanswered> {
        let answer = self.ask_schema(&format!("/schemas/ids/{number}"))?;
        let mut references = References { bytes: answer.schema.len(), ..References::default() };
        self.follow(&answer.references, &mut references)?;
        let References { found, bytes, .. } = references;
        let schema = match answer.kind.as_deref() {
            None | Some("AVRO") => {
                AvroSchema::new(&answer.schema, &found).map(|schema| Schema::Avro(Box::new(schema)))
            }
            Some("PROTOBUF") => ProtobufSchema::new(&answer.schema, &found).map(Schema::Protobuf),
            Some("JSON") => Ok(Schema::Json),
            Some(other) => Err(format!("{} is neither Avro nor Protobuf nor JSON", short(other))),
        };
        schema.map(|schema| (schema, bytes)).map_err(|why| Unanswered::Never(short(&why)))
    }

    /// What references lead to, by the name that they are referred to by; what others need comes first.
    fn follow(&self, references: &[Reference], all: &mut References) -> Result<(), Unanswered> {
        for reference in references {
            if !all.seen.insert((reference.subject.clone(), reference.version)) {
                continue;
            }
            if all.seen.len() > REFERENCES_MAX {
                let why = format!("it refers to more than {REFERENCES_MAX} others");
                return Err(Unanswered::Never(why));
            }
            let (subject, version) = (percent_encoded(&reference.subject), reference.version);
            let answer = self.ask_schema(&format!("/subjects/{subject}/versions/{version}"))?;
            all.bytes += answer.schema.len();
            if all.bytes > TEXT_BYTES_MAX {
                let why =
                    format!("with what it refers to it is longer than {TEXT_BYTES_MAX} bytes");
                return Err(Unanswered::Never(why));
            }
            self.follow(&answer.references, all)?;
            all.found.push((reference.name.clone(), answer.schema));
        }
        Ok(())
    }

    fn ask_schema(&self, path: &str) -> Result<Answer, Unanswered> {
        let body = self.ask(path)?;
        // What JSON is wrong with is in its bytes, which are not shown.
        serde_json::from_slice(&body).map_err(|e| {
            let (line, column) = (e.line(), e.column());
            Unanswered::Never(format!(
                "the registry's answer is no schema (line {line}, column {column})"
            ))
        })
    }

    /// Asks one address after the other, until one has it. An answer about the number counts more than an address that has none.
    pub(super) fn ask(&self, path: &str) -> Result<Vec<u8>, Unanswered> {
        let mut last = Unanswered::NotNow("no address of the registry is configured".into());
        for url in &self.urls {
            let asked = self.caller.get(&format!("{url}{path}"), self.authorization.as_deref());
            let unanswered = match asked {
                Ok((status, body)) => match of_status(status, url) {
                    None => return Ok(body),
                    Some(unanswered) => unanswered,
                },
                Err(NoAnswer::TooLarge(most)) => {
                    Unanswered::Never(format!("the registry's answer is longer than {most} bytes"))
                }
                Err(NoAnswer::Failed(e)) => {
                    Unanswered::NotNow(format!("{url} does not answer: {}", short(&e)))
                }
            };
            if matches!(last, Unanswered::NotNow(_)) {
                last = unanswered;
            }
        }
        Err(last)
    }
}

/// What references led to so far.
#[derive(Default)]
struct References {
    found: Vec<(String, String)>,
    seen: BTreeSet<(String, i64)>,
    bytes: usize,
}

/// The beginning of a text that others wrote.
fn short(text: &str) -> String {
    text.replace(['\n', '\r'], " ").chars().take(REASON_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_decides_between_dead_letter_and_waiting() {
        let (never, not_now, unknown) = ("never", "not now", "unknown");
        let table = [
            (200, "answer"),
            (204, "answer"),
            (301, not_now),
            (302, not_now),
            (304, not_now),
            (400, never),
            (401, not_now),
            (402, never),
            (403, not_now),
            (404, unknown),
            (405, never),
            (406, never),
            (408, not_now),
            (409, never),
            (410, never),
            (422, never),
            (429, not_now),
            (451, never),
            (499, never),
            (500, not_now),
            (502, not_now),
            (503, not_now),
            (504, not_now),
            (599, not_now),
            (100, not_now),
            (999, not_now),
        ];
        for (status, expected) in table {
            let found = match of_status(status, "http://r") {
                None => "answer",
                Some(Unanswered::Unknown) => unknown,
                Some(Unanswered::Never(_)) => never,
                Some(Unanswered::NotNow(_)) => not_now,
            };
            assert_eq!(found, expected, "{status}");
        }
    }
}
