//! `detector explain`: what is known of an account, and why it scores as it does.

use super::run::say;
use super::setup::{EngineArgs, engine};
use super::{Failure, print};
use crate::store::embedded::Embedded;
use std::path::PathBuf;

/// Explain an account: its profile, links and ring, and why it scores as it does.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  detector explain --config conf/ --state state/ --account u42
  detector explain --config conf/ --state state/ --account u42 --format dot | dot -Tsvg > ring.svg")]
pub struct Args {
    #[command(flatten)]
    engine: EngineArgs,
    /// The account.
    #[arg(long)]
    account: String,
    /// Folder of the embedded state, as `run --state` or `replay --state-out` left it.
    #[arg(long)]
    state: PathBuf,
    /// How it is shown.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// How an explanation is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// The ring as a Graphviz graph.
    Dot,
}

pub fn run(args: Args) -> Result<(), Failure> {
    let (mut engine, _) = engine(&args.engine)?;
    if !Embedded::exists(&args.state) {
        return Err(Failure::failed(format!(
            "{} is not a state folder\nhint: `detector replay --state-out DIR` or `detector run --state DIR` makes one",
            args.state.display()
        )));
    }
    let store = Embedded::open(&args.state)?;
    let Some(position) = store.position()? else {
        return Err(Failure::failed(format!(
            "{} holds no checkpoint yet\nhint: let a run finish its first checkpoint",
            args.state.display()
        )));
    };
    store.check(&position, &engine.versions().features)?;
    store.load(&mut engine, |_| {})?;
    let Some(explanation) = engine.explain(&args.account) else {
        return Err(Failure::failed(
            "this account is not known in this state\nhint: is the id written as in the events, and was it seen within time.account_ttl?",
        ));
    };
    match args.format {
        Format::Json => print(&(serde_json::to_string_pretty(&explanation)? + "\n"))?,
        Format::Dot => print(&(engine.ring_dot(&args.account).unwrap_or_default() + "\n"))?,
        Format::Text => print(&explanation.to_string())?,
    }
    if args.format != Format::Json {
        say(&format!("model {}, policy {}", engine.versions().model, engine.versions().policy));
    }
    Ok(())
}
