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
/// the second of each, and so on. `kinds` are those of the shape's own pointers.
pub(super) fn read(
    found: &Found<'_, '_>,
    words: &Vocabulary,
    kinds: &[Option<KindId>],
    faults: &mut Faults,
) -> Entities {
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
                faults.add(Field::Entities, Fault::WrongType);
                continue;
            }
        };
        let first = listed.len();
        for member in members {
            let Ok((name, value)) = member else {
                faults.add(Field::Entities, Fault::Malformed);
                break;
            };
            let Some(kind) = name.read().ok().and_then(|name| words.kind_id(&name)) else {
                continue;
            };
            // Of several with one name the last.
            match listed[first..].iter_mut().find(|(known, _)| *known == kind) {
                Some(before) => {
                    before.1 = value;
                    faults.add(Field::Kind(kind), Fault::Duplicate);
                }
                None => listed.push((kind, value)),
            }
        }
    }
    let mut entities = Entities::new();
    for &(kind, value) in &listed {
        for key in Keys::of(value) {
            let Some(key) = counted(kind, key, faults) else { continue };
            if holds(&entities, kind, &key) {
                continue;
            }
            if entities.len() == ENTITIES_PER_EVENT_MAX {
                return in_rounds(&listed, faults);
            }
            entities.push(EntityRef { kind, key });
        }
    }
    entities
}

/// A key, once what is wrong with it is counted.
fn counted(kind: KindId, key: Result<Key, Fault>, faults: &mut Faults) -> Option<CompactString> {
    match key {
        Ok((key, shortened)) => {
            if shortened {
                faults.add(Field::Kind(kind), Fault::TooLong);
            }
            Some(key)
        }
        Err(fault) => {
            faults.add(Field::Kind(kind), fault);
            None
        }
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

/// One key of each place after the other until the cap is reached.
#[cold]
fn in_rounds(listed: &Listed<'_>, faults: &mut Faults) -> Entities {
    let mut places: Vec<(KindId, Keys<'_>)> =
        listed.iter().map(|(kind, value)| (*kind, Keys::of(*value))).collect();
    let mut kept = Entities::new();
    // The place of each that is kept.
    let mut from: Vec<usize> = Vec::with_capacity(ENTITIES_PER_EVENT_MAX);
    loop {
        let before = kept.len();
        for (at, (kind, keys)) in places.iter_mut().enumerate() {
            let next = keys.find_map(|key| {
                counted(*kind, key, faults).filter(|key| !holds(&kept, *kind, key))
            });
            let Some(key) = next else { continue };
            if kept.len() == ENTITIES_PER_EVENT_MAX {
                faults.add(Field::Kind(*kind), Fault::TooMany);
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
