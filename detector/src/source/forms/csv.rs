//! Rows of CSV as lines of JSON.
//!
//! The header names the members; a dot in a name makes an object: `entities.device` is read as `{"entities": {"device": ...}}`. All
//! values are texts, which the decoder reads as numbers and truth values where such are declared. An empty cell is absent.

use super::Refused;
use csv::{ByteRecord, Reader, ReaderBuilder};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::io::{self, Read};

const DELIMITERS: [u8; 4] = [b',', b'\t', b';', b'|'];
/// Columns of a header.
const COLUMNS_MAX: usize = 4096;
/// Bytes of a name in a header.
const NAME_BYTES_MAX: usize = 256;

/// What parts the cells of a header, if the line looks like one: names, two or more, each with a letter and none twice.
pub(super) fn delimiter(line: &[u8]) -> Option<u8> {
    let count = |delimiter: u8| line.iter().filter(|byte| **byte == delimiter).count();
    // The first of them where two are as frequent.
    let most = DELIMITERS.into_iter().rev().max_by_key(|delimiter| count(*delimiter))?;
    let mut reader = reader(line, most);
    let header = reader.byte_headers().ok()?;
    let is_name = |cell: &[u8]| {
        let cell = cell.trim_ascii();
        cell.len() <= NAME_BYTES_MAX
            && std::str::from_utf8(cell).is_ok_and(|name| name.chars().any(char::is_alphabetic))
            && !cell.iter().any(|byte| b"{}:".contains(byte))
    };
    (header.len() >= 2 && header.iter().all(is_name)).then_some(most)
}

fn reader<R: Read>(inner: R, delimiter: u8) -> Reader<R> {
    ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(inner)
}

/// Rows as lines.
pub(super) struct Rows<R> {
    reader: Reader<R>,
    /// The path of each column's member.
    paths: Vec<Vec<String>>,
    row: ByteRecord,
    line: Vec<u8>,
    at: usize,
}

impl<R: Read> Rows<R> {
    /// Reads the header.
    pub fn new(inner: R, delimiter: u8) -> Result<Self, Refused> {
        const HINT: &str = "name each column once in the first row";
        let mut reader = reader(inner, delimiter);
        let header = reader
            .headers()
            .map_err(|e| Refused::new(format!("CSV whose header cannot be read: {e}"), HINT))?;
        if header.len() > COLUMNS_MAX {
            let found = format!("CSV of {} columns, over {COLUMNS_MAX}", header.len());
            return Err(Refused::new(found, "leave out columns that are not needed"));
        }
        let mut names = BTreeSet::new();
        let mut paths = Vec::with_capacity(header.len());
        for name in header.iter().map(str::trim) {
            if !names.insert(name) {
                return Err(Refused::new(format!("CSV whose header names {name:?} twice"), HINT));
            }
            paths.push(name.split('.').map(str::to_owned).collect());
        }
        Ok(Self { reader, paths, row: ByteRecord::new(), line: Vec::new(), at: 0 })
    }

    fn next(&mut self) -> io::Result<bool> {
        self.line.clear();
        self.at = 0;
        if !self.reader.read_byte_record(&mut self.row)? {
            return Ok(false);
        }
        let mut event = Map::new();
        for (path, cell) in self.paths.iter().zip(&self.row) {
            // A cell that is no UTF-8 says nothing that could be compared with another.
            if let Ok(text) = std::str::from_utf8(cell)
                && !text.is_empty()
            {
                put(&mut event, path, text);
            }
        }
        serde_json::to_writer(&mut self.line, &event)?;
        self.line.push(b'\n');
        Ok(true)
    }
}

fn put(into: &mut Map<String, Value>, path: &[String], text: &str) {
    match path {
        [] => {}
        [name] => {
            into.insert(name.clone(), text.into());
        }
        [name, rest @ ..] => {
            let inner = into.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
            // `a` and `a.b` both as columns: the first one counts.
            if let Value::Object(inner) = inner {
                put(inner, rest, text);
            }
        }
    }
}

impl<R: Read> Read for Rows<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.line.len() && !self.next()? {
            return Ok(0);
        }
        let n = buffer.len().min(self.line.len() - self.at);
        buffer[..n].copy_from_slice(&self.line[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_recognised_by_its_names() {
        let table: &[(&str, Option<u8>)] = &[
            ("ts,account", Some(b',')),
            ("ts;type;account", Some(b';')),
            ("ts\taccount\tentities.device", Some(b'\t')),
            ("\"ts\",\"account, or user\"", Some(b',')),
            ("ts|account", Some(b'|')),
            ("account", None),
            ("not json", None),
            ("1,2,3", None),
            ("1700000000000,message,u1", None),
            ("ts,,account", None),
            ("\"ts\":1,\"account\":\"u1\"", None),
            ("{\"ts\":1,\"a\":2}", None),
        ];
        for (line, wanted) in table {
            assert_eq!(delimiter(line.as_bytes()), *wanted, "{line}");
        }
    }

    #[test]
    fn rows_become_objects() {
        let text = b"ts,account,entities.device,entities.ip,attributes.note\r\n\
            1,u1,d9,,\"a \"\"b\"\", c\nd\"\n\
            2,u2\n\
            3,u3,\xff,1.2.3.4,x,more\n";
        let mut lines = String::new();
        Rows::new(&text[..], b',').unwrap().read_to_string(&mut lines).unwrap();
        assert_eq!(
            lines,
            concat!(
                r#"{"account":"u1","attributes":{"note":"a \"b\", c\nd"},"entities":{"device":"d9"},"ts":"1"}"#,
                "\n",
                r#"{"account":"u2","ts":"2"}"#,
                "\n",
                r#"{"account":"u3","attributes":{"note":"x"},"entities":{"ip":"1.2.3.4"},"ts":"3"}"#,
                "\n"
            )
        );
        let twice = Rows::new(&b"ts,account,ts\n1,u1,2\n"[..], b',').err().unwrap();
        assert!(twice.found.contains("\"ts\" twice"), "{twice:?}");
    }
}
