//! `detector check`: is the configuration good?

use super::progress::grouped;
use super::run::say;
use super::setup::{EngineArgs, engine};
use super::{Failure, print};

/// Check a configuration and its model: everything that is wrong, at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  detector check --config conf/ --features")]
pub struct Args {
    #[command(flatten)]
    engine: EngineArgs,
    /// List the names of all features, one a line, on standard output: what rules may speak of.
    #[arg(long)]
    features: bool,
}

pub fn run(args: Args) -> Result<(), Failure> {
    let (engine, loaded) = engine(&args.engine)?;
    if args.features {
        print(&(engine.columns().join("\n") + "\n"))?;
    }
    let versions = engine.versions();
    let sizes = engine.profile_sizes();
    say(&format!(
        "{}: good; {} features (feature set {}), {} rules (policy {}), model {}",
        loaded.file.display(),
        grouped(engine.columns().len() as u64),
        versions.features,
        loaded.config.rules.len(),
        versions.policy,
        versions.model
    ));
    let sizes: Vec<String> = sizes.iter().map(|(role, bytes)| format!("{role} {bytes}")).collect();
    say(&format!("bytes per profile: {}", sizes.join(", ")));
    Ok(())
}
