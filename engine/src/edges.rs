//! Sections of `detector.toml` about the service around the line. They are only carried here.

use serde::{Deserialize, Serialize};

/// The service's HTTP calls.
#[derive(Clone, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSection {
    /// Address and port; empty: no HTTP.
    pub listen: String,
    /// What callers of `/v1` have to show. Required, or one of `tokens`, when others than this machine can connect. Never printed.
    #[serde(skip_serializing)]
    pub token: Option<String>,
    /// Further tokens, each with a name and a role: for people and programs apart, and for an old and a new one side by side.
    pub tokens: Vec<HttpToken>,
    /// File to which each call of `/v1` is appended: who asked what, about which account. Empty: no file.
    pub access_log: String,
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
            tokens: Vec::new(),
            access_log: String::new(),
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
            .field("tokens", &self.tokens)
            .field("access_log", &self.access_log)
            .field("heartbeat_max", &self.heartbeat_max)
            .field("checkpoint_age_max", &self.checkpoint_age_max)
            .finish()
    }
}

/// A token with a name and a role.
#[derive(Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct HttpToken {
    /// Whose it is, for the access log.
    pub name: String,
    /// What is shown. Never printed.
    #[serde(skip_serializing)]
    pub token: String,
    /// What it allows.
    pub role: HttpRole,
}

impl std::fmt::Debug for HttpToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpToken")
            .field("name", &self.name)
            .field("token", &"***")
            .field("role", &self.role)
            .finish()
    }
}

/// What a token allows.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum HttpRole {
    /// Every call of `/v1`.
    #[default]
    All,
    /// To read accounts and rings: `GET`.
    Read,
    /// To score events that are not taken: `POST /v1/score`.
    Score,
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
