//! Structured logs to standard error, by the `[log]` section.
//!
//! What is logged names topics, partitions, offsets, counts and codes; never an account, an entity's key, or a
//! secret. [`Hidden`] is for a value that has to pass by, [`Captured`] for the tests that look.

use super::export::Export;
use engine::config::{LogFormat, LogSection};
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::{self as fmt_layer, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

/// Logs that cannot be set up.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LogError {
    /// The level is not understood.
    #[error(
        "log.level: `{level}` is no level ({why})\nhint: write error, warn, info, debug or trace, or directives such as info,detector::http=debug"
    )]
    Level {
        /// As configured.
        level: String,
        /// What is wrong.
        why: String,
    },
    /// There are logs already.
    #[error("the process writes logs already\nhint: set them up once, at its start")]
    Twice,
}

/// Sets up the process's logs; with `export` they are exported as well, and spans.
///
/// # Errors
/// When the level is not understood, or it was done before.
pub fn init(section: &LogSection, export: Option<&Export>) -> Result<(), LogError> {
    let subscriber = subscriber(section, io::stderr, export)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)
}

/// What is wrong with the section.
///
/// # Errors
/// When the level is not understood.
pub fn check(section: &LogSection) -> Result<(), LogError> {
    filter(section).map(drop)
}

fn filter(section: &LogSection) -> Result<EnvFilter, LogError> {
    let error = |why: String| LogError::Level { level: section.level.clone(), why };
    let filter = EnvFilter::builder().parse(&section.level).map_err(|e| error(e.to_string()))?;
    // A word that is no level is taken for the name of a module.
    let plain = !section.level.contains(['=', ',']);
    let levels = ["error", "warn", "info", "debug", "trace", "off"];
    if plain && !levels.contains(&section.level.to_ascii_lowercase().as_str()) {
        return Err(error("there is none of this name".into()));
    }
    Ok(filter)
}

/// The logs as a subscriber that writes elsewhere.
///
/// # Errors
/// When the level is not understood.
pub fn subscriber<W>(
    section: &LogSection,
    writer: W,
    export: Option<&Export>,
) -> Result<Box<dyn Subscriber + Send + Sync>, LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = fmt_layer::layer().with_ansi(false).with_writer(writer);
    let filtered = tracing_subscriber::registry().with(filter(section)?);
    Ok(match section.format {
        LogFormat::Text => told(filtered.with(lines), export),
        LogFormat::Json => told(filtered.with(lines.json().flatten_event(true)), export),
    })
}

fn told<S>(subscriber: S, export: Option<&Export>) -> Box<dyn Subscriber + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync + 'static,
{
    match export {
        Some(export) => export.attach(subscriber),
        None => Box::new(subscriber),
    }
}

/// A value that is never shown.
#[derive(Clone, Copy)]
pub struct Hidden<T>(pub T);

impl<T> fmt::Debug for Hidden<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<T> fmt::Display for Hidden<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Collects what is logged.
#[derive(Clone, Debug, Default)]
pub struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    /// All of it so far.
    #[must_use]
    pub fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Captured {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(format: LogFormat) -> String {
        let captured = Captured::default();
        let section = LogSection { level: "info".into(), format };
        let subscriber = subscriber(&section, captured.clone(), None).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(partition = 3, offset = 88, key = %Hidden("u42"), "taken");
            tracing::debug!("not shown");
        });
        captured.text()
    }

    #[test]
    fn lines_are_text_or_json_and_hidden_values_are_hidden() {
        let text = logged(LogFormat::Text);
        assert!(text.contains("taken") && text.contains("partition=3"), "{text}");
        let json = logged(LogFormat::Json);
        let line: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&line["level"], &line["partition"]), (&"INFO".into(), &3.into()));
        assert_eq!(line["message"], "taken");
        for text in [text, json] {
            assert!(text.contains("***") && !text.contains("u42") && !text.contains("not shown"));
        }
    }

    #[test]
    fn levels_are_checked() {
        let of = |level: &str| check(&LogSection { level: level.into(), ..LogSection::default() });
        for good in ["info", "WARN", "off", "info,detector::http=debug"] {
            assert_eq!(of(good), Ok(()), "{good}");
        }
        for bad in ["loud", "", "info,detector=loud"] {
            let error = of(bad).unwrap_err().to_string();
            assert!(error.contains("log.level") && error.contains("hint: "), "{error}");
        }
    }
}
