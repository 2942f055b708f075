//! Who asked what about which account: a file apart from the logs, which name no account.

use super::HttpError;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// A call of `/v1`, as a line of JSON.
#[derive(Debug, Serialize)]
pub(super) struct Access<'a> {
    /// When it was answered, RFC 3339.
    pub at: String,
    /// Name of the token; `local` without tokens.
    pub caller: &'a str,
    /// The method and the path's pattern.
    pub call: &'a str,
    /// The account asked about, as in the path; none for an event that is scored.
    pub account: Option<&'a str>,
    /// The answer's status.
    pub status: u16,
}

/// The file, if there is one.
#[derive(Debug, Default)]
pub(super) struct AccessLog(Option<Mutex<File>>);

impl AccessLog {
    /// Opens a file to append to; only its owner can read a new one.
    pub fn open(path: Option<&Path>) -> Result<Self, HttpError> {
        let Some(path) = path else { return Ok(Self(None)) };
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        let file = file.map_err(|why| HttpError::AccessLog { path: path.into(), why })?;
        Ok(Self(Some(Mutex::new(file))))
    }

    /// Appends a line. False: it could not be written, and the call must not be answered.
    #[must_use]
    pub fn note(&self, access: &Access<'_>) -> bool {
        let Some(file) = &self.0 else { return true };
        let Ok(mut line) = serde_json::to_vec(access) else { return false };
        line.push(b'\n');
        let written =
            file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line).inspect_err(|e| {
                tracing::error!(event = "access_log_failed", error = %e, "access log not written");
            });
        written.is_ok()
    }
}
