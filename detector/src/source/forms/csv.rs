//! Rows of CSV as lines of JSON.
//!
//! The header names the members; a dot in a name makes an object: `entities.device` is read as `{"entities": {"device": ...}}`. All
//! values are texts, which the decoder reads as numbers and truth values where such are declared. An empty cell is absent, and so are cells
//! that a row lacks. A row with more cells than the header is refused, since nobody knows which of them is which.
//!
//! A row stands on the line of the file on which it begins: empty lines stand for the header and for rows of several lines.

mod record;

use self::record::{Record, Records};
use super::{Refused, RefusedLines};
use csv::ReaderBuilder;
use std::collections::BTreeSet;
use std::io::{self, Read};

const DELIMITERS: [u8; 4] = [b',', b'\t', b';', b'|'];
/// Columns of a header.
const COLUMNS_MAX: usize = 4096;
/// Bytes of a name in a header.
const NAME_BYTES_MAX: usize = 256;

/// What parts the cells of a header, if the line looks like one: names, two or more, each with a letter. The first column may have none, as that
/// of an index.
pub(super) fn delimiter(line: &[u8]) -> Option<u8> {
    let count = |delimiter: u8| line.iter().filter(|byte| **byte == delimiter).count();
    // The first of them where two are as frequent.
    let most = DELIMITERS.into_iter().rev().max_by_key(|delimiter| count(*delimiter))?;
    let mut reader = ReaderBuilder::new().delimiter(most).flexible(true).from_reader(line);
    let header = reader.byte_headers().ok()?;
    let is_name = |cell: &[u8]| {
        let cell = cell.trim_ascii();
        cell.len() <= NAME_BYTES_MAX
            && std::str::from_utf8(cell).is_ok_and(|name| name.chars().any(char::is_alphabetic))
            && !cell.iter().any(|byte| b"{}:".contains(byte))
    };
    let unnamed = header.get(0).is_some_and(|cell| cell.trim_ascii().is_empty());
    let named = header.iter().skip(usize::from(unnamed));
    (header.len() >= 2 + usize::from(unnamed) && named.clone().all(is_name)).then_some(most)
}

/// What a row's JSON is made of.
enum Member {
    /// The text of a cell.
    Cell(usize),
    /// An object, with its members by name.
    Object(Vec<(String, Member)>),
}

impl Member {
    /// Adds a column. `Err`: its name, or part of it, is taken.
    fn add(&mut self, path: &str, cell: usize) -> Result<(), ()> {
        let Self::Object(members) = self else { return Err(()) };
        let (name, rest) =
            path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        let at = members.binary_search_by(|(known, _)| known.as_str().cmp(name));
        match (at, rest) {
            (Ok(_), None) => Err(()),
            (Ok(at), Some(rest)) => members[at].1.add(rest, cell),
            (Err(at), None) => {
                members.insert(at, (name.to_owned(), Self::Cell(cell)));
                Ok(())
            }
            (Err(at), Some(rest)) => {
                members.insert(at, (name.to_owned(), Self::Object(Vec::new())));
                members[at].1.add(rest, cell)
            }
        }
    }

    /// Whether a row has anything of it.
    fn is_in(&self, row: &Record<'_>) -> bool {
        match self {
            Self::Cell(cell) => !row.cell(*cell).is_empty(),
            Self::Object(members) => members.iter().any(|(_, member)| member.is_in(row)),
        }
    }

    fn write(&self, row: &Record<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Cell(cell) => write_text(row.cell(*cell), out),
            Self::Object(members) => {
                out.push(b'{');
                let mut first = true;
                for (name, member) in members.iter().filter(|(_, member)| member.is_in(row)) {
                    if !std::mem::take(&mut first) {
                        out.push(b',');
                    }
                    write_text(name.as_bytes(), out);
                    out.push(b':');
                    member.write(row, out);
                }
                out.push(b'}');
            }
        }
    }
}

/// A text of JSON. Bytes that are no UTF-8 stay as they are: the decoder says of which field they are.
fn write_text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0..0x20 => out.extend(format!("\\u{byte:04x}").bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Rows as lines.
pub(super) struct Rows<R> {
    records: Records<R>,
    row: Member,
    columns: usize,
    out: Vec<u8>,
    at: usize,
    /// Lines written.
    written: u64,
    refused: RefusedLines,
}

impl<R: Read> Rows<R> {
    /// Reads the header.
    pub fn new(inner: R, delimiter: u8, refused: RefusedLines) -> Result<Self, Refused> {
        const HINT: &str = "name each column once in the first row";
        let mut records = Records::new(inner, delimiter);
        let header = records
            .header()
            .map_err(|e| Refused::new(format!("CSV whose header cannot be read: {e}"), HINT))?;
        let columns = header.len();
        if columns > COLUMNS_MAX {
            let found = format!("CSV of {columns} columns, over {COLUMNS_MAX}");
            return Err(Refused::new(found, "leave out columns that are not needed"));
        }
        let mut names = BTreeSet::new();
        let mut row = Member::Object(Vec::new());
        for (cell, name) in header.iter().map(|name| name.trim()).enumerate() {
            // A column without a name, as the first of a data frame has none, is not read.
            if name.is_empty() {
                continue;
            }
            if !names.insert(name) {
                return Err(Refused::new(format!("CSV whose header names {name:?} twice"), HINT));
            }
            if row.add(name, cell).is_err() {
                let found = format!(
                    "CSV whose header names {name:?} both as a value and as an object of other columns"
                );
                return Err(Refused::new(found, "leave out one of the two, or rename it"));
            }
        }
        Ok(Self { records, row, columns, out: Vec::new(), at: 0, written: 0, refused })
    }

    fn next(&mut self) -> io::Result<bool> {
        self.out.clear();
        self.at = 0;
        let columns = self.columns;
        let Some(record) = self.records.next(columns)? else { return Ok(false) };
        while self.written + 1 < record.line {
            self.out.push(b'\n');
            self.written += 1;
        }
        match &record.refused {
            None => self.row.write(&record, &mut self.out),
            Some(why) => {
                self.refused.note(self.written + 1, why.clone());
                // Which no decoder takes for an event; dead letters show it.
                write_text(record.first_line, &mut self.out);
            }
        }
        if record.has_end {
            self.out.push(b'\n');
            self.written += 1;
        }
        Ok(true)
    }
}

impl<R: Read> Read for Rows<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.out.len() && !self.next()? {
            return Ok(0);
        }
        let n = buffer.len().min(self.out.len() - self.at);
        buffer[..n].copy_from_slice(&self.out[self.at..self.at + n]);
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
            (",ts,account", Some(b',')),
            ("\"\";ts;account", Some(b';')),
            (",ts", None),
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

    /// A number of a line, and what stands there.
    type Numbered = (u64, String);

    /// The lines, empty ones left out; and what is refused.
    fn read(text: &[u8]) -> (Vec<Numbered>, Vec<Numbered>) {
        let refused = RefusedLines::default();
        let mut bytes = Vec::new();
        Rows::new(text, b',', refused.clone()).unwrap().read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty());
        let lines = lines.map(|(at, line)| (at as u64 + 1, line.to_owned())).collect();
        (lines, refused.all())
    }

    #[test]
    fn rows_become_objects_on_the_lines_on_which_they_begin() {
        for end in ["\n", "\r\n"] {
            let text = [
                "ts,account,entities.device,entities.ip,attributes.note",
                "1,u1,d9,,\"a \"\"b\"\", c",
                "d\"",
                "2,u2",
                "",
                "3,u3,d1,1.2.3.4,5\" pipe",
                "4,\"u4\\\",,\t,",
                "",
            ];
            let (lines, refused) = read(text.join(end).as_bytes());
            let note = format!("a \\\"b\\\", c{}d", end.escape_default());
            let wanted = [
                (2, format!(r#"{{"account":"u1","attributes":{{"note":"{note}"}},"entities":{{"device":"d9"}},"ts":"1"}}"#)),
                (4, r#"{"account":"u2","ts":"2"}"#.into()),
                (6, r#"{"account":"u3","attributes":{"note":"5\" pipe"},"entities":{"device":"d1","ip":"1.2.3.4"},"ts":"3"}"#.into()),
                (7, r#"{"account":"u4\\","entities":{"ip":"\t"},"ts":"4"}"#.into()),
            ];
            assert_eq!(lines, wanted);
            assert_eq!(refused, []);
        }
    }

    #[test]
    fn bytes_that_are_no_text_stay_in_their_cell() {
        let mut bytes = Vec::new();
        let text = &b"ts,account,city\n1,u1,K\xf6ln\n"[..];
        Rows::new(text, b',', RefusedLines::default()).unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"\n{\"account\":\"u1\",\"city\":\"K\xf6ln\",\"ts\":\"1\"}\n");
    }

    #[test]
    fn rows_that_nobody_can_read_are_refused_alone() {
        let long = format!("5,\"{}\n6,u6\n", "x,y\n".repeat(400_000));
        // Rows, lines that are refused and why, and `ts` of the last ones that are taken.
        type Case<'a> = (&'a str, &'a [(u64, &'a str)], &'a [&'a str]);
        let table: &[Case<'_>] = &[
            ("1,u1\n2,u2,more\n3,u3\n", &[(3, "3 cells")], &["1", "3"]),
            // A quote without its end: up to the end of the file, up to the next quote, and up to one that would make the cells right.
            ("1,u1\n2,\"u2\n3,u3\n4,u4\n", &[(3, "quote")], &["1", "3", "4"]),
            ("1,u1\n2,\"u2\n3,u3\n4,\"u4\"\n5,u5\n", &[(3, "quote")], &["1", "3", "4", "5"]),
            ("1,u1\n2,\"u2\n3,\"u3\n4,u4\n", &[(3, "quote"), (4, "quote")], &["1", "4"]),
            ("1,u1\n2,\"u2", &[], &["1", "2"]),
            (&long, &[(2, "quote")], &["6"]),
        ];
        for (text, wanted, taken) in table {
            let (lines, refused) = read(format!("ts,account\n{text}").as_bytes());
            let case: String = text.chars().take(60).collect();
            assert_eq!(refused.len(), wanted.len(), "{case}: {refused:?}");
            for ((line, why), (expected, word)) in refused.iter().zip(*wanted) {
                assert!(line == expected && why.contains(word), "{case}: {line} {why}");
            }
            let events: Vec<&str> = lines
                .iter()
                .filter_map(|(_, line)| line.split_once("\"ts\":\"")?.1.strip_suffix("\"}"))
                .collect();
            let last = &events[events.len() - taken.len()..];
            assert_eq!(last, *taken, "{case}");
            for (line, _) in &refused {
                let shown = lines.iter().find(|(at, _)| at == line).unwrap();
                assert!(shown.1.starts_with('"'), "{case}: {shown:?}");
            }
        }
    }

    #[test]
    fn headers_that_are_ambiguous_are_refused_by_name() {
        for (header, said) in [
            ("ts,account,ts", "\"ts\" twice"),
            ("ts,account,entities,entities.device", "\"entities.device\" both"),
            ("ts,account,entities.device,entities", "\"entities\" both"),
        ] {
            let refused =
                Rows::new(header.as_bytes(), b',', RefusedLines::default()).err().unwrap();
            assert!(refused.found.contains(said), "{header}: {refused:?}");
        }
    }

    #[test]
    fn a_last_row_without_its_end_is_a_line_without_one() {
        for (text, ends) in [("ts,account\n1,u1\n", true), ("ts,account\n1,u1", false)] {
            let mut lines = String::new();
            let mut rows = Rows::new(text.as_bytes(), b',', RefusedLines::default()).unwrap();
            rows.read_to_string(&mut lines).unwrap();
            assert_eq!(lines.ends_with('\n'), ends, "{text:?}: {lines:?}");
        }
    }
}
