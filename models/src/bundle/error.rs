//! Why a bundle was refused.

use std::fmt;

use crate::forest::ForestError;

/// Why a bundle was refused. Nothing of a refused bundle is used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// A file is not there.
    #[error("the bundle has no {file}; copy the whole directory that training wrote")]
    MissingFile {
        /// Its name.
        file: String,
    },
    /// A file is there that `model.toml` does not list.
    #[error(
        "{file} is not listed under [sha256] in model.toml; take it out of the bundle's directory"
    )]
    UnlistedFile {
        /// Its name.
        file: String,
    },
    /// A file is not the one that `model.toml` was written with.
    #[error(
        "{file} has the SHA-256 {found}, but model.toml says {expected}; copy the whole directory again"
    )]
    Sha256 {
        /// Its name.
        file: String,
        /// What `model.toml` says.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// Something in the bundle cannot be used.
    #[error("{place}: {what}")]
    Invalid {
        /// Where it stands.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// The forest file was refused.
    #[error("{file}: {source}")]
    Forest {
        /// Its name.
        file: String,
        /// Why.
        source: ForestError,
    },
    /// The model knows categories by name that the configuration does not declare.
    #[error("the model knows categories of column {column:?} by name, and these are not declared: {}; declare them among the attribute's values, or train on the codes that `detector replay --rows-out` writes", listed(.names))]
    Categories {
        /// Name of the column.
        column: String,
        /// The categories.
        names: Vec<String>,
    },
    /// The bundle was trained on other features than the engine has.
    #[error("the bundle does not fit the configured features: {}; train on this configuration, or configure what the bundle was trained on", differences(.hash, .missing))]
    Features {
        /// The bundle's hash and the engine's, if they differ.
        hash: Option<(String, String)>,
        /// Columns that the engine does not have.
        missing: Vec<MissingColumn>,
    },
}

/// A column that the engine does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingColumn {
    /// Its name in the bundle.
    pub name: String,
    /// The most similar name that the engine has, if any is similar.
    pub nearest: Option<String>,
}

fn listed(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(LISTED_MAX).map(|n| format!("{n:?}")).collect();
    match names.len().saturating_sub(LISTED_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Most missing columns or categories that a message lists.
const LISTED_MAX: usize = 10;

fn differences(hash: &Option<(String, String)>, missing: &[MissingColumn]) -> String {
    let mut parts = Vec::new();
    if let Some((bundle, engine)) = hash {
        parts.push(format!("feature-set hash {bundle} (bundle) is not {engine} (configuration)"));
    }
    if !missing.is_empty() {
        let listed: Vec<String> = missing.iter().take(LISTED_MAX).map(|c| c.to_string()).collect();
        let more = match missing.len().saturating_sub(LISTED_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        parts.push(format!("missing columns {}{more}", listed.join(", ")));
    }
    parts.join("; ")
}

impl fmt::Display for MissingColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.nearest {
            None => write!(f, "{:?}", self.name),
            Some(nearest) => write!(f, "{:?} (nearest: {nearest:?})", self.name),
        }
    }
}

impl BundleError {
    pub(crate) fn invalid(place: impl Into<String>, what: impl Into<String>) -> Self {
        BundleError::Invalid { place: place.into(), what: what.into() }
    }
}
