//! Checks declarations and compiles them into a [`Schema`]: all mistakes at once, each with its place and the nearest name that exists.

use crate::blocks::hours::LocalTime;
use crate::blocks::windows::TILES;
use crate::config::{AttributeKind, CounterConfig, FeatureConfig, ProfileConfig, TimeConfig};
use crate::decay::HalfLives;
use crate::duration::{DurationError, parse_ms, parse_offset_ms};
use crate::event::{KindId, TypeId};
use crate::expr::{ExprError, Names, Program, nearest};
use crate::layout::{CounterSpec, Layout, Role, RoleSpec, Rules};
use crate::limits::{
    ATTRIBUTES_MAX, BLOCKS_MAX, CATEGORY_VALUES_MAX, COUNTERS_MAX, KINDS_MAX, NAME_BYTES_MAX,
    PROFILE_BYTES_MAX, TYPES_MAX, WINDOWS_MAX,
};
use crate::profile::DistinctKey;
use crate::schema::{AccountRole, Attribute, Counting, Kind, Schema, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// One mistake in the declarations.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SchemaError {
    /// A text that should be a duration.
    #[error("{place}: {reason}")]
    Duration {
        /// Key in the configuration.
        place: String,
        /// What is wrong with it.
        reason: DurationError,
    },
    /// A name that is not declared.
    #[error("{place}: unknown {what} `{name}`; {hint}")]
    Unknown {
        /// Key in the configuration.
        place: String,
        /// What sort of name was expected.
        what: &'static str,
        /// The name.
        name: String,
        /// What to do next.
        hint: String,
    },
    /// A name that is declared, or a column that would arise, twice.
    #[error("{place}: `{name}` is there twice; rename or remove one")]
    Twice {
        /// Key in the configuration.
        place: String,
        /// The name.
        name: String,
    },
    /// More than a cap allows.
    #[error("{place}: {found} {what}, more than the {max} that fit; remove some")]
    TooMany {
        /// Key in the configuration.
        place: String,
        /// What was counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many fit.
        max: usize,
    },
    /// A condition that does not compile.
    #[error("counters.{counter}.when: {reason}")]
    Condition {
        /// The counter's name.
        counter: String,
        /// What is wrong with it.
        reason: Box<ExprError>,
    },
    /// Anything else: a value out of its range, a combination that makes no sense.
    #[error("{place}: {reason}")]
    Value {
        /// Key in the configuration.
        place: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
}

/// Names that prefixes of the feature vector use.
const RESERVED_KINDS: [&str; 6] = ["account", "target", "received", "event", "graph", "score"];
/// Names that the event part of the feature vector uses.
const RESERVED_ATTRIBUTES: [&str; 6] = ["type", "hour", "night", "weekend", "hour_sin", "hour_cos"];

/// Mistakes so far.
#[derive(Default)]
struct Check {
    errors: Vec<SchemaError>,
}

impl Check {
    fn value(&mut self, place: impl Into<String>, reason: impl Into<String>) {
        self.errors.push(SchemaError::Value { place: place.into(), reason: reason.into() });
    }

    fn unknown<'a>(
        &mut self,
        place: &str,
        what: &'static str,
        name: &str,
        known: impl Iterator<Item = &'a str> + Clone,
    ) {
        let hint = match nearest(name, known.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                let some: Vec<&str> = known.take(12).collect();
                if some.is_empty() {
                    format!("no {what} is declared")
                } else {
                    format!("declared: {}", some.join(", "))
                }
            }
        };
        self.errors.push(SchemaError::Unknown {
            place: place.into(),
            what,
            name: name.into(),
            hint,
        });
    }

    fn cap(&mut self, place: impl Into<String>, what: &'static str, found: usize, max: usize) {
        if found > max {
            self.errors.push(SchemaError::TooMany { place: place.into(), what, found, max });
        }
    }

    /// Milliseconds of at least `least`; `least` when it is wrong, so that the rest can be checked.
    fn duration(&mut self, place: &str, text: &str, least: i64) -> i64 {
        match parse_ms(text) {
            Ok(ms) if ms >= least => ms,
            Ok(ms) => {
                self.value(
                    place,
                    format!("`{text}` ({ms} ms) must be at least {least} ms; lengthen it"),
                );
                least
            }
            Err(reason) => {
                self.errors.push(SchemaError::Duration { place: place.into(), reason });
                least
            }
        }
    }

    fn name(&mut self, place: &str, name: &str, reserved: &[&str]) {
        let odd = |c: char| c.is_whitespace() || c.is_control() || "\"'`[]{}(),".contains(c);
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            self.value(
                place,
                format!(
                    "a name has 1 to {NAME_BYTES_MAX} bytes, `{name}` has {}; rename it",
                    name.len()
                ),
            );
        } else if name.chars().any(odd) {
            self.value(
                place,
                format!("`{name}` holds a blank, quote, bracket or comma; rename it"),
            );
        } else if reserved.contains(&name) {
            self.value(place, format!("`{name}` is a word of the feature vector; rename it"));
        }
    }

    fn unique<'a>(&mut self, place: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for name in names {
            if !seen.insert(name) {
                self.errors.push(SchemaError::Twice { place: place.into(), name: name.into() });
            }
        }
    }
}

/// The names that counters' conditions may use: attributes, and `type`.
struct EventNames<'a> {
    attributes: &'a [Attribute],
    types: &'a [String],
}

impl Names for EventNames<'_> {
    fn slot(&self, name: &str) -> Option<u32> {
        match self.attributes.iter().position(|a| a.name == name) {
            Some(slot) => Some(slot as u32),
            None => (name == "type").then_some(self.attributes.len() as u32),
        }
    }

    fn category(&self, name: &str, text: &str) -> Option<f32> {
        let values = if name == "type" {
            self.types
        } else {
            let attribute = self.attributes.iter().find(|a| a.name == name)?;
            attribute.values.as_slice()
        };
        values.iter().position(|v| v == text).map(|index| index as f32)
    }

    fn all(&self) -> Vec<String> {
        self.attributes.iter().map(|a| a.name.clone()).chain(["type".to_owned()]).collect()
    }
}

impl Schema {
    /// Checks declarations and compiles them. The same declarations always give the same schema.
    ///
    /// # Errors
    /// Every mistake that was found, in order of the configuration's sections.
    ///
    /// ```
    /// use features::{config::FeatureConfig, schema::Schema};
    /// let schema = Schema::compile(&FeatureConfig::default()).unwrap();
    /// assert_eq!(schema.layouts()[0].names("account")[4], "account.events.10m");
    /// ```
    pub fn compile(config: &FeatureConfig) -> Result<Schema, Vec<SchemaError>> {
        let mut check = Check::default();
        let time = compile_time(&config.time, &mut check);
        let types = compile_types(config, &mut check);
        let attributes = compile_attributes(config, &mut check);
        let kinds = compile_kinds(config, &mut check);
        let (counters, counting, counters_of_type) =
            compile_counters(config, &types, &attributes, &mut check);
        let specs = compile_roles(config, &counters, &attributes, &kinds, &mut check);
        if !check.errors.is_empty() {
            return Err(check.errors);
        }

        let rules = Rules {
            half_lives: time.half_lives,
            half_life_names: time.half_life_names.clone(),
            lateness_max_ms: time.lateness_max_ms,
            session_gap_ms: time.session_gap_ms,
            local: time.local,
            types: types.clone(),
        };
        let layouts: Vec<Layout> = specs
            .iter()
            .enumerate()
            .map(|(i, spec)| Layout::build(Role(i as u8), spec, &rules, &counters))
            .collect();
        for layout in &layouts {
            let place = format!("profiles.{}", layout.role_name());
            check.unique(&place, layout.columns().iter().map(|c| c.name.as_str()));
            check.cap(place, "bytes in a profile", layout.size(), PROFILE_BYTES_MAX);
        }
        let neighbour_columns = resolve_neighbours(&specs, &layouts, &mut check);
        if !check.errors.is_empty() {
            return Err(check.errors);
        }

        let bits = |wanted: &dyn Fn(&Counting) -> bool| {
            counting
                .iter()
                .enumerate()
                .filter(|(_, c)| wanted(c))
                .fold(0u64, |mask, (i, _)| mask | 1 << i)
        };
        let account_roles =
            std::iter::once(AccountRole { name: "target".into(), kind: None })
                .chain(kinds.iter().enumerate().filter(|(_, k)| k.is_account).map(|(i, k)| {
                    AccountRole { name: k.name.clone(), kind: Some(KindId(i as u8)) }
                }))
                .collect();
        Ok(Schema {
            version: version(&time, &attributes, &kinds, &layouts),
            type_ids: types
                .iter()
                .enumerate()
                .map(|(i, t)| (t.clone(), TypeId(i as u16)))
                .collect(),
            attribute_slots: attributes
                .iter()
                .enumerate()
                .map(|(i, a)| (a.name.clone(), i))
                .collect(),
            category_values: attributes
                .iter()
                .map(|a| a.values.iter().enumerate().map(|(i, v)| (v.clone(), i as f32)).collect())
                .collect(),
            kind_ids: kinds
                .iter()
                .enumerate()
                .map(|(i, k)| (k.name.clone(), KindId(i as u8)))
                .collect(),
            conditional: bits(&|c| c.when.is_some()),
            summing: bits(&|c| c.sum.is_some()),
            time,
            types,
            attributes,
            kinds,
            account_roles,
            layouts,
            neighbour_columns,
            counting,
            counters_of_type,
        })
    }
}

fn compile_time(config: &TimeConfig, check: &mut Check) -> Time {
    let mut half_lives = [0; 4];
    for (ms, text) in half_lives.iter_mut().zip(&config.half_lives) {
        *ms = check.duration("time.half_lives", text, 1);
    }
    if !half_lives.is_sorted_by(|a, b| a < b) && check.errors.is_empty() {
        check.value(
            "time.half_lives",
            format!("{} must grow from first to last; sort them", config.half_lives.join(", ")),
        );
    }
    let utc_offset_ms = parse_offset_ms(&config.utc_offset).unwrap_or_else(|reason| {
        check.errors.push(SchemaError::Duration { place: "time.utc_offset".into(), reason });
        0
    });
    if utc_offset_ms.abs() > 24 * 3_600_000 {
        check.value(
            "time.utc_offset",
            format!("`{}` is more than a day; use -24h to +24h", config.utc_offset),
        );
    }
    if config.night[0] > 23 || config.night[1] > 24 {
        let [from, to] = config.night;
        check.value(
            "time.night",
            format!("[{from}, {to}] are not hours of a day; use 0 to 23, and up to 24 for the end"),
        );
    }
    Time {
        half_lives: HalfLives { ms: half_lives },
        half_life_names: config.half_lives.clone().map(|text| text.trim().to_owned()),
        lateness_max_ms: check.duration("time.lateness_max", &config.lateness_max, 0),
        jump_max_ms: check.duration("time.jump_max", &config.jump_max, 1),
        account_ttl_ms: check.duration("time.account_ttl", &config.account_ttl, 1),
        session_gap_ms: check.duration("time.session_gap", &config.session_gap, 1),
        local: LocalTime::new(utc_offset_ms, config.night),
    }
}

fn compile_types(config: &FeatureConfig, check: &mut Check) -> Vec<String> {
    let types = &config.events.types;
    check.cap("events.types", "types", types.len(), TYPES_MAX);
    check.unique("events.types", types.iter().map(String::as_str));
    if types.iter().any(String::is_empty) {
        check.value("events.types", "a type has an empty name; remove it");
    }
    types.clone()
}

fn compile_attributes(config: &FeatureConfig, check: &mut Check) -> Vec<Attribute> {
    check.cap("attributes", "attributes", config.attributes.len(), ATTRIBUTES_MAX);
    let mut attributes = Vec::new();
    for (name, declared) in &config.attributes {
        let place = format!("attributes.{name}");
        check.name(&place, name, &RESERVED_ATTRIBUTES);
        check.cap(&place, "values", declared.values.len(), CATEGORY_VALUES_MAX);
        check.unique(&place, declared.values.iter().map(String::as_str));
        match (declared.kind, declared.values.is_empty()) {
            (AttributeKind::Category, true) => {
                check.value(place, "a category needs its `values`; list them")
            }
            (AttributeKind::Number | AttributeKind::Boolean, false) => {
                check.value(
                    place,
                    "only a category has `values`; remove them or set type = \"category\"",
                );
            }
            _ => {}
        }
        attributes.push(Attribute {
            name: name.clone(),
            kind: declared.kind,
            values: declared.values.clone(),
        });
    }
    attributes
}

fn compile_kinds(config: &FeatureConfig, check: &mut Check) -> Vec<Kind> {
    check.cap("kinds", "kinds", config.kinds.len(), KINDS_MAX);
    let mut kinds = Vec::new();
    let mut role = Role::TARGET.0;
    for (name, declared) in &config.kinds {
        let place = format!("kinds.{name}");
        check.name(&place, name, &RESERVED_KINDS);
        if !(declared.weight.is_finite() && declared.weight >= 0.0) {
            check.value(
                format!("{place}.weight"),
                format!("{} must be 0 or more; 1 is usual", declared.weight),
            );
        }
        if !declared.is_account {
            role = role.saturating_add(1);
        }
        kinds.push(Kind {
            name: name.clone(),
            is_account: declared.is_account,
            strong: declared.strong,
            ttl_ms: check.duration(&format!("{place}.ttl"), &declared.ttl, 1),
            weight: declared.weight,
            union_degree_max: declared.union_degree_max,
            expand_degree_max: declared.expand_degree_max,
            role: if declared.is_account { Role::TARGET } else { Role(role) },
        });
    }
    kinds
}

/// What an attribute must be for arithmetic.
fn numeric_slot(
    check: &mut Check,
    place: &str,
    name: &str,
    attributes: &[Attribute],
) -> Option<usize> {
    let Some(slot) = attributes.iter().position(|a| a.name == name) else {
        check.unknown(place, "attribute", name, attributes.iter().map(|a| a.name.as_str()));
        return None;
    };
    if attributes[slot].kind == AttributeKind::Category {
        check.value(
            place,
            format!("`{name}` is a category, not a number; count its values with `when` instead"),
        );
        return None;
    }
    Some(slot)
}

fn compile_counters(
    config: &FeatureConfig,
    types: &[String],
    attributes: &[Attribute],
    check: &mut Check,
) -> (Vec<CounterSpec>, Vec<Counting>, Vec<u64>) {
    check.cap("counters", "counters", config.counters.len(), COUNTERS_MAX);
    check.unique("counters", config.counters.iter().map(|c| c.name.as_str()));
    let names = EventNames { attributes, types };
    let mut specs = Vec::new();
    let mut counting = Vec::new();
    let mut of_type = vec![0u64; types.len() + 1];
    for (i, counter) in config.counters.iter().enumerate() {
        let place = format!("counters.{}", counter.name);
        check.name(&place, &counter.name, &[]);
        for name in &counter.types {
            if !types.contains(name) {
                check.unknown(
                    &format!("{place}.types"),
                    "type",
                    name,
                    types.iter().map(String::as_str),
                );
            }
        }
        if i < COUNTERS_MAX {
            for (row, mask) in of_type.iter_mut().enumerate() {
                let named = types.get(row).is_some_and(|t| counter.types.contains(t));
                if counter.types.is_empty() || named {
                    *mask |= 1 << i;
                }
            }
        }
        let sum = counter
            .sum
            .as_ref()
            .and_then(|name| numeric_slot(check, &format!("{place}.sum"), name, attributes));
        counting.push(Counting { when: condition(counter, &names, check), sum });
        specs.push(CounterSpec {
            name: counter.name.clone(),
            selects: selects(counter),
            sum: counter.sum.clone(),
            windows: windows(counter, &place, check),
        });
    }
    (specs, counting, of_type)
}

fn condition(
    counter: &CounterConfig,
    names: &EventNames<'_>,
    check: &mut Check,
) -> Option<Program> {
    let source = counter.when.as_ref()?;
    match Program::compile(source, names) {
        Ok(program) if program.is_compiled() => Some(program),
        Ok(_) => {
            check.value(
                format!("counters.{}.when", counter.name),
                "macros over lists are too slow for every event; use comparisons, `in`, && and ||",
            );
            None
        }
        Err(reason) => {
            check.errors.push(SchemaError::Condition {
                counter: counter.name.clone(),
                reason: Box::new(reason),
            });
            None
        }
    }
}

fn windows(counter: &CounterConfig, place: &str, check: &mut Check) -> Vec<(String, i64)> {
    let place = format!("{place}.windows");
    check.cap(&place, "windows", counter.windows.len(), WINDOWS_MAX);
    check.unique(&place, counter.windows.iter().map(|w| w.trim()));
    let ms = |text: &String| (text.trim().to_owned(), check.duration(&place, text, TILES as i64));
    counter.windows.iter().map(ms).collect()
}

/// Types and condition in one canonical text: equal texts select the same events.
fn selects(counter: &CounterConfig) -> String {
    let mut types = counter.types.clone();
    types.sort();
    types.dedup();
    let of =
        if types.is_empty() { "all types".into() } else { format!("types [{}]", types.join(",")) };
    match &counter.when {
        Some(when) => format!("{of} when {}", when.trim()),
        None => of,
    }
}

fn compile_roles(
    config: &FeatureConfig,
    counters: &[CounterSpec],
    attributes: &[Attribute],
    kinds: &[Kind],
    check: &mut Check,
) -> Vec<RoleSpec> {
    let roles: Vec<&str> = ["account", "target"]
        .into_iter()
        .chain(kinds.iter().filter(|k| !k.is_account).map(|k| k.name.as_str()))
        .collect();
    let mut known = |place: &str, name: &str| {
        if kinds.iter().any(|k| k.is_account && k.name == name) {
            check.value(place, format!("the keys of `{name}` are accounts, and what is done to them is `target`; write `target`"));
        } else if !roles.contains(&name) {
            check.unknown(place, "role", name, roles.iter().copied());
        }
    };
    config.profiles.keys().for_each(|name| known(&format!("profiles.{name}"), name));
    for counter in &config.counters {
        counter.on.iter().for_each(|name| known(&format!("counters.{}.on", counter.name), name));
    }
    let usual = ProfileConfig::default();
    roles
        .iter()
        .map(|role| {
            let profile = config.profiles.get(*role).unwrap_or(&usual);
            let kept = |c: &CounterConfig| c.on.is_empty() || c.on.iter().any(|on| on == role);
            RoleSpec {
                name: (*role).into(),
                counters: (0..counters.len()).filter(|i| kept(&config.counters[*i])).collect(),
                numeric: numeric(role, profile, attributes, check),
                distinct: distinct(role, profile, kinds, check),
                rhythm: profile.rhythm,
                hours: profile.hours,
                sessions: profile.sessions,
                labels: profile.labels,
                neighbours: neighbours(role, profile, check),
            }
        })
        .collect()
}

fn numeric(
    role: &str,
    profile: &ProfileConfig,
    attributes: &[Attribute],
    check: &mut Check,
) -> Vec<(String, usize)> {
    let place = format!("profiles.{role}.numeric");
    check.cap(&place, "attributes", profile.numeric.len(), BLOCKS_MAX);
    check.unique(&place, profile.numeric.iter().map(String::as_str));
    let slot = |name: &String| Some((name.clone(), numeric_slot(check, &place, name, attributes)?));
    profile.numeric.iter().filter_map(slot).collect()
}

fn distinct(
    role: &str,
    profile: &ProfileConfig,
    kinds: &[Kind],
    check: &mut Check,
) -> Vec<(String, u8)> {
    let place = format!("profiles.{role}.distinct");
    check.cap(&place, "counts", profile.distinct.len(), BLOCKS_MAX);
    check.unique(&place, profile.distinct.iter().map(String::as_str));
    let mut found = Vec::new();
    for name in &profile.distinct {
        let kind = kinds.iter().position(|k| k.name == *name);
        let what = match (name.as_str(), kind) {
            ("target", _) => DistinctKey::TARGET,
            ("account", _) => DistinctKey::ACCOUNT,
            (_, Some(kind)) => kind as u8,
            _ => {
                let all = kinds.iter().map(|k| k.name.as_str()).chain(["target", "account"]);
                check.unknown(&place, "kind", name, all);
                continue;
            }
        };
        if name == role {
            check.value(&place, format!("one {role} has exactly one {role}; remove `{name}`"));
        }
        found.push((name.clone(), what));
    }
    found
}

fn neighbours(role: &str, profile: &ProfileConfig, check: &mut Check) -> Vec<String> {
    let place = format!("profiles.{role}.neighbours");
    check.cap(&place, "values", profile.neighbours.len(), BLOCKS_MAX);
    check.unique(&place, profile.neighbours.iter().map(String::as_str));
    profile.neighbours.clone()
}

/// Indices into account columns followed by target columns, per role.
fn resolve_neighbours(
    specs: &[RoleSpec],
    layouts: &[Layout],
    check: &mut Check,
) -> Vec<Vec<usize>> {
    let mut names = Vec::new();
    for layout in layouts.iter().take(2) {
        names.extend(layout.names(layout.role_name()));
    }
    let index: BTreeMap<&str, usize> =
        names.iter().enumerate().map(|(i, n)| (n.as_str(), i)).collect();
    let mut all = Vec::new();
    for spec in specs {
        let place = format!("profiles.{}.neighbours", spec.name);
        let mut columns = Vec::new();
        for name in &spec.neighbours {
            match index.get(name.as_str()) {
                Some(column) => columns.push(*column),
                None => check.unknown(
                    &place,
                    "feature of the account met",
                    name,
                    names.iter().map(String::as_str),
                ),
            }
        }
        all.push(columns);
    }
    all
}

/// FNV-1a (64 bits) over everything that bytes and columns depend on, as sixteen hex digits.
fn version(time: &Time, attributes: &[Attribute], kinds: &[Kind], layouts: &[Layout]) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "time {:?} {} {} {:?}",
        time.half_lives.ms, time.lateness_max_ms, time.session_gap_ms, time.local
    );
    for a in attributes {
        let _ = writeln!(text, "attribute {} {:?} {:?}", a.name, a.kind, a.values);
    }
    for k in kinds {
        let _ = writeln!(text, "kind {} {}", k.name, k.is_account);
    }
    for layout in layouts {
        let _ = writeln!(text, "role {} {}", layout.role_name(), layout.size());
        for f in layout.fields() {
            let _ = writeln!(
                text,
                "field {} {} {:?} {} {} {}",
                f.name, f.offset, f.kind, f.count, f.unit, f.means
            );
        }
        for c in layout.columns() {
            let _ = writeln!(text, "column {} {}", c.name, c.unit);
        }
    }
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}")
}
