//! What happens to the text before the parser sees it: caps, so that no input can exhaust the
//! parser's stack, and quoting of name segments that start with a digit.
//!
//! The CEL parser recurses once per bracket and once per chained operator, so both are counted here,
//! in one pass without recursion.

use super::error::{At, ExprError};

/// Longest source, in bytes.
pub const SOURCE_BYTES_MAX: usize = 4096;
/// Most tokens in one condition.
pub const TOKENS_MAX: usize = 1024;
/// Deepest nesting of brackets.
pub const NESTING_MAX: usize = 24;
/// Most tokens that can deepen the syntax tree: operators other than `&&` and `||`, and brackets.
pub const OPERATORS_MAX: usize = 192;
/// Most segments of one dotted name.
pub const SEGMENTS_MAX: usize = 16;

/// Source that is safe to parse.
#[derive(Debug)]
pub(crate) struct Guarded {
    /// What the parser reads.
    pub text: String,
    /// Offsets in `text` of the bytes that the source does not have, ascending.
    inserted: Vec<usize>,
}

impl Guarded {
    /// The place in the source of an offset in `text`.
    pub fn at(&self, source: &str, text_offset: usize) -> At {
        let before = self.inserted.partition_point(|&at| at < text_offset);
        At::of(source, text_offset - before)
    }

    /// The place in the source of a parser's line and column in `text`, both from 1.
    pub fn at_line_column(&self, source: &str, line: isize, column: isize) -> At {
        let line = usize::try_from(line - 1).unwrap_or(0);
        let column = usize::try_from(column - 1).unwrap_or(0);
        let start: usize = self.text.split_inclusive('\n').take(line).map(str::len).sum();
        self.at(source, start.saturating_add(column).min(self.text.len()))
    }
}

/// What the token before the current one was, as far as it matters.
#[derive(Clone, Copy, PartialEq)]
enum Previous {
    /// Nothing, an operator or an opening bracket: a value comes next.
    Operator,
    /// A segment of a name, or the `]` after a quoted one.
    Name,
    /// The dot after a name.
    Dot,
    /// Any other value.
    Value,
}

struct Scan<'a> {
    source: &'a str,
    bytes: &'a [u8],
    position: usize,
    text: String,
    inserted: Vec<usize>,
    brackets: Vec<(u8, usize)>,
    previous: Previous,
    tokens: usize,
    operators: usize,
    segments: usize,
}

/// Checks the caps and quotes digit-led segments: `a.10m` becomes `` a.`10m` ``, which the parser
/// reads as a field. One pass, O(length).
pub(crate) fn guard(source: &str) -> Result<Guarded, ExprError> {
    if source.len() > SOURCE_BYTES_MAX {
        return Err(ExprError::TooLarge {
            what: "bytes",
            found: source.len(),
            max: SOURCE_BYTES_MAX,
            at: At::of(source, SOURCE_BYTES_MAX),
        });
    }
    let mut scan = Scan {
        source,
        bytes: source.as_bytes(),
        position: 0,
        text: String::with_capacity(source.len() + 16),
        inserted: Vec::new(),
        brackets: Vec::new(),
        previous: Previous::Operator,
        tokens: 0,
        operators: 0,
        segments: 0,
    };
    while let Some(byte) = scan.peek(0) {
        scan.token(byte)?;
    }
    if let Some(&(bracket, at)) = scan.brackets.last() {
        return Err(scan.syntax(at, format!("`{}` is never closed", char::from(bracket))));
    }
    if scan.tokens == 0 {
        return Err(ExprError::Empty);
    }
    Ok(Guarded { text: scan.text, inserted: scan.inserted })
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

impl Scan<'_> {
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.position + ahead).copied()
    }

    fn syntax(&self, offset: usize, message: String) -> ExprError {
        ExprError::Syntax { message, at: At::of(self.source, offset) }
    }

    /// Copies `length` bytes, which must end on a character boundary.
    fn copy(&mut self, length: usize) {
        let end = (self.position + length).min(self.source.len());
        self.text.push_str(self.source.get(self.position..end).unwrap_or_default());
        self.position = end;
    }

    fn insert(&mut self, quote: char) {
        self.inserted.push(self.text.len());
        self.text.push(quote);
    }

    fn count(&mut self, deepens: bool) -> Result<(), ExprError> {
        self.tokens += 1;
        self.operators += usize::from(deepens);
        let at = At::of(self.source, self.position);
        if self.tokens > TOKENS_MAX {
            let found = self.tokens;
            return Err(ExprError::TooLarge { what: "tokens", found, max: TOKENS_MAX, at });
        }
        if self.operators > OPERATORS_MAX {
            let found = self.operators;
            let what = "operators and brackets";
            return Err(ExprError::TooLarge { what, found, max: OPERATORS_MAX, at });
        }
        Ok(())
    }

    fn token(&mut self, byte: u8) -> Result<(), ExprError> {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {
                self.copy(1);
                Ok(())
            }
            b'/' if self.peek(1) == Some(b'/') => {
                self.comment();
                Ok(())
            }
            b'"' | b'\'' => self.quoted(byte),
            b'`' => self.escaped(),
            b'0'..=b'9' if self.previous == Previous::Dot => self.segment(true),
            b'0'..=b'9' => self.number(),
            b'.' if self.peek(1).is_some_and(|next| next.is_ascii_digit())
                && self.previous == Previous::Operator =>
            {
                self.number()
            }
            _ if is_word(byte) => self.segment(false),
            _ => self.punctuation(byte),
        }
    }

    /// Comments become spaces: same offsets, nothing to parse.
    fn comment(&mut self) {
        while self.peek(0).is_some_and(|byte| byte != b'\n') {
            self.text.push(' ');
            self.position += 1;
        }
    }

    fn quoted(&mut self, quote: u8) -> Result<(), ExprError> {
        let start = self.position;
        if start > 0 && self.bytes.get(start - 1).copied().is_some_and(is_word) {
            let message = "text with a prefix (r, b) is not supported; write it plain";
            return Err(self.syntax(start, message.into()));
        }
        if self.peek(1) == Some(quote) && self.peek(2) == Some(quote) {
            let message = "text in triple quotes is not supported; use single ones";
            return Err(self.syntax(start, message.into()));
        }
        self.count(false)?;
        let mut length = 1;
        loop {
            match self.peek(length) {
                None | Some(b'\n') => {
                    return Err(self.syntax(start, "text is never closed".into()));
                }
                Some(byte) if byte < b' ' || byte == 0x7f => {
                    return Err(self.syntax(start + length, "control character in text".into()));
                }
                Some(b'\\') => length += 2,
                Some(byte) if byte == quote => break,
                Some(_) => length += 1,
            }
        }
        self.copy(length + 1);
        self.previous = Previous::Value;
        Ok(())
    }

    /// A segment that is quoted with backticks in the source.
    fn escaped(&mut self) -> Result<(), ExprError> {
        let start = self.position;
        if self.previous != Previous::Dot {
            let message = "a name in backticks must follow a dot: account.`10m`";
            return Err(self.syntax(start, message.into()));
        }
        let inside = self.bytes[start + 1..]
            .iter()
            .take_while(|&&byte| is_word(byte) || matches!(byte, b'.' | b'-' | b'/' | b' '))
            .count();
        if inside == 0 || self.peek(inside + 1) != Some(b'`') {
            let message = "a name in backticks may have letters, digits, `_`, `.`, `-`, `/`";
            return Err(self.syntax(start, message.into()));
        }
        self.count(false)?;
        self.copy(inside + 2);
        self.previous = Previous::Name;
        Ok(())
    }

    /// A word: keyword, first or further segment of a name. `quote` when it starts with a digit.
    fn segment(&mut self, quote: bool) -> Result<(), ExprError> {
        let length = self.bytes[self.position..].iter().take_while(|&&b| is_word(b)).count();
        let word = &self.source[self.position..self.position + length];
        let is_in = word == "in" && self.previous != Previous::Dot;
        if self.previous != Previous::Dot {
            self.segments = 1;
        }
        self.count(is_in)?;
        if quote {
            self.insert('`');
        }
        self.copy(length);
        if quote {
            self.insert('`');
        }
        self.previous = if is_in { Previous::Operator } else { Previous::Name };
        Ok(())
    }

    fn number(&mut self) -> Result<(), ExprError> {
        self.count(false)?;
        let mut length = 0;
        while let Some(byte) = self.peek(length) {
            let exponent = matches!(byte, b'+' | b'-')
                && length > 0
                && matches!(self.peek(length - 1), Some(b'e' | b'E'))
                && !matches!(self.peek(1), Some(b'x' | b'X'));
            if !(is_word(byte) || byte == b'.' || exponent) {
                break;
            }
            length += 1;
        }
        self.copy(length);
        self.previous = Previous::Value;
        Ok(())
    }

    fn punctuation(&mut self, byte: u8) -> Result<(), ExprError> {
        let start = self.position;
        let pair = [byte, self.peek(1).unwrap_or(0)];
        if matches!(&pair, b"&&" | b"||" | b"==" | b"!=" | b"<=" | b">=") {
            self.count(!matches!(&pair, b"&&" | b"||"))?;
            self.copy(2);
            self.previous = Previous::Operator;
            return Ok(());
        }
        match byte {
            b'(' | b'[' | b'{' => {
                self.count(true)?;
                self.brackets.push((byte, start));
                if self.brackets.len() > NESTING_MAX {
                    return Err(ExprError::TooLarge {
                        what: "nested brackets",
                        found: self.brackets.len(),
                        max: NESTING_MAX,
                        at: At::of(self.source, start),
                    });
                }
                self.previous = Previous::Operator;
            }
            b')' | b']' | b'}' => {
                self.count(false)?;
                let open = match byte {
                    b')' => b'(',
                    b']' => b'[',
                    _ => b'{',
                };
                match self.brackets.pop() {
                    Some((found, _)) if found == open => {}
                    _ => {
                        let message = format!("`{}` closes nothing", char::from(byte));
                        return Err(self.syntax(start, message));
                    }
                }
                self.previous = if byte == b']' { Previous::Name } else { Previous::Value };
            }
            b'.' => {
                self.count(false)?;
                self.segments += 1;
                if self.segments > SEGMENTS_MAX {
                    return Err(ExprError::TooLarge {
                        what: "segments in one name",
                        found: self.segments,
                        max: SEGMENTS_MAX,
                        at: At::of(self.source, start),
                    });
                }
                let after_name = self.previous == Previous::Name;
                self.previous = if after_name { Previous::Dot } else { Previous::Value };
            }
            b'+' | b'-' | b'*' | b'/' | b'%' | b'<' | b'>' | b'!' | b'?' => {
                self.count(true)?;
                self.previous = Previous::Operator;
            }
            b',' | b':' => {
                self.count(false)?;
                self.previous = Previous::Operator;
            }
            b'=' => return Err(self.syntax(start, "`=` is not an operator; write `==`".into())),
            b'&' | b'|' => {
                let twice = char::from(byte);
                let message = format!("`{twice}` is not an operator; write `{twice}{twice}`");
                return Err(self.syntax(start, message));
            }
            _ => {
                let found = self.source[start..].chars().next().unwrap_or('\u{fffd}');
                return Err(self.syntax(start, format!("unexpected character {found:?}")));
            }
        }
        self.copy(1);
        Ok(())
    }
}
