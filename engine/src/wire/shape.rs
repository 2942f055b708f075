//! Where the fields of a message are: pointers compiled into one tree, by which a message is walked once.
//!
//! A pointer may lead through a text that holds JSON itself. Such texts are opened after the message was walked, level by level, and
//! what was found is handed on while they live.

use super::fault::{Fault, Faults, Field};
use super::json::{self, Broken, Value};
use super::{Reject, RejectCode};
use crate::limits::{EMBEDDED_LEVELS_MAX, MESSAGE_BYTES_MAX};
use features::config::TimeUnit;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::ops::Range;

/// Pointers of every field; the first that leads to a value which can be read counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    pub event_id: Vec<String>,
    pub ts: Vec<String>,
    pub ts_unit: TimeUnit,
    pub event_type: Vec<String>,
    pub account: Vec<String>,
    pub target: Vec<String>,
    /// By kind.
    pub entities: Vec<(String, Vec<String>)>,
    /// Objects whose members are keys by kind.
    pub entity_roots: Vec<String>,
    /// By attribute.
    pub attributes: Vec<(String, Vec<String>)>,
    /// Objects whose members are values by attribute.
    pub attribute_roots: Vec<String>,
    pub label: Vec<String>,
    pub confidence: Vec<String>,
}

/// The places of all fields, compiled. A field's candidates are a range of [`Found::values`].
#[derive(Clone, Debug)]
pub(super) struct Shape {
    root: Node,
    /// Which field a candidate belongs to.
    fields: Vec<Field>,
    pub event_id: Range<usize>,
    pub ts: Range<usize>,
    pub ts_unit: TimeUnit,
    pub event_type: Range<usize>,
    pub account: Range<usize>,
    pub target: Range<usize>,
    pub entities: Vec<(String, Range<usize>)>,
    pub entity_roots: Range<usize>,
    pub attributes: Vec<(String, Range<usize>)>,
    pub attribute_roots: Range<usize>,
    pub label: Range<usize>,
    pub confidence: Range<usize>,
}

/// A part of a pointer.
#[derive(Clone, Debug, Default)]
struct Node {
    name: String,
    /// The name as a place in a list.
    index: Option<usize>,
    /// Candidates that end here.
    ends: Vec<usize>,
    /// Whether an object is wanted here, which a text may hold.
    opens: bool,
    children: Vec<Node>,
}

/// Candidates of a message, by place.
pub(super) type Values<'a> = SmallVec<[Option<Value<'a>>; 12]>;

/// What was found of a message.
pub(super) struct Found<'s, 'a> {
    pub shape: &'s Shape,
    pub values: Values<'a>,
}

/// A text that is to be opened, and the part of the tree that is looked for in it.
type Closed<'s> = (&'s Node, String);

impl Shape {
    pub(super) fn new(places: Places) -> Self {
        let mut root = Node::default();
        let mut fields = Vec::new();
        let mut place = |pointers: Vec<String>, field: Field, opens: bool| {
            let first = fields.len();
            for pointer in pointers {
                let node = root.at(&pointer);
                node.ends.push(fields.len());
                node.opens |= opens;
                fields.push(field);
            }
            first..fields.len()
        };
        let event_id = place(places.event_id, Field::EventId, false);
        let ts = place(places.ts, Field::Ts, false);
        let event_type = place(places.event_type, Field::Type, false);
        let account = place(places.account, Field::Account, false);
        let target = place(places.target, Field::Target, false);
        let entity_roots = place(places.entity_roots, Field::Entities, true);
        let attribute_roots = place(places.attribute_roots, Field::Attributes, true);
        let label = place(places.label, Field::Label, false);
        let confidence = place(places.confidence, Field::Confidence, false);
        let entities = places.entities.into_iter();
        let entities = entities.map(|(name, p)| (name, place(p, Field::Entities, false)));
        let entities = entities.collect();
        let attributes = places.attributes.into_iter();
        let attributes = attributes.map(|(name, p)| (name, place(p, Field::Attributes, false)));
        let attributes = attributes.collect();
        Self {
            ts_unit: places.ts_unit,
            event_id,
            ts,
            event_type,
            account,
            target,
            entities,
            entity_roots,
            attributes,
            attribute_roots,
            label,
            confidence,
            root,
            fields,
        }
    }

    /// Names the fields of candidates that are more than their section.
    pub(super) fn name_fields(&mut self, range: Range<usize>, field: Field) {
        self.fields[range].fill(field);
    }

    /// The field of a candidate.
    pub(super) fn field(&self, place: usize) -> Field {
        self.fields[place]
    }

    /// Finds the candidates of a message and hands them on.
    ///
    /// # Errors
    /// When the message is no object.
    pub(super) fn read<R>(
        &self,
        message: &[u8],
        faults: &mut Faults,
        then: impl for<'f> FnOnce(Found<'_, 'f>, &mut Faults) -> Result<R, Reject>,
    ) -> Result<R, Reject> {
        if message.len() > MESSAGE_BYTES_MAX {
            let detail = format!("{} bytes; at most {MESSAGE_BYTES_MAX} are read", message.len());
            return Err(Reject::new(RejectCode::TooLarge, detail));
        }
        let members = json::members(message).ok_or_else(|| no_object(message))?;
        let mut values = Values::from_elem(None, self.fields.len());
        let mut closed = Vec::new();
        let mut walk = Walk { shape: self, values: &mut values, closed: &mut closed, faults };
        walk.object(&self.root, members).map_err(|broken| no_json(message, broken))?;
        self.open(values, closed, 1, faults, then)
    }

    /// Walks on in texts, and in the texts that are found there.
    fn open<'s, R>(
        &'s self,
        values: Values<'_>,
        closed: Vec<Closed<'s>>,
        level: usize,
        faults: &mut Faults,
        then: impl for<'f> FnOnce(Found<'s, 'f>, &mut Faults) -> Result<R, Reject>,
    ) -> Result<R, Reject> {
        if closed.is_empty() {
            return then(Found { shape: self, values }, faults);
        }
        // Shorter borrows: those of the texts.
        let mut values: Values<'_> = values.into_iter().map(|v| v.map(shorter)).collect();
        let mut deeper = Vec::new();
        for (node, text) in &closed {
            let value = Value::of(text.as_bytes()).filter(|_| level <= EMBEDDED_LEVELS_MAX);
            let mut walk = Walk { shape: self, values: &mut values, closed: &mut deeper, faults };
            match value {
                Some(value @ (Value::Object(_) | Value::List(_) | Value::Text(_))) => {
                    walk.value(node, value, false);
                }
                _ => walk.add_below(node, Fault::BadValue),
            }
        }
        self.open(values, deeper, level + 1, faults, then)
    }
}

impl Node {
    /// The node of a pointer, made where it is missing.
    fn at(&mut self, pointer: &str) -> &mut Node {
        let mut node = self;
        for part in pointer.split('/').skip(1) {
            let name = part.replace("~1", "/").replace("~0", "~");
            let found = node.children.iter().position(|child| child.name == name);
            let place = found.unwrap_or_else(|| {
                let is_index = name == "0" || !name.starts_with(['0', '+']);
                let index = if is_index { name.parse().ok() } else { None };
                node.children.push(Node { name, index, ..Node::default() });
                node.children.len() - 1
            });
            node = &mut node.children[place];
        }
        node
    }
}

fn shorter<'b, 'a: 'b>(value: Value<'a>) -> Value<'b> {
    value
}

struct Walk<'w, 's, 'a> {
    shape: &'s Shape,
    values: &'w mut Values<'a>,
    closed: &'w mut Vec<Closed<'s>>,
    faults: &'w mut Faults,
}

impl<'s, 'a> Walk<'_, 's, 'a> {
    /// Takes a value that a pointer leads to or through. `again`: it takes another one's place.
    fn value(&mut self, node: &'s Node, value: Value<'a>, again: bool) {
        for &end in &node.ends {
            self.values[end] = Some(value);
        }
        if again {
            self.add_below(node, Fault::Duplicate);
        }
        if node.children.is_empty() && !node.opens {
            return;
        }
        match value {
            Value::Object(members) => {
                if !node.children.is_empty() && self.object(node, members).is_err() {
                    self.add_below(node, Fault::Malformed);
                }
            }
            Value::List(items) => {
                let Some(last) = node.children.iter().filter_map(|child| child.index).max() else {
                    return;
                };
                for (at, item) in items.take(last.saturating_add(1)).enumerate() {
                    let Ok(item) = item else { return self.add_below(node, Fault::Malformed) };
                    if let Some(child) = node.children.iter().find(|c| c.index == Some(at)) {
                        self.value(child, item, false);
                    }
                }
            }
            Value::Text(text) => match text.read() {
                // Other texts hold none: they are values themselves, where another pointer ends.
                Ok(text) if text.trim_start().starts_with(['{', '[', '"']) => {
                    self.closed.push((node, Cow::into_owned(text)));
                }
                Ok(_) => {}
                Err(_) => self.add_below(node, Fault::BadText),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Word => {}
        }
    }

    /// Takes the members of an object; of several with one name the last.
    fn object(&mut self, node: &'s Node, members: json::Members<'a>) -> Result<(), Broken> {
        // Values that are walked into, once it is known that they are the last.
        let mut inner: SmallVec<[(usize, Value<'a>, bool); 4]> = SmallVec::new();
        let mut broken = None;
        for member in members {
            let (name, value) = match member {
                Ok(member) => member,
                Err(at) => {
                    broken = Some(at);
                    break;
                }
            };
            let Some(at) = node.children.iter().position(|child| name.is(&child.name)) else {
                continue;
            };
            let child = &node.children[at];
            if let ([end], []) = (&child.ends[..], &child.children[..])
                && !child.opens
            {
                // What most members are.
                if self.values[*end].replace(value).is_some() {
                    self.faults.add(self.shape.fields[*end], Fault::Duplicate);
                }
                continue;
            }
            match inner.iter_mut().find(|(child, ..)| *child == at) {
                Some(before) => (before.1, before.2) = (value, true),
                None => inner.push((at, value, false)),
            }
        }
        for (at, value, again) in inner {
            self.value(&node.children[at], value, again);
        }
        broken.map_or(Ok(()), Err)
    }

    /// Something is wrong for all candidates here and below.
    #[cold]
    fn add_below(&mut self, node: &Node, fault: Fault) {
        for &end in &node.ends {
            self.faults.add(self.shape.fields[end], fault);
        }
        for child in &node.children {
            self.add_below(child, fault);
        }
    }
}

#[cold]
fn no_object(message: &[u8]) -> Reject {
    if std::str::from_utf8(message).is_err() {
        return Reject::new(RejectCode::NotUtf8, "the message is not UTF-8");
    }
    let message = message.trim_ascii();
    let is_list = message.starts_with(b"[");
    if is_list || Value::of(message).is_some_and(|value| !matches!(value, Value::Word)) {
        return Reject::new(RejectCode::NotAnObject, "a message must be a JSON object");
    }
    no_json(message, Broken { left: message.len(), cut_off: message.is_empty() })
}

#[cold]
fn no_json(message: &[u8], broken: Broken) -> Reject {
    let read = &message[..message.len().saturating_sub(broken.left)];
    let line = 1 + read.iter().filter(|b| **b == b'\n').count();
    let column = 1 + read.iter().rev().take_while(|b| **b != b'\n').count();
    let what = if broken.cut_off { "cut off" } else { "not valid JSON" };
    Reject::new(RejectCode::NotJson, format!("{what} at line {line} column {column}"))
}
