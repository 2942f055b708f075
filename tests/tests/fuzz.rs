//! Every fuzz target over its committed seeds and some thousand mutations of them, without a fuzzer.

#[path = "../../fuzz/src/lib.rs"]
mod targets;

use detector::readers;
use peak_alloc::PeakAlloc;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The allocator counts for all threads: one target at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Bytes that a target may have at a time beyond what was there before, whatever it is given: no number in the input may become
/// a size. An engine with a small state, which some of them make anew, has about a tenth of it.
const BYTES_MAX: usize = 64 << 20;

/// Mutations per target; `FUZZ_MUTATIONS` in the environment takes its place.
const MUTATIONS: u64 = 3000;
const SEED_BYTES_MAX: u64 = 200_000;

fn seeds_of(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(name)
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = seeds_of(name);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("it can be read")).collect()
}

/// SplitMix64: the same mutations in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n.max(1) as u64) as usize
    }
}

/// Pieces that readers may trip over.
const PIECES: [&[u8]; 20] = [
    b"\0",
    b"\xff",
    b"\xf0\x9f\x98\x80",
    b"{",
    b"}",
    b"[[",
    b"]",
    b"\"",
    b"\\u0000",
    b"\n",
    b"-1",
    b"1e308",
    b"nan",
    b"18446744073709551615",
    b"-9223372036854775808",
    b"4294967295",
    b"null",
    b"0",
    b"(((",
    b"=",
];

fn mutate(bytes: &mut Vec<u8>, other: &[u8], chance: &mut Chance) {
    let at = chance.below(bytes.len() + 1);
    let end = (at + 1 + chance.below(24)).min(bytes.len());
    match chance.below(8) {
        0 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
        1 if at < bytes.len() => bytes[at] = chance.below(256) as u8,
        2 => drop(bytes.drain(at..end.max(at))),
        3 => {
            let again = bytes[at..end.max(at)].to_vec();
            drop(bytes.splice(at..at, again));
        }
        4 => drop(bytes.splice(at..at, PIECES[chance.below(PIECES.len())].iter().copied())),
        5 if chance.below(4) == 0 => bytes.truncate(at),
        6 if !other.is_empty() => {
            let from = chance.below(other.len());
            let to = (from + 1 + chance.below(40)).min(other.len());
            drop(bytes.splice(at..at, other[from..to].iter().copied()));
        }
        // Numbers: sizes, indexes, times.
        _ => {
            if let Some(digit) = bytes[at..].iter_mut().find(|b| b.is_ascii_digit()) {
                *digit = b'0' + chance.below(10) as u8;
            }
        }
    }
}

fn run(name: &str) {
    if std::env::var_os("BLESS").is_some() && name == "snapshot" {
        std::fs::write(seeds_of(name).join("saved"), targets::saved_state())
            .expect("it can be written");
    }
    let (_, target) = targets::TARGETS.iter().find(|(n, _)| *n == name).expect("it is a target");
    let mut seeds = seeds(name);
    assert!(!seeds.is_empty(), "{name} has no seeds");
    if name == "snapshot" {
        // The file is as old as the layout that it was written with.
        seeds.push(targets::saved_state());
    }
    let mutations =
        std::env::var("FUZZ_MUTATIONS").map_or(MUTATIONS, |n| n.parse().expect("a number"));
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    // What is made once, such as decoders, is no part of it.
    target(b"");
    let bounded = |bytes: &[u8]| {
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        target(bytes);
        let most = MEMORY.peak_usage().saturating_sub(before);
        assert!(most < BYTES_MAX, "{most} bytes at a time");
    };
    for seed in &seeds {
        bounded(seed);
    }
    let mut chance = Chance(17);
    for _ in 0..mutations {
        let mut bytes = seeds[chance.below(seeds.len())].clone();
        let other = &seeds[chance.below(seeds.len())];
        for _ in 0..1 + chance.below(4) {
            mutate(&mut bytes, other, &mut chance);
        }
        let result = std::panic::catch_unwind(|| bounded(&bytes));
        assert!(result.is_ok(), "{name} fails on {}", bytes.escape_ascii());
    }
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test] fn $name() { run(stringify!($name)); })*

        #[test]
        fn all_are_tested_and_have_a_program() {
            let tested = [$(stringify!($name)),*];
            assert_eq!(tested, targets::TARGETS.map(|(name, _)| name));
            for name in tested {
                let program = seeds_of("..").join(format!("fuzz_targets/{name}.rs"));
                assert!(program.is_file(), "{}", program.display());
            }
        }
    };
}

targets! { event label mapped lenient config condition bundle xgboost_json xgboost_ubj lightgbm snapshot journal published signature avro protobuf packed }

#[test]
fn the_seeds_do_what_they_are_for() {
    // At least one seed of each gets through to the end.
    let decoder = targets::engine_of("").decoder();
    assert!(seeds("event").iter().any(|seed| decoder.event(seed, Default::default).is_ok()));
    assert!(seeds("label").iter().any(|seed| decoder.label(seed).is_ok()));
    assert!(
        seeds("xgboost_json").iter().any(|seed| models::forest::xgboost::from_json(seed).is_ok())
    );
    assert!(
        seeds("xgboost_ubj").iter().any(|seed| models::forest::xgboost::from_ubj(seed).is_ok())
    );
    assert!(seeds("lightgbm").iter().any(|seed| models::forest::lightgbm::from_text(seed).is_ok()));
    assert!(targets::restored(&targets::saved_state()).is_some());
    assert!(seeds("journal").iter().all(|seed| readers::journal_record(seed)));
    let mut engine = targets::restored(&targets::saved_state()).expect("it is ours");
    for seed in seeds("published") {
        let payload = seed.split(|b| *b == 0).next().unwrap_or_default();
        assert!(readers::published_action(&mut engine, payload, None), "{}", seed.escape_ascii());
    }
    for (name, read) in
        [("avro", readers::avro as targets::ReadMessage), ("protobuf", readers::protobuf)]
    {
        for seed in seeds(name) {
            let at = seed.iter().position(|b| *b == 0).expect("a zero byte");
            let schema = std::str::from_utf8(&seed[..at]).expect("text");
            read(schema, &seed[at + 1..]).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }
    for seed in seeds("packed") {
        let lines = readers::lines_of_a_file(&seed, 1 << 20).expect("it is read");
        let text = String::from_utf8_lossy(&lines);
        assert!(
            text.trim_start().starts_with('{') && text.contains("\"ts\":"),
            "{}",
            lines.escape_ascii()
        );
    }
    let all: u64 = targets::TARGETS
        .iter()
        .flat_map(|(name, _)| seeds(name))
        .map(|seed| seed.len() as u64)
        .sum();
    assert!(all < SEED_BYTES_MAX, "{all} bytes of seeds");
}
