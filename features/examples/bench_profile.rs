//! Prints what one event costs a profile: 16 counters at 4 half-lives with the usual blocks, over a million profiles at random.
//!
//! `cargo run --release -p features --example bench_profile [profiles]`
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement reads the clock and prints"
)]

use features::config::{AttributeConfig, CounterConfig, FeatureConfig, KindConfig, ProfileConfig};
use features::event::TypeId;
use features::hits::CounterHits;
use features::layout::Role;
use features::profile::{DistinctKey, Observation};
use features::schema::Schema;
use std::hint::black_box;
use std::time::Instant;

const EVENTS: usize = 2_000_000;

fn config() -> FeatureConfig {
    let mut config = FeatureConfig::default();
    config.events.types = (0..14).map(|i| format!("type{i}")).collect();
    config.attributes.insert("amount".into(), AttributeConfig::default());
    for kind in ["device", "ip"] {
        config.kinds.insert(kind.into(), KindConfig::default());
    }
    config.counters = (0..14)
        .map(|i| CounterConfig {
            name: format!("c{i}"),
            types: vec![format!("type{i}")],
            ..CounterConfig::default()
        })
        .collect();
    config.counters.push(CounterConfig {
        name: "events".into(),
        windows: vec!["10m".into(), "1h".into()],
        ..CounterConfig::default()
    });
    config.counters.push(CounterConfig {
        name: "amount".into(),
        sum: Some("amount".into()),
        ..CounterConfig::default()
    });
    config.profiles.insert(
        "account".into(),
        ProfileConfig {
            numeric: vec!["amount".into()],
            distinct: vec!["device".into(), "ip".into(), "target".into()],
            hours: true,
            sessions: true,
            ..ProfileConfig::default()
        },
    );
    config
}

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn main() {
    let profiles: usize = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(1_000_000);
    let schema = Schema::compile(&config()).unwrap_or_else(|errors| panic!("{errors:?}"));
    let Some(layout) = schema.layout(Role::ACCOUNT) else { return };
    let words = layout.size() / 8;
    println!(
        "{} bytes per profile, {} columns, {profiles} profiles",
        layout.size(),
        layout.width()
    );
    let mut arena = vec![1u64; words * profiles];
    arena.fill(0);
    let mut out = vec![0.0f32; layout.width()];
    for (name, read, write) in [
        ("warm up", true, true),
        ("observe", false, true),
        ("extract", true, false),
        ("extract + observe", true, true),
    ] {
        let mut state = 0x9e37_79b9_7f4a_7c15;
        let mut ts_ms = 1_700_000_000_000i64;
        let mut sum = 0.0;
        let mut hits = CounterHits::default();
        let start = Instant::now();
        for _ in 0..EVENTS {
            let draw = random(&mut state);
            let at = (draw >> 20) as usize % profiles * words;
            ts_ms += (draw & 15) as i64;
            let attributes = [(draw & 1023) as f32];
            let type_id = TypeId((draw >> 10 & 15) as u16);
            let keys = [
                DistinctKey { what: 0, hash: draw >> 30 },
                DistinctKey { what: 1, hash: draw >> 31 },
                DistinctKey { what: DistinctKey::TARGET, hash: draw >> 32 },
            ];
            schema.hits_into(type_id, &attributes, &mut hits);
            let seen = Observation {
                ts_ms,
                type_id,
                attributes: &attributes,
                keys: &keys,
                neighbour: &[],
                counters: &hits,
            };
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut arena[at..at + words]);
            if read {
                layout.extract(Some(bytes), &seen, &mut out);
                sum += out[4];
            }
            if write {
                layout.observe(bytes, &seen);
            }
        }
        let ns = start.elapsed().as_nanos() as f64 / EVENTS as f64;
        println!("{name:>18}: {ns:6.0} ns per event ({:.0})", black_box(sum));
    }
}
