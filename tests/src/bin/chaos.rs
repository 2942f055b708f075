//! The conservation run under faults; `scripts/chaos` starts it.

use clap::Parser;
use e2e::chaos::plan::Kind;
use e2e::chaos::{Options, run};
use std::path::PathBuf;
use std::process::ExitCode;

/// Two detectors under load, and faults done to them, to Kafka, to Redis, to the network and to the clocks. The last line is the summary
/// as JSON. Exit code 1 when anything was lost, came twice or came out different.
#[derive(Parser)]
#[command(name = "scripts/chaos")]
struct Args {
    /// How many faults.
    #[arg(long, default_value_t = 100)]
    faults: u32,
    /// The same seed gives the same stream and the same plan of faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Messages per second.
    #[arg(long, default_value_t = 400)]
    rate: u32,
    /// No more faults after so many minutes.
    #[arg(long)]
    minutes: Option<u64>,
    /// Only these kinds of faults, by the names that the summary has; comma-separated.
    #[arg(long, value_delimiter = ',')]
    kinds: Vec<String>,
    /// `at_least_once`: an output may come again, and is the same then; nothing may be missing or different.
    #[arg(long, default_value = "exactly_once")]
    delivery: String,
    /// Where the detectors' logs are copied to.
    #[arg(long)]
    logs: Option<PathBuf>,
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a command")]
fn main() -> ExitCode {
    let args = Args::parse();
    let mut kinds = Vec::new();
    for name in &args.kinds {
        let Some((kind, _)) = Kind::ALL.into_iter().find(|(kind, _)| kind.name() == name) else {
            let all: Vec<_> = Kind::ALL.iter().map(|(kind, _)| kind.name()).collect();
            eprintln!("no kind of fault is called `{name}`\nhint: there are {}", all.join(", "));
            return ExitCode::from(2);
        };
        kinds.push(kind);
    }
    let delivery = match args.delivery.as_str() {
        "exactly_once" => "exactly_once",
        "at_least_once" => "at_least_once",
        other => {
            eprintln!(
                "no delivery is called `{other}`\nhint: there are exactly_once and at_least_once"
            );
            return ExitCode::from(2);
        }
    };
    let options = Options {
        faults: args.faults,
        seed: args.seed,
        rate: args.rate,
        minutes: args.minutes,
        kinds,
        delivery,
    };
    let (summary, world) = run(&options, &mut |line| eprintln!("{line}"));
    if let Some(folder) = args.logs {
        let kept = std::fs::create_dir_all(&folder).and_then(|()| {
            ["a", "b"].iter().try_for_each(|name| {
                let log = folder.join(format!("{name}.log"));
                std::fs::copy(world.scratch().path(name), log).map(drop)
            })
        });
        if let Err(e) = kept {
            eprintln!("the logs were not kept in {}: {e}", folder.display());
        }
    }
    for wrong in &summary.wrong {
        eprintln!("WRONG: {wrong}");
    }
    match serde_json::to_string(&summary) {
        Ok(text) => println!("{text}"),
        Err(e) => eprintln!("{e}"),
    }
    if summary.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
