//! What single messages cost over a large state: no kind of message may cost a pass over what is remembered.

use super::{Args, now};
use crate::command::Failure;
use crate::command::progress::{Progress, grouped, megabytes};
use crate::workload::Workload;
use engine::effects::{Effects, SourceRef};
use engine::wire::Decoder;
use engine::{Engine, Input, Options, Wanted};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// Events that are remembered.
const REMEMBERED: u64 = 1_200_000;
/// Things that an event names at most.
const THINGS: usize = 32;
/// Events of 32 new things that bring an account to its cap of links, twice over.
const TO_THE_CAP: usize = 256;

/// What one kind of message cost.
struct Cost {
    name: &'static str,
    messages: u64,
    cpu: Duration,
}

/// An engine, and what feeds it.
struct Bench {
    engine: Engine,
    decoder: Decoder,
    effects: Effects,
    ts_ms: i64,
    serial: u64,
    costs: Vec<Cost>,
}

impl Bench {
    fn event(&mut self, account: &str, things: &[String]) -> Result<Input, Failure> {
        self.serial += 1;
        self.ts_ms += 10;
        let message = serde_json::json!({"event_id": format!("m-{}", self.serial), "ts": self.ts_ms, "type": "message",
            "account": account, "entities": {"device": things}});
        let event = self
            .decoder
            .event(message.to_string().as_bytes(), Default::default)
            .map_err(|r| Failure::failed(r.detail))?;
        Ok(Input::Event(event, SourceRef::default()))
    }

    fn label(&mut self, fields: &serde_json::Value) -> Result<Input, Failure> {
        let mut message = fields.clone();
        message["ts"] = self.ts_ms.into();
        let label = self.decoder.label(message.to_string().as_bytes());
        Ok(Input::Label(label.map_err(|r| Failure::failed(r.detail))?))
    }

    fn new_things(&self, n: usize) -> Vec<String> {
        (0..n).map(|thing| format!("new-{}-{thing}", self.serial)).collect()
    }

    /// Takes prepared messages one at a time.
    fn measure(&mut self, name: &'static str, inputs: Vec<Input>) {
        let messages = inputs.len() as u64;
        let begun = now();
        for input in inputs {
            self.engine.step([input], &mut self.effects);
            self.effects.clear();
        }
        self.costs.push(Cost { name, messages, cpu: now().saturating_sub(begun) });
    }

    fn measure_all(&mut self, workload: &mut Workload, n: u64) -> Result<(), Failure> {
        let mut message = Vec::new();
        let mut usual = Vec::new();
        for _ in 0..n {
            message.clear();
            workload.event(&mut message);
            let event = self.decoder.event(&message, Default::default);
            let event = event.map_err(|r| Failure::failed(r.detail))?;
            self.ts_ms = self.ts_ms.max(event.ts_ms);
            usual.push(event);
        }
        let previewed = usual.clone();
        self.measure(
            "a usual event",
            usual.into_iter().map(|event| Input::Event(event, SourceRef::default())).collect(),
        );
        let begun = now();
        for mut event in previewed {
            event.event_id = format!("p-{}", event.event_id).into();
            // Whether it is one that would be taken does not matter to what it costs.
            let _ = self.engine.preview(event, SourceRef::default());
        }
        let cpu = now().saturating_sub(begun);
        self.costs.push(Cost { name: "a preview of a usual event", messages: n, cpu });

        let mut inputs = Vec::new();
        for at in 0..n {
            let things = self.new_things(THINGS);
            inputs.push(self.event(&format!("flood-{at}"), &things)?);
        }
        self.measure("32 new things, an account for each event", inputs);
        for _ in 0..TO_THE_CAP {
            let things = self.new_things(THINGS);
            let input = self.event("hub", &things)?;
            self.engine.step([input], &mut self.effects);
        }
        let mut inputs = Vec::new();
        for _ in 0..n {
            let things = self.new_things(THINGS);
            inputs.push(self.event("hub", &things)?);
        }
        self.measure("32 new things, an account at its cap of links", inputs);
        let mut inputs = Vec::new();
        for _ in 0..n {
            let things = self.new_things(1);
            inputs.push(self.event("hub", &things)?);
        }
        self.measure("one new thing, an account at its cap of links", inputs);

        let newest = workload.serial() - n;
        let by_id: Result<Vec<Input>, Failure> = (0..n)
            .map(|k| {
                let id = format!("e-{}", newest.saturating_sub(k * 7));
                self.label(&serde_json::json!({"event_id": id, "label": 1}))
            })
            .collect();
        self.measure("a label that names an event alone", by_id?);
        let erasures: Result<Vec<Input>, Failure> = (0..n)
            .map(|k| {
                self.label(&serde_json::json!({"type": "erase", "account": format!("u{}", k * 37)}))
            })
            .collect();
        self.measure("an erasure", erasures?);
        let mut mixed = Vec::new();
        for k in 0..n / 2 {
            let account = format!("u{}", k * 37 + 1);
            mixed.push(self.label(&serde_json::json!({"type": "erase", "account": account}))?);
            let id = format!("e-{}", newest.saturating_sub(k * 7 + 3));
            mixed.push(self.label(&serde_json::json!({"event_id": id, "label": 1}))?);
        }
        self.measure("erasures and labels by event in turn", mixed);
        Ok(())
    }
}

/// Fills a state, measures each kind of message over it and says what was found.
pub(super) fn run(args: &Args, mut config: engine::config::Config) -> Result<String, Failure> {
    config.labels.recent_events_max = REMEMBERED;
    let mut engine = Engine::new(config, None, Options::default())
        .map_err(|p| Failure::failed(p.join("\n  ")))?;
    engine.want(Wanted { state_only: true, ..Wanted::default() });
    let decoder = engine.decoder();
    let mut workload = Workload::new(args.accounts);
    let fill = u64::from(args.accounts) * 2;
    let progress = Progress::count("fill", fill);
    let (mut message, mut effects) = (Vec::new(), Effects::default());
    let (mut longest, mut longest_at) = (Duration::ZERO, 0);
    for n in 0..fill {
        message.clear();
        workload.fill(n, &mut message);
        let event =
            decoder.event(&message, Default::default).map_err(|r| Failure::failed(r.detail))?;
        let begun = Instant::now();
        engine.step([Input::Event(event, SourceRef::default())], &mut effects);
        let took = begun.elapsed();
        if took > longest {
            (longest, longest_at) = (took, n + 1);
        }
        effects.clear();
        if n % 10_000 == 0 {
            progress.set(n);
        }
    }
    progress.finish();
    let mut bench = Bench { engine, decoder, effects, ts_ms: 0, serial: 0, costs: Vec::new() };
    bench.measure_all(&mut workload, (args.events / 500).clamp(100, 20_000))?;
    Ok(shown(args, &bench, (longest, longest_at)))
}

fn shown(args: &Args, bench: &Bench, longest: (Duration, u64)) -> String {
    let per = |cost: &Cost| cost.cpu.as_secs_f64() * 1e6 / cost.messages.max(1) as f64;
    let size = bench.engine.size();
    if args.json {
        let costs: Vec<_> = bench
            .costs
            .iter()
            .map(|cost| {
                serde_json::json!({"message": cost.name, "messages": cost.messages, "cpu_us": per(cost)})
            })
            .collect();
        let value = serde_json::json!({"accounts": size.accounts, "entities": size.entities, "bytes": size.bytes,
            "costs": costs, "longest_step_ms": longest.0.as_secs_f64() * 1e3, "longest_step_at": longest.1});
        return format!("{value}\n");
    }
    let mut text = format!(
        "{} accounts, {} entities, {} in all; up to {} events remembered\n\nCPU time per message, us\n",
        grouped(size.accounts),
        grouped(size.entities),
        megabytes(size.bytes),
        grouped(REMEMBERED),
    );
    for cost in &bench.costs {
        let _ = writeln!(text, "  {:<46} {:>8.2}", cost.name, per(cost));
    }
    let _ = writeln!(
        text,
        "\nlongest step while filling: {:.2} ms of wall time, at event {}",
        longest.0.as_secs_f64() * 1e3,
        grouped(longest.1)
    );
    text
}
