//! A lenient JSON reader: no tree, no recursion, and no allocation but for texts with escapes.
//!
//! A container is a span of bytes that is taken apart when its members are iterated. What nobody reads is only skipped to its closing
//! bracket, so that a field with a lone surrogate, `NaN` or a million brackets costs its own value and nothing else. Beyond RFC 8259
//! it takes: a byte order mark in front, control characters in texts, and bare words (`NaN`, `undefined`, `007`), as values that
//! cannot be read.

mod number;
mod text;

pub use number::Number;
pub use text::{BadText, Text};

/// A place at which a container's grammar breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Bytes left from there to the end of what was read.
    pub left: usize,
    /// There is nothing left: it is cut off.
    pub cut_off: bool,
}

/// A value, its content not read yet.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number in the grammar of JSON.
    Number(Number<'a>),
    /// A text, its escapes not resolved yet.
    Text(Text<'a>),
    /// A list.
    List(Items<'a>),
    /// An object.
    Object(Members<'a>),
    /// A bare word that is no JSON: `NaN`, `undefined`, `+1`.
    Word,
}

impl<'a> Value<'a> {
    /// The value that a text holds; `None` if it holds none, or more than one.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        cursor.white();
        let value = cursor.value().ok()?;
        cursor.white();
        cursor.rest.is_empty().then_some(value)
    }
}

/// Members of an object, in the order of the message. After an error there are no more.
#[derive(Clone, Copy, Debug)]
pub struct Members<'a> {
    cursor: Cursor<'a>,
    first: bool,
    /// Whether the closing brace is still ahead, and nothing may follow it.
    open: bool,
}

/// Items of a list. After an error there are no more.
#[derive(Clone, Copy, Debug)]
pub struct Items<'a> {
    cursor: Cursor<'a>,
    first: bool,
}

/// Members of the object that a message is; a byte order mark in front of it is skipped. `None`: it begins with something else.
pub fn members(message: &[u8]) -> Option<Members<'_>> {
    let mut cursor = Cursor::new(message.strip_prefix(b"\xef\xbb\xbf").unwrap_or(message));
    cursor.white();
    cursor.eat(b'{').then_some(Members { cursor, first: true, open: true })
}

impl<'a> Iterator for Members<'a> {
    type Item = Result<(Text<'a>, Value<'a>), Broken>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let read = self.read();
        if let Some(Err(_)) = read {
            self.cursor.rest = &[];
            (self.first, self.open) = (true, false);
        }
        read
    }
}

impl<'a> Members<'a> {
    #[inline]
    fn read(&mut self) -> Option<Result<(Text<'a>, Value<'a>), Broken>> {
        let cursor = &mut self.cursor;
        cursor.white();
        if self.open && cursor.eat(b'}') {
            self.open = false;
            cursor.white();
            // The end of a message: what follows belongs to no object.
            return if cursor.rest.is_empty() { None } else { Some(Err(cursor.broken())) };
        }
        if cursor.rest.is_empty() && !self.open {
            return None;
        }
        if !self.first && !cursor.eat(b',') {
            return Some(Err(cursor.broken()));
        }
        self.first = false;
        Some(cursor.member())
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<Value<'a>, Broken>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let cursor = &mut self.cursor;
        cursor.white();
        if cursor.rest.is_empty() {
            return None;
        }
        let separated = self.first || cursor.eat(b',');
        self.first = false;
        cursor.white();
        let read = if separated { cursor.value() } else { Err(cursor.broken()) };
        if read.is_err() {
            cursor.rest = &[];
        }
        Some(read)
    }
}

#[derive(Clone, Copy, Debug)]
struct Cursor<'a> {
    rest: &'a [u8],
}

/// What a byte means to who skips a container.
const PLAIN: u8 = 0;
const QUOTE: u8 = 1;
const OPENS: u8 = 2;
const CLOSES: u8 = 3;
const CLASS: [u8; 256] = {
    let mut class = [PLAIN; 256];
    class[b'"' as usize] = QUOTE;
    class[b'[' as usize] = OPENS;
    class[b'{' as usize] = OPENS;
    class[b']' as usize] = CLOSES;
    class[b'}' as usize] = CLOSES;
    class
};

impl<'a> Cursor<'a> {
    fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    fn broken(&self) -> Broken {
        Broken { left: self.rest.len(), cut_off: self.rest.is_empty() }
    }

    #[inline]
    fn white(&mut self) {
        while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    #[inline]
    fn eat(&mut self, byte: u8) -> bool {
        match self.rest {
            [first, rest @ ..] if *first == byte => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    #[inline]
    fn member(&mut self) -> Result<(Text<'a>, Value<'a>), Broken> {
        self.white();
        if !self.eat(b'"') {
            return Err(self.broken());
        }
        let name = self.text()?;
        self.white();
        if !self.eat(b':') {
            return Err(self.broken());
        }
        self.white();
        Ok((name, self.value()?))
    }

    #[inline]
    fn value(&mut self) -> Result<Value<'a>, Broken> {
        match self.rest {
            [b'"', rest @ ..] => {
                self.rest = rest;
                self.text().map(Value::Text)
            }
            [b'{', rest @ ..] => {
                self.rest = rest;
                let cursor = Cursor::new(self.container()?);
                Ok(Value::Object(Members { cursor, first: true, open: false }))
            }
            [b'[', rest @ ..] => {
                self.rest = rest;
                let cursor = Cursor::new(self.container()?);
                Ok(Value::List(Items { cursor, first: true }))
            }
            _ => self.bare(),
        }
    }

    /// A number or a word: everything up to what ends a value.
    #[inline]
    fn bare(&mut self) -> Result<Value<'a>, Broken> {
        let ends = |byte: &u8| {
            matches!(
                byte,
                b',' | b'}' | b']' | b':' | b'"' | b'{' | b'[' | b' ' | b'\t' | b'\n' | b'\r'
            )
        };
        let length = self.rest.iter().position(ends).unwrap_or(self.rest.len());
        if length == 0 {
            return Err(self.broken());
        }
        let (word, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(match word {
            b"null" => Value::Null,
            b"true" => Value::Bool(true),
            b"false" => Value::Bool(false),
            _ => Number::of(word).map_or(Value::Word, Value::Number),
        })
    }

    /// The rest of a text behind its first quote.
    #[inline]
    fn text(&mut self) -> Result<Text<'a>, Broken> {
        let (length, plain) = text::length(self.rest).ok_or(Broken { left: 0, cut_off: true })?;
        let text = Text { raw: &self.rest[..length], plain };
        self.rest = &self.rest[length + 1..];
        Ok(text)
    }

    /// The inside of a container behind its opening bracket. Brackets of both kinds are counted as one.
    fn container(&mut self) -> Result<&'a [u8], Broken> {
        let whole = self.rest;
        let (mut at, mut depth) = (0, 1usize);
        loop {
            let Some(byte) = whole.get(at) else { return Err(Broken { left: 0, cut_off: true }) };
            at += 1;
            match CLASS[usize::from(*byte)] {
                PLAIN => {}
                QUOTE => {
                    let text = text::length(&whole[at..]);
                    at += text.ok_or(Broken { left: 0, cut_off: true })?.0 + 1;
                }
                OPENS => depth += 1,
                _ => {
                    depth -= 1;
                    if depth == 0 {
                        self.rest = &whole[at..];
                        return Ok(&whole[..at - 1]);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value as Json;

    /// The value as a tree, to be compared with what serde_json reads.
    fn tree(value: Value<'_>) -> Option<Json> {
        Some(match value {
            Value::Null => Json::Null,
            Value::Bool(v) => v.into(),
            Value::Number(n) => n.to_f64().into(),
            Value::Text(t) => t.read().ok()?.into_owned().into(),
            Value::List(items) => {
                items.map(|item| tree(item.ok()?)).collect::<Option<Vec<_>>>()?.into()
            }
            Value::Object(members) => {
                let mut map = serde_json::Map::new();
                for member in members {
                    let (name, value) = member.ok()?;
                    map.insert(name.read().ok()?.into_owned(), tree(value)?);
                }
                map.into()
            }
            Value::Word => return None,
        })
    }

    fn numbers_as_floats(value: &Json) -> Json {
        match value {
            Json::Number(n) => n.as_f64().into(),
            Json::Array(all) => all.iter().map(numbers_as_floats).collect(),
            Json::Object(all) => {
                all.iter().map(|(name, v)| (name.clone(), numbers_as_floats(v))).collect()
            }
            other => other.clone(),
        }
    }

    fn json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<u64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            ".{0,20}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                proptest::collection::btree_map(".{0,9}", inner, 0..6)
                    .prop_map(|all| Json::Object(all.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn valid_json_is_read_as_serde_json_reads_it(json in json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&json) } else { serde_json::to_string(&json) }.unwrap();
            let read = Value::of(text.as_bytes()).and_then(tree);
            prop_assert_eq!(read, Some(numbers_as_floats(&json)), "{}", text);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80), text in "[\\[\\]{}\",:\\\\u0-9dnN .eE-]{0,60}") {
            for bytes in [&bytes[..], text.as_bytes()] {
                let _ = Value::of(bytes).and_then(tree);
                let count = members(bytes).map_or(0, Iterator::count);
                prop_assert!(count <= bytes.len() + 1);
                // What serde_json takes is taken, and is the same.
                if let Ok(json) = serde_json::from_slice::<Json>(bytes) {
                    prop_assert_eq!(Value::of(bytes).and_then(tree), Some(numbers_as_floats(&json)));
                }
            }
        }
    }

    #[test]
    fn what_is_not_read_is_skipped_to_its_end() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let cases = [
            r#"{"x":"\ud83d","y":1}"#,
            r#"{"x":NaN,"y":1}"#,
            r#"{"x":[1,,{"a" "]"}],"y":1}"#,
            r#"{"x":"\q","y":1}"#,
            &format!("{{\"x\":{deep},\"y\":1}}"),
            "\u{feff} {\"x\":\"\t\",\"y\":1}\n",
        ];
        for message in cases {
            let all: Result<Vec<_>, _> = members(message.as_bytes()).expect("an object").collect();
            let all = all.unwrap_or_else(|at| panic!("{at:?} {message:.40}"));
            assert_eq!(all.len(), 2, "{message:.40}");
            assert!(matches!(all[1].1, Value::Number(n) if n.to_f64() == 1.0), "{message:.40}");
        }
    }

    #[test]
    fn a_message_that_is_no_object_is_refused_where_it_breaks() {
        let left = |message: &str| {
            let broken = members(message.as_bytes())?.find_map(Result::err)?;
            Some((broken.left, broken.cut_off))
        };
        for (message, expected) in [
            ("{\"a\":1}", None),
            ("{}", None),
            ("[1]", None),
            ("{", Some((0, true))),
            ("{\"a\":", Some((0, true))),
            ("{\"a\":\"x", Some((0, true))),
            ("{\"a\":[1,", Some((0, true))),
            ("{\"a\":1,}", Some((1, false))),
            ("{\"a\" 1}", Some((2, false))),
            ("{\"a\":1 \"b\":2}", Some((6, false))),
            ("{\"a\":1} x", Some((1, false))),
            ("{,}", Some((2, false))),
        ] {
            assert_eq!(left(message), expected, "{message}");
        }
    }
}
