//! The service's speed on this machine; `scripts/bench` starts it.

use clap::Parser;
use e2e::bench::{Options, run};
use std::process::ExitCode;

/// Kafka, Redis and the service on this machine: events per second, CPU time per event of each process, and the time from producing an
/// event to seeing its action. The last line is the same as JSON. Exit code 1 when an event was lost.
///
/// First every account is made known by two events, then a backlog is drained as fast as it goes, then rates are held.
#[derive(Parser)]
#[command(name = "scripts/bench")]
struct Args {
    /// Accounts.
    #[arg(long, default_value_t = 1_000_000)]
    accounts: u32,
    /// Events of the backlog.
    #[arg(long, default_value_t = 2_000_000)]
    events: u64,
    /// Events per second to hold, comma-separated; else 10,000, and half of what the backlog was drained with.
    #[arg(long, value_delimiter = ',')]
    rates: Vec<u32>,
    /// How long each rate is held.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// How long it is held before that, unmeasured, and half of the time at half the rate: a broker that has just begun compiles its own code.
    #[arg(long, default_value_t = 30)]
    warm_up_seconds: u32,
    /// How outputs are delivered, comma-separated.
    #[arg(long, value_delimiter = ',', default_value = "exactly_once,at_least_once")]
    delivery: Vec<String>,
    /// A folder for the service's log (with debug lines) and the latency of each action as CSV.
    #[arg(long, value_name = "FOLDER")]
    keep: Option<std::path::PathBuf>,
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a command")]
fn main() -> ExitCode {
    let Args { accounts, events, rates, seconds, warm_up_seconds, delivery: deliveries, keep } =
        Args::parse();
    let known = ["exactly_once", "at_least_once"];
    if let Some(other) = deliveries.iter().find(|d| !known.contains(&d.as_str())) {
        eprintln!("no delivery is called `{other}`\nhint: there are {}", known.join(" and "));
        return ExitCode::from(2);
    }
    if accounts < 1000 || events < 1000 || seconds == 0 {
        eprintln!("at least 1000 accounts and events, and 1 second, are needed");
        return ExitCode::from(2);
    }
    if let Some(folder) = &keep
        && let Err(e) = std::fs::create_dir_all(folder)
    {
        eprintln!("{}: {e}", folder.display());
        return ExitCode::from(2);
    }
    let options = Options { accounts, events, rates, seconds, warm_up_seconds, deliveries, keep };
    let report = run(&options, &mut |line| println!("{line}"));
    match serde_json::to_string(&report) {
        Ok(text) => println!("{text}"),
        Err(e) => eprintln!("{e}"),
    }
    if report.losses() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
