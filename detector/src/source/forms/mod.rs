//! What form a file of events or labels has, by how it begins, and its lines of JSON.
//!
//! ```text
//! bytes -> gzip, zstd -> CSV, Parquet, JSON array, lines -> lines, one JSON object each
//! ```

mod csv;
mod gzip;
mod json_values;
mod parquet;

pub(super) use self::parquet::rows as parquet_rows;

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Buffer behind each step of reading.
const BUFFER_BYTES: usize = 1 << 18;
/// How much of a file is looked at to recognise it: a header of CSV must fit.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Windows of zstd up to 2 GiB (`zstd --long=31`).
const ZSTD_WINDOW_LOG_MAX: u32 = 31;

const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// Why a file is refused before its first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// What it is.
    pub found: String,
    /// What to do.
    pub hint: &'static str,
}

impl Refused {
    fn new(found: impl Into<String>, hint: &'static str) -> Self {
        Self { found: found.into(), hint }
    }
}

/// Lines that stand for what is no event, and why: noted by what makes lines, taken by who reads them.
#[derive(Clone, Debug, Default)]
pub(super) struct RefusedLines(Arc<Mutex<BTreeMap<u64, String>>>);

impl RefusedLines {
    fn locked(&self) -> MutexGuard<'_, BTreeMap<u64, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, line: u64, why: String) {
        self.locked().insert(line, why);
    }

    /// Those up to a line that were not taken yet.
    pub fn take_up_to(&self, line: u64) -> BTreeMap<u64, String> {
        let mut all = self.locked();
        let later = all.split_off(&(line + 1));
        std::mem::replace(&mut all, later)
    }

    #[cfg(test)]
    fn all(&self) -> Vec<(u64, String)> {
        self.locked().iter().map(|(line, why)| (*line, why.clone())).collect()
    }
}

/// A file's lines of JSON, and how they come about.
pub(super) struct JsonLines<'a> {
    /// One JSON object a line.
    pub lines: Box<dyn BufRead + Send + 'a>,
    /// Lines that are none, by number.
    pub refused: RefusedLines,
    /// Lines are made of rows: nothing in a last one without its end says whether it is whole.
    pub is_rows: bool,
    /// Where the lines begin in the file, if they are its own bytes: a place in them can be seeked.
    pub plain_from: Option<u64>,
}

/// Why a file cannot be begun.
#[derive(Debug)]
pub(super) enum Failed {
    Io(io::Error),
    Refused(Refused),
}

impl From<io::Error> for Failed {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

/// Recognises a file and reads it as lines of JSON. Blocks until its first line is there.
pub(super) fn read<'a, R: BufRead + Send + 'a>(mut raw: R) -> Result<JsonLines<'a>, Failed> {
    let head = raw.fill_buf()?;
    let is_zstd = is_zstd(head);
    if is_gzip(head) {
        let inner = BufReader::with_capacity(BUFFER_BYTES, gzip::Members::new(raw));
        return unpacked(inner, "gzip");
    }
    if is_zstd {
        let mut decoder = zstd::Decoder::with_buffer(raw)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
        let inner = BufReader::with_capacity(BUFFER_BYTES, decoder);
        return unpacked(inner, "zstd");
    }
    text(raw)
}

/// What lies in a compressed file.
fn unpacked<'a, R: BufRead + Send + 'a>(inner: R, name: &str) -> Result<JsonLines<'a>, Failed> {
    text(inner).map(|read| JsonLines { plain_from: None, ..read }).map_err(|e| match e {
        Failed::Refused(Refused { found, hint }) => {
            Failed::Refused(Refused::new(format!("{found} in {name}"), hint))
        }
        io => io,
    })
}

fn text<'a, R: BufRead + Send + 'a>(mut raw: R) -> Result<JsonLines<'a>, Failed> {
    let mut head = first_line(&mut raw)?;
    if let Some(refused) = foreign(&head) {
        return Err(Failed::Refused(refused));
    }
    let mark = if head.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    head.drain(..mark);
    let form = Form::of(&head);
    let whole = Cursor::new(head).chain(raw);
    let buffered = |inner| Box::new(BufReader::with_capacity(BUFFER_BYTES, inner));
    let (refused, is_rows) = (RefusedLines::default(), matches!(form, Form::Csv { .. }));
    let lines: Box<dyn BufRead + Send + 'a> = match form {
        Form::Lines => {
            let lines = Box::new(whole);
            return Ok(JsonLines { lines, refused, is_rows, plain_from: Some(mark as u64) });
        }
        Form::Values => buffered(Box::new(json_values::Values::new(whole)) as Box<dyn Read + Send>),
        Form::Csv { delimiter } => buffered(Box::new(
            csv::Rows::new(whole, delimiter, refused.clone()).map_err(Failed::Refused)?,
        )),
    };
    Ok(JsonLines { lines, refused, is_rows, plain_from: None })
}

/// Forms of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// One JSON object a line; also what is not recognised, whose lines are rejected one by one.
    Lines,
    /// One JSON array of objects, or objects over several lines.
    Values,
    /// A header, and rows.
    Csv { delimiter: u8 },
}

impl Form {
    fn of(head: &[u8]) -> Self {
        let line = head.split(|b| *b == b'\n').next().unwrap_or_default().trim_ascii();
        match head.trim_ascii_start().first() {
            Some(b'[') => Form::Values,
            // An object that does not end on its line.
            Some(b'{') if line == b"{" => Form::Values,
            Some(b'{') | None => Form::Lines,
            Some(_) => match csv::delimiter(line) {
                Some(delimiter) => Form::Csv { delimiter },
                None => Form::Lines,
            },
        }
    }
}

/// The first line that is not empty, with its end and with all that is before it; as much of it as is looked at.
fn first_line(raw: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while head.len() < HEAD_BYTES_MAX {
        let line_at = head.len();
        let room = (HEAD_BYTES_MAX - line_at) as u64;
        let read = raw.by_ref().take(room).read_until(b'\n', &mut head)?;
        let line = head[line_at..].trim_ascii();
        if read == 0 || (!line.is_empty() && line != BYTE_ORDER_MARK) {
            break;
        }
    }
    Ok(head)
}

fn is_gzip(head: &[u8]) -> bool {
    head.starts_with(&[0x1f, 0x8b])
}

/// A frame of data, or one that is to be skipped before one.
fn is_zstd(head: &[u8]) -> bool {
    head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
        || (head.len() >= 4 && head[0] & 0xf0 == 0x50 && head[1..4] == [0x2a, 0x4d, 0x18])
}

/// Whether a file is Parquet, which is read from its end.
pub(super) fn is_parquet(head: &[u8]) -> bool {
    head.starts_with(b"PAR1")
}

/// Files that are not read, by name.
fn foreign(head: &[u8]) -> Option<Refused> {
    const UNPACK: &str = "unpack it first; gzip and zstd are unpacked by themselves";
    const CONVERT: &str = "convert it to one JSON object a line, CSV with a header, or Parquet";
    const UTF_8: &str = "convert it: iconv -f UTF-16 -t UTF-8 FILE >utf-8.ndjson";
    let zero = |at: usize| head.get(at) == Some(&0);
    let lower: Vec<u8> = head.iter().take(64).map(u8::to_ascii_lowercase).collect();
    let lower = lower.trim_ascii_start();
    let (found, hint) = match head {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => ("text in UTF-32", CONVERT),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => ("text in UTF-16", UTF_8),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => ("an xz file", UNPACK),
        [b'B', b'Z', b'h', b'1'..=b'9', ..] => ("a bzip2 file", UNPACK),
        [0x04, 0x22, 0x4d, 0x18, ..] => ("an lz4 file", UNPACK),
        [0xff, 6, 0, 0, b's', b'N', b'a', b'P', ..] => ("a snappy file", UNPACK),
        [b'P', b'K', 3 | 5, 4 | 6, ..] => ("a zip archive (or an Excel file)", UNPACK),
        [b'7', b'z', 0xbc, 0xaf, ..] => ("a 7z archive", UNPACK),
        [0x1f, 0x8b, ..] => ("a gzip file", "it is packed twice: unpack it once"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ("a zstd file", "it is packed twice: unpack it once"),
        [b'O', b'b', b'j', 1, ..] => ("an Avro container", CONVERT),
        [b'O', b'R', b'C', ..] => ("an ORC file", CONVERT),
        [b'A', b'R', b'R', b'O', b'W', b'1', ..] => ("an Arrow file", "write it as Parquet"),
        [b'P', b'A', b'R', b'1', ..] => (
            "a Parquet file",
            "give its own path: it is read from its end, so it can be neither a pipe nor compressed",
        ),
        [b'S', b'Q', b'L', b'i', b't', b'e', b' ', ..] => ("an SQLite database", CONVERT),
        _ if lower.starts_with(b"<!doctype") || lower.starts_with(b"<html") => {
            ("a page of HTML", "is it what a server answered in place of the file?")
        }
        _ if lower.starts_with(b"<?xml") => ("an XML file", CONVERT),
        _ if head.get(257..262) == Some(b"ustar") => ("a tar archive", UNPACK),
        [first, 0, second, ..] if *first != 0 && *second != 0 && zero(3) => {
            ("text in UTF-16 without a byte order mark", UTF_8)
        }
        [0, first, ..] if *first != 0 && zero(2) => {
            ("text in UTF-16 without a byte order mark", UTF_8)
        }
        // What looks like JSON is read line by line: one odd line refuses no file.
        _ if head.contains(&0) && !head.trim_ascii_start().starts_with(b"{") => {
            ("no text: it has bytes that are zero", CONVERT)
        }
        _ => return None,
    };
    Some(Refused::new(found, hint))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn lines(bytes: &[u8]) -> Result<String, String> {
        let read = read(Cursor::new(bytes.to_vec())).map_err(|e| match e {
            Failed::Refused(refused) => format!("{}; {}", refused.found, refused.hint),
            Failed::Io(e) => e.to_string(),
        })?;
        let mut text = String::new();
        let mut lines = read.lines;
        lines.read_to_string(&mut text).map_err(|e| e.to_string())?;
        Ok(text)
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_file_of_any_form_gives_the_same_lines() {
        let wanted = "{\"ts\":1,\"account\":\"a\"}\n{\"ts\":2,\"account\":\"b\"}\n";
        let array = br#" [ {"ts":1,"account":"a"} ,
            {"ts":2,"account":"b"} ] "#;
        let packed = zstd::encode_all(wanted.as_bytes(), 1).unwrap();
        let skipped = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9][..], &packed].concat();
        let marked = [BYTE_ORDER_MARK, wanted.as_bytes()].concat();
        let blank = format!("\n  \r\n{wanted}");
        let twice =
            [gz(&wanted.as_bytes()[..23]), vec![0; 700], gz(&wanted.as_bytes()[23..]), vec![0; 3]];
        let mut long = zstd::Encoder::new(Vec::new(), 1).unwrap();
        long.window_log(28).unwrap();
        long.long_distance_matching(true).unwrap();
        long.write_all(wanted.as_bytes()).unwrap();
        let long = long.finish().unwrap();
        let forms: &[(&str, &[u8])] = &[
            ("lines", wanted.as_bytes()),
            ("byte order mark", &marked),
            ("gzip", &gz(wanted.as_bytes())),
            ("gzip with a mark", &gz(&marked)),
            ("gzip in members with zeros between", &twice.concat()),
            ("zstd", &packed),
            ("zstd behind a frame to skip", &skipped),
            (
                "zstd of two frames",
                &[packed.clone(), zstd::encode_all(&b""[..], 1).unwrap()].concat(),
            ),
            ("zstd of a long window", &long),
            ("array", array),
            ("array in gzip", &gz(array)),
            ("array with a mark", &[BYTE_ORDER_MARK, array].concat()),
        ];
        for (form, bytes) in forms {
            let read = lines(bytes).unwrap_or_else(|e| panic!("{form}: {e}"));
            assert_eq!(read, wanted, "{form}");
        }
        assert_eq!(lines(blank.as_bytes()).unwrap(), blank);
        assert_eq!(lines(b"").unwrap(), "");
    }

    #[test]
    fn files_that_are_not_read_are_refused_by_name() {
        let utf_16: Vec<u8> = "{\"ts\":1}\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let other: Vec<u8> = "{\"ts\":1}\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
        let tar: Vec<u8> = [vec![b'a'; 257], b"ustar  \0".to_vec(), vec![b'x'; 100]].concat();
        let rows: &[(&[u8], &str)] = &[
            (&[&[0xff, 0xfe], &utf_16[..]].concat(), "UTF-16"),
            (&[&[0xfe, 0xff], &other[..]].concat(), "UTF-16"),
            (&utf_16, "UTF-16 without"),
            (&other, "UTF-16 without"),
            (b"\xfd7zXZ\0rest", "xz"),
            (b"BZh9rest", "bzip2"),
            (b"PK\x03\x04rest", "zip"),
            (b"\x04\x22\x4d\x18rest", "lz4"),
            (b"Obj\x01rest", "Avro"),
            (b"ORCrest", "ORC"),
            (b"ARROW1\0\0", "Arrow"),
            (b"PAR1rest", "Parquet"),
            (b"SQLite format 3\0", "SQLite"),
            (b"<!DOCTYPE html>\n", "HTML"),
            (b"  <html>\n", "HTML"),
            (b"<?xml version=\"1.0\"?>\n", "XML"),
            (&tar, "tar"),
            (b"abc\0def", "no text"),
            (&gz(&gz(b"{}")), "a gzip file in gzip"),
            (&gz(b"\xfd7zXZ\0rest"), "an xz file in gzip"),
            (&zstd::encode_all(&b"PAR1rest"[..], 1).unwrap(), "Parquet file in zstd"),
        ];
        for (bytes, name) in rows {
            let said = lines(bytes).expect_err(name);
            assert!(said.contains(name) && said.contains("; "), "{name}: {said}");
        }
    }

    #[test]
    fn what_is_not_recognised_is_left_to_the_decoder_line_by_line() {
        for text in [
            "{\"ts\":1,\"a\":\"\0\"}\n{}\n",
            "not json\n{\"ts\":1}\n",
            "12345\n",
            "\"text\"\n",
            "{\"ts\":1\n}\n",
        ] {
            assert_eq!(lines(text.as_bytes()).unwrap(), text);
        }
    }
}
