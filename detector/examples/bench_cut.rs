//! What a checkpoint's cut costs the line: `bench_cut CONFIG EVENTS`, a configuration and a stream as `detector init` and
//! `detector simulate` write them. The stream is run, and then cut after so many events more each: at once, and in rounds beside the line.

use detector::config;
use detector::service::copies::Copies;
use detector::service::cut::Cutting;
use detector::service::memory::Memory;
use engine::effects::{Effects, SourceRef};
use engine::{Engine, Input, Options, Wanted};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

const BATCH: usize = 512;
const AFTER: [usize; 4] = [10_000, 50_000, 100_000, 200_000];

#[expect(clippy::print_stdout, reason = "it measures")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (config, events) = (args.next().ok_or("CONFIG")?, args.next().ok_or("EVENTS")?);
    let loaded = config::load(Path::new(&config)).map_err(|e| e.to_string())?;
    let mut engine =
        Engine::new(loaded.config, None, Options::default()).map_err(|e| e.join("\n"))?;
    engine.name_forgotten();
    engine.want(Wanted { state_only: true, ..Wanted::default() });
    let decoder = engine.decoder();
    let mut inputs = Vec::new();
    for line in BufReader::new(std::fs::File::open(events)?).lines() {
        if let Ok(event) = decoder.event(line?.as_bytes(), || "none".into()) {
            inputs.push(Input::Event(event, SourceRef::default()));
        }
    }
    // As many again as go by while the cuts are made.
    let rest = inputs.split_off(inputs.len().saturating_sub(4 * AFTER.iter().sum::<usize>()));
    inputs.chunks(BATCH).for_each(|batch| {
        step(&mut engine, batch);
    });
    let (mut memory, ..) =
        Cutting::begin(&mut engine, Copies::within(Memory::start()?.0)).cut(&mut engine);
    let mut batches = rest.chunks(BATCH);
    for after in AFTER {
        let mut pace = Duration::ZERO;
        (0..after / BATCH).filter_map(|_| batches.next()).for_each(|batch| {
            pace += step(&mut engine, batch);
        });
        let begun = Instant::now();
        memory.clear();
        let (copies, _, _) = Cutting::begin(&mut engine, memory).cut(&mut engine);
        println!(
            "after {after} events, {:.1} us each: {} copies; at once the line stands for {:.1} ms",
            pace.as_secs_f64() * 1e6 / after as f64,
            copies.len(),
            begun.elapsed().as_secs_f64() * 1e3
        );
        memory = copies;
        (0..after / BATCH).filter_map(|_| batches.next()).for_each(|batch| {
            step(&mut engine, batch);
        });
        let begun = Instant::now();
        memory.clear();
        let mut cutting = Cutting::begin(&mut engine, memory);
        let (listed, mut longest, mut meanwhile) = (begun.elapsed(), begun.elapsed(), 0);
        for batch in batches.by_ref() {
            step(&mut engine, batch);
            meanwhile += batch.len();
            let begun = Instant::now();
            let last = cutting.go_on(&mut engine, true, || true);
            longest = longest.max(begun.elapsed());
            if last {
                break;
            }
        }
        let whole = begun.elapsed();
        let (copies, stood, rounds) = cutting.cut(&mut engine);
        println!(
            "   beside the line: {} copies in {rounds} rounds, {meanwhile} events went by in {:.0} ms; it stood for {:.1} ms at the cut, {:.1} ms for the first list, at most {:.1} ms between two batches",
            copies.len(),
            whole.as_secs_f64() * 1e3,
            stood.as_secs_f64() * 1e3,
            listed.as_secs_f64() * 1e3,
            longest.as_secs_f64() * 1e3
        );
        memory = copies;
    }
    Ok(())
}

fn step(engine: &mut Engine, batch: &[Input]) -> Duration {
    let mut effects = Effects::default();
    let inputs = batch.to_vec();
    let begun = Instant::now();
    engine.step(inputs, &mut effects);
    engine.gather_changed();
    begun.elapsed()
}
