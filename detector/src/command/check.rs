//! `detector check`: is the configuration good?

use super::progress::grouped;
use super::run::say;
use super::setup::{EngineArgs, engine_of};
use super::{Failure, print};
use crate::config;
use crate::service::{Begin, Settings};
use crate::store::redis::RedisSection;
use crate::telemetry::export::{ExportError, Wanted};
use engine::config::Config;
use engine::policy::ActionKind;

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
    for line in without_effect(&loaded.config) {
        say(&format!("without effect: {line}"));
    }
    Ok(())
}

/// What is written down, is right, and changes nothing.
fn without_effect(config: &Config) -> Vec<String> {
    let rules = &config.rules;
    let names =
        |name: &str| rules.iter().any(|rule| rule.when.contains(&format!("threshold.{name}")));
    let unused = config.policy.thresholds.keys().filter(|name| !names(name));
    let mut found: Vec<String> =
        unused.map(|name| format!("policy.thresholds.{name}: no rule names it")).collect();
    let asked = |kind: &ActionKind| rules.iter().any(|rule| rule.action == *kind);
    // A stronger action at its cap becomes a review.
    let made = |kind: &ActionKind| *kind == ActionKind::Review || *kind == ActionKind::Observe;
    let caps = config.policy.caps_per_hour.keys().filter(|kind| !asked(kind) && !made(kind));
    found.extend(
        caps.map(|kind| format!("policy.caps_per_hour.{}: no rule asks for it", kind.as_str())),
    );
    if rules.is_empty() {
        found.push("there are no [[rules]]: events are scored, and nothing is done".into());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_effect_is_named() {
        let table = [
            ("", &["there are no [[rules]]"][..]),
            (RULE, &[]),
            (
                &format!(
                    "[policy]\nthresholds = {{ low = 0.5, high = 0.9 }}\ncaps_per_hour = {{ ban = 3, suspend = 2 }}\n{RULE}"
                ),
                &["policy.thresholds.low: no rule names it", "policy.caps_per_hour.ban: no rule"],
            ),
        ];
        for (text, wanted) in table {
            let config = config::parse(text, &Default::default()).expect("it is good");
            let found = without_effect(&config);
            assert_eq!(found.len(), wanted.len(), "{found:?}");
            for (found, wanted) in found.iter().zip(wanted) {
                assert!(found.starts_with(wanted), "{found}");
            }
        }
    }

    const RULE: &str =
        "[[rules]]\nname = \"r\"\nwhen = \"score > threshold.high\"\naction = \"suspend\"\n";
}
