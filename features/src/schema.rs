//! What is counted, compiled: ids of names, counters, and one byte layout per role, under one version.

use crate::blocks::hours::LocalTime;
use crate::config::AttributeKind;
use crate::decay::HalfLives;
use crate::event::{Event, KindId, TimeMs, TypeId};
use crate::expr::Program;
use crate::hits::CounterHits;
use crate::key_form::{KeyForm, Malformed};
use crate::layout::{Column, Field, Layout, Role};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

pub use crate::compile::SchemaError;

/// How the stream's time runs, in milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Time {
    /// Half-lives of the decayed counters.
    pub half_lives: HalfLives,
    /// Their names as declared, which feature names end in.
    pub half_life_names: [String; 4],
    /// How late an event may be and still move everything but rhythm, sessions and robust means.
    pub lateness_max_ms: i64,
    /// How far a few accounts may move the stream's clock past what most accounts say.
    pub jump_max_ms: i64,
    /// Accounts idle for longer are forgotten.
    pub account_ttl_ms: i64,
    /// A pause longer than this starts a new session.
    pub session_gap_ms: i64,
    /// What hour and night mean.
    pub local: LocalTime,
}

/// One declared attribute.
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// Its name in events.
    pub name: String,
    /// How its value is read.
    pub kind: AttributeKind,
    /// For categories: the values that have an index of their own.
    pub values: Vec<String>,
}

/// One declared kind of entity.
#[derive(Clone, Debug, PartialEq)]
pub struct Kind {
    /// Its name in events.
    pub name: String,
    /// Its keys are accounts.
    pub is_account: bool,
    /// Its links bind accounts into components, unless it is copyable.
    pub strong: bool,
    /// Anybody can use its keys without having the thing.
    pub copyable: bool,
    /// Entities and links idle for longer are forgotten, milliseconds.
    pub ttl_ms: i64,
    /// How much it counts in suspicion.
    pub weight: f32,
    /// Above this many accounts, new links no longer join components.
    pub union_degree_max: u32,
    /// Above this many accounts, nobody walks from the entity to its members.
    pub expand_degree_max: u32,
    /// Whose profile its keys have: [`Role::TARGET`] for accounts.
    pub role: Role,
    /// How its keys are spelled; none: as they come.
    pub form: Option<KeyForm>,
    /// Keys that are absent wherever they are named, in normal form, sorted.
    pub ignored: Vec<String>,
}

impl Kind {
    /// The key under which a thing is known, however it was spelled: the one way from keys in events, labels, allow
    /// lists and questions to keys of the state.
    ///
    /// # Errors
    /// When the key does not parse under the kind's form; it is then known as it came.
    pub fn normal<'a>(&self, key: &'a str) -> Result<Cow<'a, str>, Malformed> {
        self.form.map_or(Ok(Cow::Borrowed(key)), |form| form.normal(key))
    }

    /// Whether a key in its normal form is ignored. O(log ignored keys).
    pub fn ignores(&self, key: &str) -> bool {
        self.ignored.binary_search_by(|ignored| ignored.as_str().cmp(key)).is_ok()
    }
}

/// A way in which an event names another account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountRole {
    /// `target`, or the kind's name.
    pub name: String,
    /// The kind; `None` is the event's target.
    pub kind: Option<KindId>,
}

/// A compiled counter, as [`Schema::hits`] needs it.
#[derive(Clone, Debug)]
pub(crate) struct Counting {
    pub when: Option<Program>,
    pub sum: Option<usize>,
}

/// The field table of one role, for publishing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoleTable {
    /// Version of the whole schema.
    pub version: String,
    /// The role's name.
    pub role: String,
    /// Bytes of a profile.
    pub size: usize,
    /// Its fields, by offset; little-endian.
    pub fields: Vec<Field>,
    /// The columns read from it.
    pub columns: Vec<Column>,
}

/// Declarations, checked and compiled. See [`Schema::compile`].
#[derive(Clone, Debug)]
pub struct Schema {
    pub(crate) version: String,
    pub(crate) time: Time,
    pub(crate) types: Vec<String>,
    pub(crate) type_ids: BTreeMap<String, TypeId>,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) attribute_slots: BTreeMap<String, usize>,
    pub(crate) category_values: Vec<BTreeMap<String, f32>>,
    pub(crate) kinds: Vec<Kind>,
    pub(crate) kind_ids: BTreeMap<String, KindId>,
    pub(crate) account_roles: Vec<AccountRole>,
    pub(crate) layouts: Vec<Layout>,
    pub(crate) neighbour_columns: Vec<Vec<usize>>,
    pub(crate) counting: Vec<Counting>,
    /// Bit per counter, by type; undeclared types last.
    pub(crate) counters_of_type: Vec<u64>,
    pub(crate) conditional: u64,
    pub(crate) summing: u64,
}

impl Schema {
    /// Sixteen hex digits over everything that bytes and columns depend on. Equal versions read each other's profiles.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// How time runs.
    pub fn time(&self) -> &Time {
        &self.time
    }

    /// The id of a type; [`TypeId::OTHER`] for undeclared ones. O(log types).
    pub fn type_id(&self, name: &str) -> TypeId {
        self.type_ids.get(name).copied().unwrap_or(TypeId::OTHER)
    }

    /// The name of a type; `None` for [`TypeId::OTHER`].
    pub fn type_name(&self, id: TypeId) -> Option<&str> {
        self.types.get(usize::from(id.0)).map(String::as_str)
    }

    /// Declared types, by id.
    pub fn types(&self) -> &[String] {
        &self.types
    }

    /// A type as a number in vectors and conditions: its index, or the number of declared types for undeclared ones.
    pub fn type_value(&self, id: TypeId) -> f32 {
        usize::from(id.0).min(self.types.len()) as f32
    }

    /// Declared attributes, by slot: in order of name.
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }

    /// The slot of an attribute. O(log attributes).
    pub fn attribute_slot(&self, name: &str) -> Option<usize> {
        self.attribute_slots.get(name).copied()
    }

    /// A category's text as a number: its index, or the number of declared values for any other text. NaN if the slot is no category.
    pub fn category_value(&self, slot: usize, text: &str) -> f32 {
        match (self.attributes.get(slot), self.category_values.get(slot)) {
            (Some(a), Some(values)) if a.kind == AttributeKind::Category => {
                values.get(text).copied().unwrap_or(a.values.len() as f32)
            }
            _ => f32::NAN,
        }
    }

    /// Declared kinds, by id: in order of name.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// The id of a kind. O(log kinds).
    pub fn kind_id(&self, name: &str) -> Option<KindId> {
        self.kind_ids.get(name).copied()
    }

    /// A kind, by id.
    pub fn kind(&self, id: KindId) -> Option<&Kind> {
        self.kinds.get(usize::from(id.0))
    }

    /// The ways in which events name other accounts: `target`, then the kinds that are accounts, by name.
    pub fn account_roles(&self) -> &[AccountRole] {
        &self.account_roles
    }

    /// Layouts by role: what accounts do, what is done to them, then kinds that are not accounts, by name.
    pub fn layouts(&self) -> &[Layout] {
        &self.layouts
    }

    /// One role's layout; `None` for a role that this schema does not have.
    pub fn layout(&self, role: Role) -> Option<&Layout> {
        self.layouts.get(usize::from(role.0))
    }

    /// Which values of the other side are to be passed as [`Observation::neighbour`](crate::profile::Observation::neighbour) for a role.
    ///
    /// Indices into the other side's account columns followed by its target columns. The other side of `account` is the account that the
    /// event acts upon; of `target` and of kinds it is the acting account.
    pub fn neighbour_columns(&self, role: Role) -> &[usize] {
        self.neighbour_columns.get(usize::from(role.0)).map_or(&[], Vec::as_slice)
    }

    /// The field tables of all roles.
    pub fn tables(&self) -> Vec<RoleTable> {
        let table = |layout: &Layout| RoleTable {
            version: self.version.clone(),
            role: layout.role_name().into(),
            size: layout.size(),
            fields: layout.fields().to_vec(),
            columns: layout.columns().to_vec(),
        };
        self.layouts.iter().map(table).collect()
    }

    /// Which counters an event moves, and by how much. No allocation.
    pub fn hits(&self, event: &Event) -> CounterHits {
        self.hits_of(event.type_id, &event.attributes)
    }

    /// As [`Schema::hits`], from the parts that count. Attributes missing at the end are absent.
    pub fn hits_of(&self, type_id: TypeId, attributes: &[f32]) -> CounterHits {
        let mut hits = CounterHits::default();
        self.hits_into(type_id, attributes, &mut hits);
        hits
    }

    /// As [`Schema::hits_of`], into one that is used again: spares clearing and copying the array.
    pub fn hits_into(&self, type_id: TypeId, attributes: &[f32], hits: &mut CounterHits) {
        hits.clear();
        let row = usize::from(type_id.0).min(self.types.len());
        let mut left = self.counters_of_type.get(row).copied().unwrap_or(0);
        let type_slot = self.attributes.len();
        let load = |slot: u32| match slot as usize {
            s if s == type_slot => row as f32,
            s => attributes.get(s).copied().filter(|x| x.is_finite()).unwrap_or(f32::NAN),
        };
        while left != 0 {
            let bit = left & left.wrapping_neg();
            let counter = left.trailing_zeros() as usize;
            left &= left - 1;
            if (self.conditional | self.summing) & bit == 0 {
                hits.set(counter, 1.0);
                continue;
            }
            let Some(counting) = self.counting.get(counter) else { continue };
            if counting.when.as_ref().is_some_and(|when| !when.eval_with(load)) {
                continue;
            }
            let weight = match counting.sum {
                None => 1.0,
                Some(slot) => crate::blocks::number(load(slot as u32)).unwrap_or(0.0),
            };
            hits.set(counter, weight);
        }
    }

    /// The event's own columns: type, attributes by slot, hour, night, weekend, sine and cosine of the hour. Fills as many as fit; see
    /// [`Schema::event_names`].
    pub fn event_columns(
        &self,
        ts_ms: TimeMs,
        type_id: TypeId,
        attributes: &[f32],
        out: &mut [f32],
    ) {
        let local = &self.time.local;
        let turn = local.hour_fraction(ts_ms.max(0)) / 24.0;
        let ahead = std::iter::once(self.type_value(type_id));
        let values = (0..self.attributes.len()).map(|slot| {
            attributes.get(slot).and_then(|x| crate::blocks::number(*x)).unwrap_or(f32::NAN)
        });
        let clock = [
            local.hour(ts_ms.max(0)) as f32,
            f32::from(u8::from(local.is_night(ts_ms.max(0)))),
            f32::from(u8::from(local.is_weekend(ts_ms.max(0)))),
            crate::decay::sin_turn(turn),
            crate::decay::sin_turn(turn + 0.25),
        ];
        for (cell, value) in out.iter_mut().zip(ahead.chain(values).chain(clock)) {
            *cell = value;
        }
    }

    /// Names of the event's own columns: `event.type`, `event.<attribute>`, `event.hour` …
    pub fn event_names(&self) -> Vec<String> {
        let ahead = std::iter::once("type");
        let attributes = self.attributes.iter().map(|a| a.name.as_str());
        let clock = ["hour", "night", "weekend", "hour_sin", "hour_cos"];
        ahead.chain(attributes).chain(clock).map(|name| format!("event.{name}")).collect()
    }
}
