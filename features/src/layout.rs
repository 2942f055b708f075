//! Where everything lies in a profile's bytes, and which columns are read from it: one [`Layout`] per role.

use crate::blocks::counters::Slots;
use crate::blocks::distinct::Distinct;
use crate::blocks::head::Head;
use crate::blocks::hours::LocalTime;
use crate::blocks::labels::Labels;
use crate::blocks::neighbours::Neighbour;
use crate::blocks::numeric::Numeric;
use crate::blocks::rhythm::Rhythm;
use crate::blocks::robust::Robust;
use crate::blocks::sessions::Sessions;
use crate::blocks::windows::{CountRing, SumRing, tile_ms};
use crate::blocks::{distinct, head, hours, neighbours, numeric, rhythm, robust, sessions};
use crate::decay::HalfLives;
pub use crate::field::{Column, Field, FieldType};
use std::mem::{offset_of, size_of};

/// Whose profile: what an account does, what is done to an account, or one kind of entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Role(pub u8);

impl Role {
    /// What an account does.
    pub const ACCOUNT: Role = Role(0);
    /// What is done to an account: as target, or under a kind that is an account.
    pub const TARGET: Role = Role(1);
}

/// What all layouts of a schema share.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub half_lives: HalfLives,
    pub half_life_names: [String; 4],
    pub lateness_max_ms: i64,
    pub session_gap_ms: i64,
    pub local: LocalTime,
    pub types: Vec<String>,
}

/// A checked counter, as layouts need it.
#[derive(Clone, Debug)]
pub(crate) struct CounterSpec {
    pub name: String,
    /// What it counts: types and condition, in one canonical text. Equal for a sum and the count that it is divided by.
    pub selects: String,
    pub sum: Option<String>,
    /// Window names as declared, with their milliseconds.
    pub windows: Vec<(String, i64)>,
}

/// The checked declaration of a role.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoleSpec {
    pub name: String,
    /// Indices into the schema's counters.
    pub counters: Vec<usize>,
    /// Name and slot of attributes.
    pub numeric: Vec<(String, usize)>,
    /// Name and `what` of keys.
    pub distinct: Vec<(String, u8)>,
    pub rhythm: bool,
    pub hours: bool,
    pub sessions: bool,
    pub labels: bool,
    pub neighbours: Vec<String>,
}

/// One window in the bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowAt {
    pub at: usize,
    pub tile_ms: i64,
    pub counter: usize,
    pub is_sum: bool,
}

/// The fixed layout of one role's profiles, and the columns read from them.
#[derive(Clone, Debug)]
pub struct Layout {
    pub(crate) role: Role,
    pub(crate) name: String,
    pub(crate) size: usize,
    pub(crate) rules: Rules,
    pub(crate) counters_at: usize,
    pub(crate) slots: Slots,
    /// Slots of counts (not sums), which get accelerations.
    pub(crate) accelerated: Vec<usize>,
    /// Slot of a sum, and of the count that divides it.
    pub(crate) averaged: Vec<(usize, usize)>,
    pub(crate) windows: Vec<WindowAt>,
    pub(crate) rhythm_at: Option<usize>,
    pub(crate) sessions_at: Option<usize>,
    pub(crate) hours_at: Option<usize>,
    pub(crate) labels_at: Option<usize>,
    pub(crate) numeric_at: usize,
    pub(crate) numeric_slots: Vec<usize>,
    pub(crate) robust_at: usize,
    /// Slots of attributes with robust means.
    pub(crate) robust_slots: Vec<usize>,
    pub(crate) distinct_at: usize,
    pub(crate) distinct_whats: Vec<u8>,
    /// Position among the role's distinct counts, per `what`; 255: not counted.
    pub(crate) distinct_of: [u8; 256],
    pub(crate) neighbours_at: usize,
    pub(crate) neighbours: usize,
    /// An empty profile, read in place of one that does not exist.
    pub(crate) empty: Vec<u64>,
    fields: Vec<Field>,
    columns: Vec<Column>,
}

/// Lays blocks one after the other and writes down fields and columns.
#[derive(Default)]
struct Builder {
    size: usize,
    fields: Vec<Field>,
    columns: Vec<Column>,
}

impl Builder {
    /// Room for a block, at a multiple of 8.
    fn place(&mut self, bytes: usize) -> usize {
        let at = self.size;
        self.size += bytes.next_multiple_of(8);
        at
    }

    fn field(
        &mut self,
        name: String,
        offset: usize,
        kind: FieldType,
        count: usize,
        unit: &str,
        means: &str,
    ) {
        self.fields.push(Field {
            name,
            offset,
            kind,
            count,
            unit: unit.into(),
            means: means.into(),
        });
    }

    fn column(&mut self, name: impl Into<String>, unit: &str) {
        self.columns.push(Column { name: name.into(), unit: unit.into() });
    }

    fn fixed_columns(&mut self, columns: &[(&str, &str)]) {
        columns.iter().for_each(|(name, unit)| self.column(*name, unit));
    }
}

/// Writes down the fields of a block's struct: `part!(builder, at, prefix, means, Struct, field: type x count, unit; ...)`.
macro_rules! part {
    ($b:expr, $at:expr, $prefix:expr, $means:expr, $s:ty, $($field:ident: $kind:ident x $count:expr, $unit:expr;)*) => {
        $($b.field(format!("{}.{}", $prefix, stringify!($field)), $at + offset_of!($s, $field), FieldType::$kind, $count, $unit, $means);)*
    };
}

impl Layout {
    pub(crate) fn build(
        role: Role,
        spec: &RoleSpec,
        rules: &Rules,
        counters: &[CounterSpec],
    ) -> Layout {
        let mut b = Builder::default();
        let half_lives = rules.half_life_names.join(",");
        let decays = format!("half-lives {half_lives}");
        let longest = rules.half_life_names[3].as_str();

        let at = b.place(size_of::<Head>());
        let types = format!("index into [{}]", rules.types.join(","));
        part!(b, at, "head", "lifetime", Head, first_ms: I64 x 1, "ms"; last_ms: I64 x 1, "ms"; events: U32 x 1, "events"; late: U32 x 1, "events";);
        part!(b, at, "head", &types, Head, last_type: U32 x 1, "index";);
        b.fixed_columns(&head::COLUMNS);

        let slots = Slots::new(&spec.counters);
        let kept: Vec<&CounterSpec> =
            spec.counters.iter().filter_map(|c| counters.get(*c)).collect();
        let counters_at = b.place(16 * kept.len());
        for (slot, counter) in kept.iter().enumerate() {
            let unit = counter.sum.as_deref().unwrap_or("events");
            let means = format!(
                "{decays}; {}; sum of {}",
                counter.selects,
                counter.sum.as_deref().unwrap_or("1")
            );
            b.field(
                format!("counter.{}", counter.name),
                counters_at + 16 * slot,
                FieldType::F32,
                4,
                unit,
                &means,
            );
            for half_life in &rules.half_life_names {
                b.column(format!("{}.{half_life}", counter.name), unit);
            }
        }
        let accelerated: Vec<usize> =
            (0..kept.len()).filter(|slot| kept[*slot].sum.is_none()).collect();
        for &slot in &accelerated {
            for (short, long) in [(0, 2), (1, 3)] {
                let names = &rules.half_life_names;
                b.column(
                    format!("{}.accel_{}_{}", kept[slot].name, names[short], names[long]),
                    "ratio",
                );
            }
        }
        let averaged: Vec<(usize, usize)> = (0..kept.len())
            .filter(|slot| kept[*slot].sum.is_some())
            .filter_map(|slot| {
                let count =
                    accelerated.iter().find(|count| kept[**count].selects == kept[slot].selects)?;
                Some((slot, *count))
            })
            .collect();
        for &(slot, _) in &averaged {
            for half_life in &rules.half_life_names {
                b.column(
                    format!("{}.mean.{half_life}", kept[slot].name),
                    kept[slot].sum.as_deref().unwrap_or(""),
                );
            }
        }

        let mut windows = Vec::new();
        for (counter, spec) in spec.counters.iter().zip(&kept) {
            for (window, window_ms) in &spec.windows {
                let name = format!("window.{}.{window}", spec.name);
                let (is_sum, unit) = (spec.sum.is_some(), spec.sum.as_deref().unwrap_or("events"));
                let tile_ms = tile_ms(*window_ms);
                let means = format!(
                    "tiles of {tile_ms} ms; {}; sum of {}",
                    spec.selects,
                    spec.sum.as_deref().unwrap_or("1")
                );
                let at = if is_sum {
                    let at = b.place(size_of::<SumRing>());
                    part!(b, at, name, &means, SumRing, newest: I64 x 1, "tile"; tiles: F32 x 25, unit;);
                    at
                } else {
                    let at = b.place(size_of::<CountRing>());
                    part!(b, at, name, &means, CountRing, newest: I64 x 1, "tile"; tiles: U16 x 25, unit;);
                    at
                };
                windows.push(WindowAt { at, tile_ms, counter: *counter, is_sum });
                b.column(format!("{}.in_{window}", spec.name), unit);
            }
        }

        let rhythm_at = spec.rhythm.then(|| {
            let at = b.place(size_of::<Rhythm>());
            part!(b, at, "rhythm", "gaps in order", Rhythm, gaps: U32 x 1, "gaps"; gap_s: F32 x 1, "s"; mean_s: F32 x 1, "s"; variance_s2: F32 x 1, "s2";
                log_mean: F32 x 1, "log2 ms"; log_variance: F32 x 1, "log2 ms squared"; bins: U8 x 16, "gaps";);
            b.fixed_columns(&rhythm::COLUMNS);
            at
        });
        let sessions_at = spec.sessions.then(|| {
            let at = b.place(size_of::<Sessions>());
            let means = format!("pause of {} ms", rules.session_gap_ms);
            part!(b, at, "session", &means, Sessions, start_ms: I64 x 1, "ms"; events: U32 x 1, "events"; count: U32 x 1, "sessions"; events_before: U32 x 1, "events";);
            b.fixed_columns(&sessions::COLUMNS);
            at
        });
        let hours_at = spec.hours.then(|| {
            let at = b.place(24);
            let means = format!("hours at UTC {:+} ms", rules.local.utc_offset_ms);
            b.field("hours.bins".into(), at, FieldType::U8, 24, "events", &means);
            b.fixed_columns(&hours::COLUMNS);
            at
        });
        let labels_at = spec.labels.then(|| {
            let at = b.place(size_of::<Labels>());
            part!(b, at, "labels", &decays, Labels, last_ms: I64 x 1, "ms"; learned: U32 x 1, "labels"; streak: U32 x 1, "events"; labelled: F32 x 4, "events"; bad: F32 x 4, "events";
                labelled_total: F32 x 1, "events"; bad_total: F32 x 1, "events"; streak_ms: I64 x 1, "ms";);
            rules.half_life_names.iter().for_each(|h| b.column(format!("labels.bad.{h}"), "events"));
            rules.half_life_names.iter().for_each(|h| b.column(format!("labels.rate.{h}"), "share"));
            b.column("labels.labelled", "events");
            b.column("labels.bad", "events");
            b.column("labels.streak", "events");
            b.column("labels.streak_s", "s");
            at
        });

        let numeric_at = b.place(size_of::<Numeric>() * spec.numeric.len());
        for (i, (name, _)) in spec.numeric.iter().enumerate() {
            let at = numeric_at + i * size_of::<Numeric>();
            let means = format!("recent: half-life {longest}");
            part!(b, at, format!("numeric.{name}"), &means, Numeric, count: U32 x 1, "values"; mean: F32 x 1, name; m2: F32 x 1, "squared"; min: F32 x 1, name;
                max: F32 x 1, name; recent_weight: F32 x 1, "values"; recent_mean: F32 x 1, name; recent_m2: F32 x 1, "squared";);
            numeric::COLUMNS.iter().for_each(|(c, unit)| b.column(format!("{name}.{c}"), unit));
        }

        // Only accounts have a way of their own that they can leave.
        let robust_slots: Vec<usize> =
            spec.numeric.iter().map(|n| n.1).filter(|_| role == Role::ACCOUNT).collect();
        let robust_at = b.place(size_of::<Robust>() * robust_slots.len());
        for (i, (name, _)) in spec.numeric.iter().enumerate().take(robust_slots.len()) {
            let at = robust_at + i * size_of::<Robust>();
            let counted = robust::OUTLIERS_AT.map(|at| rules.half_life_names[at].as_str());
            let means = format!("outliers: half-lives {}", counted.join(","));
            part!(b, at, format!("robust.{name}"), &means, Robust, count: U32 x 1, "values"; mean: F32 x 1, name; deviation: F32 x 1, name;
                outliers: F32 x 2, "values";);
            robust::COLUMNS.iter().for_each(|(c, unit)| b.column(format!("{name}.{c}"), unit));
            counted.iter().for_each(|h| b.column(format!("{name}.outliers.{h}"), "values"));
        }

        let mut distinct_of = [u8::MAX; 256];
        let epoch = if spec.distinct.is_empty() { 0 } else { size_of::<i64>() };
        let distinct_at = b.place(epoch + size_of::<Distinct>() * spec.distinct.len());
        let means = format!("epochs of {longest}");
        if epoch > 0 {
            b.field("distinct.epoch".into(), distinct_at, FieldType::I64, 1, "epoch", &means);
        }
        for (i, (name, what)) in spec.distinct.iter().enumerate() {
            distinct_of[usize::from(*what)] = i as u8;
            let at = distinct_at + epoch + i * size_of::<Distinct>();
            part!(b, at, format!("distinct.{name}"), &means, Distinct, lifetime: U8 x 16, "two 4-bit registers"; current: U8 x 16, "two 4-bit registers";
                previous: U8 x 16, "two 4-bit registers";);
            distinct::COLUMNS.iter().for_each(|(c, unit)| b.column(format!("{name}.{c}"), unit));
        }

        let neighbours_at = b.place(size_of::<Neighbour>() * spec.neighbours.len());
        for (i, name) in spec.neighbours.iter().enumerate() {
            let at = neighbours_at + i * size_of::<Neighbour>();
            let means = format!("recent: half-life {longest}");
            part!(b, at, format!("met.{name}"), &means, Neighbour, count: U32 x 1, "values"; mean: F32 x 1, "value"; max: F32 x 1, "value";
                recent_weight: F32 x 1, "values"; recent_mean: F32 x 1, "value";);
            neighbours::COLUMNS
                .iter()
                .for_each(|(c, unit)| b.column(format!("met.{name}.{c}"), unit));
        }

        Layout {
            role,
            name: spec.name.clone(),
            size: b.size,
            rules: rules.clone(),
            counters_at,
            slots,
            accelerated,
            averaged,
            windows,
            rhythm_at,
            sessions_at,
            hours_at,
            labels_at,
            numeric_at,
            numeric_slots: spec.numeric.iter().map(|n| n.1).collect(),
            robust_at,
            robust_slots,
            distinct_at,
            distinct_whats: spec.distinct.iter().map(|d| d.1).collect(),
            distinct_of,
            neighbours_at,
            neighbours: spec.neighbours.len(),
            empty: vec![0; b.size / 8],
            fields: b.fields,
            columns: b.columns,
        }
    }

    /// Whose profiles these are.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The role's name: `account`, `target`, or the kind's.
    pub fn role_name(&self) -> &str {
        &self.name
    }

    /// Bytes of one profile: a multiple of 8.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// The columns, in the order in which they are extracted.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The columns' names behind a prefix: `names("account")` gives `account.events.10m` and so on.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        self.columns.iter().map(|c| format!("{prefix}.{}", c.name)).collect()
    }

    /// Index of a column, by its name without prefix.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }

    /// The fields of the bytes, by offset.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }
}
