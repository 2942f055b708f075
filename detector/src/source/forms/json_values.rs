//! A JSON array, or JSON objects over several lines, as one value a line.

use std::io::{self, BufRead, Read};

/// Output that is made before it is handed out.
const CHUNK_BYTES: usize = 64 << 10;

/// Writes each value of an array on a line. It only finds where values begin and end: whether they are JSON is for the decoder.
pub(super) struct Values<R> {
    inner: R,
    out: Vec<u8>,
    at: usize,
    place: Place,
    /// Opened and not yet closed within the value.
    depth: usize,
    in_array: bool,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the array, if it is one.
    Start,
    /// Between two values.
    Between,
    /// A value outside of its texts.
    Value,
    /// A text in a value.
    Text,
    /// Behind a backslash in a text.
    Escaped,
    /// Behind the array.
    Behind,
}

impl<R: BufRead> Values<R> {
    pub fn new(inner: R) -> Self {
        let (out, place) = (Vec::with_capacity(CHUNK_BYTES), Place::Start);
        Self { inner, out, at: 0, place, depth: 0, in_array: false }
    }

    fn take(&mut self, byte: u8) {
        match (self.place, byte) {
            (Place::Start, b'[') => {
                self.in_array = true;
                self.place = Place::Between;
            }
            (Place::Start | Place::Between, _) if byte.is_ascii_whitespace() => {}
            (Place::Between, b',') if self.in_array => {}
            (Place::Between, b']') if self.in_array => self.place = Place::Behind,
            (Place::Start | Place::Between, _) => {
                self.place = Place::Value;
                self.take(byte);
            }
            (Place::Behind, _) if byte.is_ascii_whitespace() => {}
            // Several arrays, one behind the other.
            (Place::Behind, b'[') => self.place = Place::Between,
            // What else follows an array is no event: a line by itself, to be rejected.
            (Place::Behind, _) => {
                self.in_array = false;
                self.place = Place::Value;
                self.take(byte);
            }
            (Place::Escaped, _) => {
                self.out.push(byte);
                self.place = Place::Text;
            }
            (Place::Text, _) => {
                // A bare line end is no JSON; it must not part a line in two.
                self.out.push(if matches!(byte, b'\n' | b'\r') { b' ' } else { byte });
                match byte {
                    b'"' => self.place = Place::Value,
                    b'\\' => self.place = Place::Escaped,
                    _ => {}
                }
            }
            (Place::Value, b',' | b']') if self.depth == 0 && self.in_array => {
                self.end();
                self.take(byte);
            }
            (Place::Value, b'\n' | b'\r') => {
                if self.depth == 0 {
                    self.end();
                } else {
                    self.out.push(b' ');
                }
            }
            (Place::Value, _) => {
                self.out.push(byte);
                match byte {
                    b'"' => self.place = Place::Text,
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => {
                        self.depth = self.depth.saturating_sub(1);
                        if self.depth == 0 {
                            self.end();
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn cut_off(&self) -> io::Error {
        io::Error::new(io::ErrorKind::UnexpectedEof, "the array has no end `]`")
    }

    fn end(&mut self) {
        while self.out.last() == Some(&b' ') {
            self.out.pop();
        }
        self.out.push(b'\n');
        self.place = Place::Between;
    }
}

impl<R: BufRead> Read for Values<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.out.len() {
            self.out.clear();
            self.at = 0;
            while self.out.is_empty() {
                let available = self.inner.fill_buf()?;
                if available.is_empty() {
                    let is_open = self.in_array && self.place != Place::Behind;
                    return if is_open { Err(self.cut_off()) } else { Ok(0) };
                }
                let chunk = available[..available.len().min(CHUNK_BYTES)].to_vec();
                self.inner.consume(chunk.len());
                chunk.into_iter().for_each(|byte| self.take(byte));
            }
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

    fn lines(text: &str) -> String {
        let mut out = String::new();
        // Small buffers: values end anywhere in them.
        let inner = io::BufReader::with_capacity(3, text.as_bytes());
        Values::new(inner).read_to_string(&mut out).unwrap();
        out
    }

    #[test]
    fn each_value_of_an_array_is_a_line() {
        let table = [
            ("[]", ""),
            ("[{\"a\":1}]", "{\"a\":1}\n"),
            (
                "[\n{\"a\":[1,2]},\n{\"b\":{\"c\":\"]},\"}}\n]\n",
                "{\"a\":[1,2]}\n{\"b\":{\"c\":\"]},\"}}\n",
            ),
            (
                "[{\n  \"a\": 1,\n  \"b\": \"x\\\"}\\\\\"\n}]",
                "{   \"a\": 1,   \"b\": \"x\\\"}\\\\\" }\n",
            ),
            ("[1, \"two\", null]", "1\n\"two\"\nnull\n"),
            ("{\n\"a\": 1\n}\n{\n\"b\": 2\n}\n", "{ \"a\": 1 }\n{ \"b\": 2 }\n"),
            ("[{\"a\":1}]\n[{\"b\":2},{\"c\":3}]\n[]", "{\"a\":1}\n{\"b\":2}\n{\"c\":3}\n"),
            ("[{\"a\":1}] x\n", "{\"a\":1}\nx\n"),
            ("[{\"a\":\"x\ny\"}]", "{\"a\":\"x y\"}\n"),
        ];
        for (text, wanted) in table {
            assert_eq!(lines(text), wanted, "{text}");
        }
    }

    #[test]
    fn an_array_that_is_cut_off_is_an_error_behind_its_last_value() {
        for text in
            ["[", "[{\"a\":1},", "[{\"a\":1}", "[{\"a\":1},{\"b\":", "[{\"a\":1}]\n[{\"b\":2}"]
        {
            let mut out = Vec::new();
            let inner = io::BufReader::with_capacity(3, text.as_bytes());
            let failed = Values::new(inner).read_to_end(&mut out).expect_err(text);
            assert_eq!(failed.kind(), io::ErrorKind::UnexpectedEof, "{text}");
            let whole = out.iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(whole, text.matches('}').count(), "{text}");
        }
    }
}
