//! A program that is built without OpenTelemetry.

use super::{ExportError, Wanted};
use metrics::Recorder;
use std::convert::Infallible;
use tracing::Subscriber;

/// There is none.
#[derive(Debug)]
pub struct Export(Infallible);

impl Export {
    /// Nothing is exported by this program.
    ///
    /// # Errors
    /// None.
    pub fn start(_: &Wanted) -> Result<Option<Self>, ExportError> {
        Ok(None)
    }

    pub(crate) fn attach<S: Subscriber>(&self, _: S) -> Box<dyn Subscriber + Send + Sync> {
        match self.0 {}
    }

    pub(crate) fn with(
        &self,
        _: metrics_exporter_prometheus::PrometheusRecorder,
    ) -> Box<dyn Recorder + Send + Sync> {
        match self.0 {}
    }
}
