//! `detector check`: is the configuration good?

use super::progress::grouped;
use super::run::say;
use super::setup::{EngineArgs, engine_of};
use super::{Failure, print};
use crate::config;
use crate::service::{Begin, Settings};
use crate::store::redis::RedisSection;
use crate::telemetry::export::{ExportError, Wanted};

/// Check a configuration, its model and the environment: all that `run` would refuse.
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
    let loaded = config::load(&args.engine.config)?;
    let mut problems = Vec::new();
    let EngineArgs { model, no_feedback, strict_ties, .. } = &args.engine;
    let engine = engine_of(&loaded, model.as_deref(), *no_feedback, *strict_ties);
    let engine = engine.map_err(|e| problems.push(e.to_string()));
    if loaded.kafka.is_some() {
        // The service: just what it refuses, and what its environment asks for beside the configuration.
        let settings = Settings::new(
            loaded.clone(),
            model.clone(),
            *strict_ties,
            Begin::default(),
            Vec::new(),
        );
        problems.extend(settings.err().into_iter().flatten());
        problems.extend(Wanted::of_process().err().into_iter().flat_map(|ExportError(e)| e));
    } else if let Some(Err(found)) = loaded.redis.as_ref().map(RedisSection::validate) {
        problems.extend(found);
    }
    let engine = match engine {
        Ok(engine) if problems.is_empty() => engine,
        Ok(_) => return Err(Failure::refused_file(&loaded.file, &problems)),
        Err(()) => return Err(Failure::refused(problems.join("\n  "))),
    };
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
