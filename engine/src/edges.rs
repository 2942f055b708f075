//! Sections of `detector.toml` about the service around the line. They are only carried here.

use serde::{Deserialize, Serialize};

/// The service's HTTP calls.
#[derive(Clone, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSection {
    /// Address and port; empty: no HTTP.
    pub listen: String,
    /// What callers of `/v1` have to show. Required when others than this machine can connect. Never printed.
    #[serde(skip_serializing)]
    pub token: Option<String>,
    /// `/healthz` fails when the engine's thread was not heard of for longer.
    pub heartbeat_max: String,
    /// `/readyz` fails when the newest durable checkpoint is older.
    pub checkpoint_age_max: String,
}

impl Default for HttpSection {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:9600".into(),
            token: None,
            heartbeat_max: "1m".into(),
            checkpoint_age_max: "10m".into(),
        }
    }
}

impl std::fmt::Debug for HttpSection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpSection")
            .field("listen", &self.listen)
            .field("token", &if self.token.is_some() { "***" } else { "none" })
            .field("heartbeat_max", &self.heartbeat_max)
            .field("checkpoint_age_max", &self.checkpoint_age_max)
            .finish()
    }
}

/// When the service reads its policy and its model again.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct ReloadSection {
    /// How often the configuration's file and the bundle's are looked at; 0: never.
    pub files_every: String,
}

impl Default for ReloadSection {
    fn default() -> Self {
        Self { files_every: "5s".into() }
    }
}

/// The service's logs.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    /// The least important lines that are written: `error`, `warn`, `info`, `debug`, `trace`, or directives such as
    /// `info,detector::http=debug`.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for LogSection {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
    }
}
