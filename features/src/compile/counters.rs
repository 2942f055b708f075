//! Compiles counters: which events they select, what they add, and their windows.

use super::check::{Check, SchemaError};
use crate::blocks::windows::TILES;
use crate::config::{AttributeKind, CounterConfig, FeatureConfig};
use crate::expr::{Names, Program};
use crate::layout::CounterSpec;
use crate::limits::{COUNTERS_MAX, WINDOWS_MAX};
use crate::schema::{Attribute, Counting};

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

    fn values(&self, name: &str) -> Option<&[String]> {
        match self.attributes.iter().find(|a| a.name == name) {
            Some(attribute) if attribute.kind == AttributeKind::Category => Some(&attribute.values),
            Some(_) => None,
            None => (name == "type").then_some(self.types),
        }
    }

    fn all(&self) -> Vec<String> {
        self.attributes.iter().map(|a| a.name.clone()).chain(["type".to_owned()]).collect()
    }
}

/// What an attribute must be for arithmetic.
pub(super) fn numeric_slot(
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

pub(super) fn compile_counters(
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
