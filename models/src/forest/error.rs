//! Why a model file was refused.

/// Why a model file was refused. Nothing of a refused file is kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForestError {
    /// The file asks for more than a cap of [`crate::limits`] allows.
    #[error("{what} ({found}) must not exceed {max}; train a smaller model")]
    TooLarge {
        /// What is counted.
        what: &'static str,
        /// How many the file has.
        found: u64,
        /// How many are allowed.
        max: u64,
    },
    /// The file is not what its format says.
    #[error(
        "{format} model: {place}: {reason}; write the file again from the library that trained it"
    )]
    Malformed {
        /// The format being read.
        format: &'static str,
        /// Where in the file.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// The file is of another form than the one expected.
    #[error("the file should be {expected}, and is {found}; {hint}")]
    OtherForm {
        /// The form that `model.toml` names.
        expected: &'static str,
        /// What it is.
        found: &'static str,
        /// What to do.
        hint: String,
    },
    /// The file is sound, but this crate cannot reproduce its scores.
    #[error("{format} model: {what} is not supported; {hint}")]
    Unsupported {
        /// The format being read.
        format: &'static str,
        /// What was found.
        what: String,
        /// What to do instead.
        hint: &'static str,
    },
}

impl ForestError {
    pub(crate) fn malformed(
        format: &'static str,
        place: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        ForestError::Malformed { format, place: place.into(), reason: reason.into() }
    }

    pub(crate) fn unsupported(
        format: &'static str,
        what: impl Into<String>,
        hint: &'static str,
    ) -> Self {
        ForestError::Unsupported { format, what: what.into(), hint }
    }
}

/// Refuses `found` over `max`.
pub(crate) fn at_most(what: &'static str, found: usize, max: usize) -> Result<(), ForestError> {
    if found > max {
        return Err(ForestError::TooLarge { what, found: found as u64, max: max as u64 });
    }
    Ok(())
}
