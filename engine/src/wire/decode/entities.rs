//! Keys of the things that an event names, up to a cap that no list can use to hide the others.

use crate::limits::ENTITIES_PER_EVENT_MAX;
use crate::wire::Vocabulary;
use crate::wire::fault::{Fault, Faults, Field};
use crate::wire::json::{Items, Value};
use crate::wire::read::{self, Key};
use crate::wire::shape::Found;
use compact_str::CompactString;
use features::event::{EntityRef, KindId};
use smallvec::SmallVec;

type Entities = SmallVec<[EntityRef; 4]>;

/// What one place has of a kind.
type Listed<'a> = SmallVec<[(KindId, Value<'a>); 8]>;

/// Keys of all kinds, each once, in the order of the message. Beyond [`ENTITIES_PER_EVENT_MAX`] the first key of each kind is kept, then
/// the second of each, and so on. `kinds` are those of the shape's own pointers. Beside them, as bits, the kinds of which the message has more.
pub(super) fn read(
    found: &Found<'_, '_>,
    words: &Vocabulary,
    kinds: &[Option<KindId>],
    faults: &mut Faults,
) -> (Entities, u32) {
    let mut noted = Noted { faults, partial_kinds: 0 };
    let listed = listed(found, words, kinds, &mut noted);
    let entities = noted.read(&listed);
    (entities, noted.partial_kinds)
}

/// What is wrong with keys, on its way to the counts.
struct Noted<'a> {
    faults: &'a mut Faults,
    partial_kinds: u32,
}

impl Noted<'_> {
    /// Not every key of a kind is kept.
    fn partial(&mut self, kind: KindId, fault: Fault) {
        self.faults.add(Field::Kind(kind), fault);
        self.partial_kinds |= 1 << kind.0;
    }

    /// Nobody knows which kinds were meant.
    fn all_partial(&mut self, fault: Fault) {
        self.faults.add(Field::Entities, fault);
        self.partial_kinds = u32::MAX;
    }
}

/// The values of each kind, wherever they stand.
fn listed<'a>(
    found: &Found<'_, 'a>,
    words: &Vocabulary,
    kinds: &[Option<KindId>],
    noted: &mut Noted<'_>,
) -> Listed<'a> {
    let mut listed = Listed::new();
    for ((_, range), kind) in found.shape.entities.iter().zip(kinds) {
        let Some(kind) = *kind else { continue };
        // Up to the first that has a key; those before it are only counted.
        for value in found.values[range.clone()].iter().flatten() {
            listed.push((kind, *value));
            if Keys::of(*value).any(|key| key.is_ok()) {
                break;
            }
        }
    }
    for place in found.shape.entity_roots.clone() {
        let members = match found.values[place] {
            None | Some(Value::Null) => continue,
            Some(Value::Object(members)) => members,
            Some(_) => {
                noted.all_partial(Fault::WrongType);
                continue;
            }
        };
        let first = listed.len();
        for member in members {
            let Ok((name, value)) = member else {
                noted.all_partial(Fault::Malformed);
                break;
            };
            let Some(kind) = name.read().ok().and_then(|name| words.kind_id(&name)) else {
                continue;
            };
            // Of several with one name the last.
            match listed[first..].iter_mut().find(|(known, _)| *known == kind) {
                Some(before) => {
                    before.1 = value;
                    noted.partial(kind, Fault::Duplicate);
                }
                None => listed.push((kind, value)),
            }
        }
    }
    listed
}

impl Noted<'_> {
    fn read(&mut self, listed: &Listed<'_>) -> Entities {
        let mut entities = Entities::new();
        for &(kind, value) in listed {
            for key in Keys::of(value) {
                let Some(key) = self.counted(kind, key) else { continue };
                if holds(&entities, kind, &key) {
                    continue;
                }
                if entities.len() == ENTITIES_PER_EVENT_MAX {
                    return self.in_rounds(listed);
                }
                entities.push(EntityRef { kind, key });
            }
        }
        entities
    }

    /// A key, once what is wrong with it is counted.
    fn counted(&mut self, kind: KindId, key: Result<Key, Fault>) -> Option<CompactString> {
        match key {
            Ok((key, shortened)) => {
                if shortened {
                    self.faults.add(Field::Kind(kind), Fault::TooLong);
                }
                Some(key)
            }
            Err(fault) => {
                self.partial(kind, fault);
                None
            }
        }
    }

    /// One key of each place after the other until the cap is reached.
    #[cold]
    fn in_rounds(&mut self, listed: &Listed<'_>) -> Entities {
        let mut places: Vec<(KindId, Keys<'_>)> =
            listed.iter().map(|(kind, value)| (*kind, Keys::of(*value))).collect();
        let mut kept = Entities::new();
        // The place of each that is kept.
        let mut from: Vec<usize> = Vec::with_capacity(ENTITIES_PER_EVENT_MAX);
        loop {
            let before = kept.len();
            for (at, (kind, keys)) in places.iter_mut().enumerate() {
                let next = keys.find_map(|key| {
                    self.counted(*kind, key).filter(|key| !holds(&kept, *kind, key))
                });
                let Some(key) = next else { continue };
                if kept.len() == ENTITIES_PER_EVENT_MAX {
                    self.partial(*kind, Fault::TooMany);
                } else {
                    kept.push(EntityRef { kind: *kind, key });
                    from.push(at);
                }
            }
            // The last round only finds out which places have more.
            if kept.len() == before {
                break;
            }
        }
        let mut kept: Vec<_> = from.into_iter().zip(kept).collect();
        kept.sort_by_key(|(at, _)| *at);
        kept.into_iter().map(|(_, entity)| entity).collect()
    }
}

/// The keys of a value: it is one, or a list of them. Null and empty texts are none.
pub(super) struct Keys<'a> {
    one: Option<Value<'a>>,
    list: Option<Items<'a>>,
}

impl<'a> Keys<'a> {
    pub(super) fn of(value: Value<'a>) -> Self {
        match value {
            Value::List(items) => Self { one: None, list: Some(items) },
            one => Self { one: Some(one), list: None },
        }
    }
}

impl Iterator for Keys<'_> {
    type Item = Result<Key, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let value = match (self.one.take(), &mut self.list) {
                (Some(one), _) => one,
                (None, Some(items)) => match items.next()? {
                    Ok(item) => item,
                    Err(_) => return Some(Err(Fault::Malformed)),
                },
                (None, None) => return None,
            };
            if let Some(key) = read::key(&value).transpose() {
                return Some(key);
            }
        }
    }
}

fn holds(entities: &[EntityRef], kind: KindId, key: &str) -> bool {
    entities.iter().any(|entity| entity.kind == kind && entity.key == key)
}
