//! `detector golden`: the scenarios that a model must pass before it is accepted.

use super::Failure;
use super::progress::grouped;
use super::setup::engine_of;
use crate::config;
use crate::evaluate::golden::{self, Outcome};
use std::path::PathBuf;

/// Run the golden scenarios: small streams with what must, and must not, come of them. Warm-up, the kill switch and
/// a policy that is all shadow do not count here: the model and the rules are judged, not the brakes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  detector golden --config conf/ --model model/ --golden examples/golden
  detector golden --config conf/ --golden golden/ --json > outcome.json
A scenario is a folder with events.ndjson, expected.ndjson and, if labels are to arrive, labels.ndjson. A line of what is expected:
  {\"account\":\"a1\",\"at_least\":\"review\"}   (at_most, actions, within_events, reversed; \"a*\" for a group, with share)")]
pub struct Args {
    /// Configuration: a file, or the folder that `detector init` wrote.
    #[arg(long, short)]
    config: PathBuf,
    /// Folder of a model bundle; takes the place of `[model] path`.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Folder of scenarios, a folder each.
    #[arg(long)]
    golden: PathBuf,
    /// Print the outcome as JSON on standard output.
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<(), Failure> {
    let mut loaded = config::load(&args.config)?;
    loaded.config.policy.warm_up = "0s".into();
    loaded.config.policy.kill_switch = false;
    loaded.config.policy.shadow = false;
    let scenarios = golden::scenarios(&args.golden)?;
    let mut outcomes = Vec::new();
    for scenario in &scenarios {
        let mut engine = engine_of(&loaded, args.model.as_deref(), false, false)?;
        outcomes.push(golden::run(scenario, &mut engine)?);
    }
    print(&outcomes, args.json)?;
    let failed = outcomes.iter().filter(|o| !o.passed).count();
    if failed > 0 {
        return Err(Failure::failed(format!(
            "{failed} of {} golden scenarios failed\nhint: do not put this model in place; `detector explain` says why an account was or was not acted on",
            outcomes.len()
        )));
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the table is the command's output")]
fn print(outcomes: &[Outcome], json: bool) -> Result<(), Failure> {
    if json {
        println!("{}", serde_json::to_string(&outcomes)?);
        return Ok(());
    }
    let wide = outcomes.iter().map(|o| o.scenario.len()).max().unwrap_or(0).max(8);
    println!("{:<wide$}  {:>8}  outcome", "scenario", "events");
    for outcome in outcomes {
        let passed = if outcome.passed { "passed" } else { "FAILED" };
        println!("{:<wide$}  {:>8}  {passed}", outcome.scenario, grouped(outcome.events));
        for line in outcome.expected.iter().filter(|l| !l.passed) {
            println!(
                "{:wide$}  {:>8}    {}: {} of {} as expected; {}",
                "",
                "",
                line.account,
                line.as_expected,
                line.accounts,
                line.why.as_deref().unwrap_or("-")
            );
        }
    }
    Ok(())
}
