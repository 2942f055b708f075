//! Checks declarations and compiles them into a [`Schema`]: all mistakes at once, each with its place and the nearest name that exists.

mod check;
mod counters;
mod roles;

pub use check::SchemaError;

use crate::blocks::hours::LocalTime;
use crate::config::{AttributeKind, FeatureConfig, KindConfig, TimeConfig};
use crate::decay::HalfLives;
use crate::duration::parse_offset_ms;
use crate::event::{KindId, TypeId};
use crate::key_form::{KeyForm, Malformed};
use crate::layout::{Layout, Role, Rules};
use crate::limits::{
    ATTRIBUTES_MAX, CATEGORY_VALUES_MAX, IGNORED_KEY_BYTES_MAX, IGNORED_KEYS_MAX, KINDS_MAX,
    PROFILE_BYTES_MAX, TYPES_MAX,
};
use crate::placeholder::is_placeholder;
use crate::schema::{AccountRole, Attribute, Counting, Kind, Schema, Time};
use check::Check;
use counters::compile_counters;
use roles::{compile_roles, resolve_neighbours};
use std::fmt::Write;

/// Names that prefixes of the feature vector use.
const RESERVED_KINDS: [&str; 6] = ["account", "target", "received", "event", "graph", "score"];
/// Names that the event part of the feature vector uses.
const RESERVED_ATTRIBUTES: [&str; 6] = ["type", "hour", "night", "weekend", "hour_sin", "hour_cos"];

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
            config
                .events
                .target
                .then(|| AccountRole { name: "target".into(), kind: None })
                .into_iter()
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
    if let Some(text) = &config.assume_offset {
        match parse_offset_ms(text) {
            Ok(ms) if ms.abs() <= 24 * 3_600_000 => {}
            Ok(_) => check.value(
                "time.assume_offset",
                format!("`{text}` is more than a day; use -24h to +24h"),
            ),
            Err(reason) => {
                let place = "time.assume_offset".into();
                check.errors.push(SchemaError::Duration { place, reason });
            }
        }
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
                check.value(&place, "a category needs its `values`; list them")
            }
            (AttributeKind::Number | AttributeKind::Boolean | AttributeKind::Age, false) => {
                check.value(
                    &place,
                    "only a category has `values`; remove them or set type = \"category\"",
                );
            }
            _ => {}
        }
        if declared.unit.is_some() && declared.kind != AttributeKind::Age {
            check.value(&place, "only an age has a `unit`; remove it or set type = \"age\"");
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
        } else if declared.form.is_some() {
            check.value(
                format!("{place}.form"),
                "its keys are accounts, which are known as they come; remove it",
            );
        }
        kinds.push(Kind {
            name: name.clone(),
            is_account: declared.is_account,
            strong: declared.strong,
            copyable: declared.is_account || declared.copyable.unwrap_or(!declared.strong),
            ttl_ms: check.duration(&format!("{place}.ttl"), &declared.ttl, 1),
            weight: declared.weight,
            union_degree_max: declared.union_degree_max,
            expand_degree_max: declared.expand_degree_max,
            role: if declared.is_account { Role::TARGET } else { Role(role) },
            form: declared.form,
            ignored: compile_ignored(&place, declared, check),
        });
    }
    kinds
}

/// The ignored keys of a kind in their normal form, sorted.
fn compile_ignored(kind: &str, declared: &KindConfig, check: &mut Check) -> Vec<String> {
    let place = format!("{kind}.ignore");
    check.cap(&place, "keys", declared.ignore.len(), IGNORED_KEYS_MAX);
    let mut keys = Vec::new();
    for key in &declared.ignore {
        if key.is_empty() {
            check.value(&place, "a key is empty; remove it");
            continue;
        }
        if key.len() > IGNORED_KEY_BYTES_MAX {
            let start = &key[..key.floor_char_boundary(32)];
            check.value(
                &place,
                format!(
                    "the key that begins with `{start}` has {} bytes, keys are kept with {IGNORED_KEY_BYTES_MAX} at most; \
                     write it as it is kept, or remove it",
                    key.len()
                ),
            );
            continue;
        }
        let normal = match declared.form {
            Some(form) => form.normal(key),
            None => Ok(key.into()),
        };
        match normal {
            Ok(normal) => keys.push(normal.into_owned()),
            // Known as it comes, as such a key of an event is: `unknown` in place of an address.
            Err(Malformed) if is_placeholder(key) => keys.push(key.clone()),
            Err(Malformed) => {
                let form = declared.form.map_or("", KeyForm::as_str);
                check.value(
                    &place,
                    format!(
                        "`{key}` has not the form `{form}` of its kind; correct it or remove it"
                    ),
                );
            }
        }
    }
    keys.sort_unstable();
    for pair in keys.windows(2) {
        if pair[0] == pair[1] {
            let name = pair[0].clone();
            check.errors.push(SchemaError::Twice { place: place.clone(), name });
        }
    }
    keys
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
        let form = k.form.map(|form| format!(" {}", form.as_str())).unwrap_or_default();
        let _ = writeln!(text, "kind {} {}{form}", k.name, k.is_account);
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
