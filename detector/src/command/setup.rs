//! From a configuration and a model on disk to an engine.

use super::Failure;
use crate::config::{self, Loaded};
use engine::{Engine, Options};
use models::bundle::Bundle;
use models::limits::FILE_BYTES_MAX;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Which configuration and model, and how the stream is to be read.
#[derive(Clone, Debug, clap::Args)]
pub struct EngineArgs {
    /// Configuration: a file, or the folder that `detector init` wrote.
    #[arg(long, short)]
    pub config: PathBuf,
    /// Folder of a model bundle; takes the place of `[model] path`.
    #[arg(long)]
    pub model: Option<PathBuf>,
    /// Labels are targets only: they feed neither features nor the graph.
    #[arg(long)]
    pub no_feedback: bool,
    /// Events with the same `ts` do not see one another (streams with coarse clocks).
    #[arg(long)]
    pub strict_ties: bool,
}

/// Makes an engine.
///
/// # Errors
/// Everything that is wrong with configuration and bundle, at once.
pub fn engine(args: &EngineArgs) -> Result<(Engine, Loaded), Failure> {
    let loaded = config::load(&args.config)?;
    let engine = engine_of(&loaded, args.model.as_deref(), args.no_feedback, args.strict_ties)?;
    Ok((engine, loaded))
}

/// Makes an engine of a configuration that was read already.
///
/// # Errors
/// As [`engine`].
pub fn engine_of(
    loaded: &Loaded,
    model: Option<&Path>,
    no_feedback: bool,
    strict_ties: bool,
) -> Result<Engine, Failure> {
    let bundle = bundle_of(loaded, model)?;
    engine_with(loaded, bundle.as_ref(), no_feedback, strict_ties)
}

/// Reads the bundle that a configuration, or `model` in its place, names; `None` when none does.
///
/// # Errors
/// As [`read_bundle`].
pub fn bundle_of(loaded: &Loaded, model: Option<&Path>) -> Result<Option<Bundle>, Failure> {
    loaded.model_path(model).map(|path| read_bundle(&path)).transpose()
}

/// Makes an engine of a configuration and a bundle that were read already.
///
/// # Errors
/// As [`engine`].
pub fn engine_with(
    loaded: &Loaded,
    bundle: Option<&Bundle>,
    no_feedback: bool,
    strict_ties: bool,
) -> Result<Engine, Failure> {
    let options = Options { no_feedback, strict_ties };
    Engine::new(loaded.config.clone(), bundle, options)
        .map_err(|problems| Failure::refused_file(&loaded.file, &problems))
}

/// Reads a bundle from its folder.
///
/// # Errors
/// When a file cannot be read or the bundle is not whole.
pub fn read_bundle(folder: &Path) -> Result<Bundle, Failure> {
    let fail = |why: String| {
        Failure::refused(format!(
            "model bundle {}: {why}\nhint: --model names the folder that holds model.toml",
            folder.display()
        ))
    };
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(|e| fail(e.to_string()))? {
        let entry = entry.map_err(|e| fail(e.to_string()))?;
        // Through links: Kubernetes mounts a volume's files as such.
        let meta = std::fs::metadata(entry.path()).map_err(|e| fail(e.to_string()))?;
        if !meta.is_file() {
            continue;
        }
        if meta.len() > FILE_BYTES_MAX as u64 {
            return Err(fail(format!(
                "{} has {} bytes, {FILE_BYTES_MAX} at most are read; does it belong to the model?",
                entry.file_name().to_string_lossy(),
                meta.len()
            )));
        }
        let bytes = std::fs::read(entry.path()).map_err(|e| fail(e.to_string()))?;
        files.insert(entry.file_name().to_string_lossy().into_owned(), bytes);
    }
    Bundle::parse(&files).map_err(|e| fail(e.to_string()))
}

/// Reads a moment: epoch milliseconds, or RFC 3339, or a date.
///
/// # Errors
/// When it is none of these.
pub fn moment(text: &str) -> Result<i64, String> {
    if let Ok(ms) = text.parse::<f64>()
        && ms.is_finite()
        && ms >= 0.0
    {
        return Ok(ms as i64);
    }
    if let Ok(ts) = text.parse::<jiff::Timestamp>() {
        return Ok(ts.as_millisecond());
    }
    if let Ok(ts) = format!("{text}T00:00:00Z").parse::<jiff::Timestamp>() {
        return Ok(ts.as_millisecond());
    }
    Err("give epoch milliseconds, a date (2026-01-31) or RFC 3339 (2026-01-31T12:00:00Z)".into())
}
