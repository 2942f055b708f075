//! Export by OTLP: protocol buffers over HTTP.
//!
//! Metrics are those of [`names`], under the same names and with the same buckets. Logs are the lines of standard error, spans
//! what takes its time and is not done per batch: the start with load and replay, checkpoints, reloads, the end. Batches have
//! histograms; a span for each would cost more than the batch.

use super::both::Both;
use super::http::Client;
use super::{ExportError, Wanted};
use crate::fetch::Caller;
use crate::telemetry::{BUCKETS_S, names};
use metrics::Recorder;
use metrics_exporter_prometheus::PrometheusRecorder;
use metrics_opentelemetry::{OpenTelemetryMetrics, OpenTelemetryRecorder};
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::TracerProvider;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig,
    WithHttpConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::sync::Arc;
use std::time::Duration;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;

/// What the metrics and spans say who made them.
const SCOPE: &str = "detector";
/// What is left is handed over for so long when the program ends.
const END_MAX: Duration = Duration::from_secs(5);

/// The exporters, with threads of their own; what is left is handed over when this ends.
#[derive(Debug)]
pub struct Export {
    metrics: Option<SdkMeterProvider>,
    logs: Option<SdkLoggerProvider>,
    traces: Option<SdkTracerProvider>,
}

impl Export {
    /// Starts to export. How often, and how much may wait, is said by the SDK's variables (`OTEL_METRIC_EXPORT_INTERVAL`,
    /// `OTEL_BSP_*`, `OTEL_BLRP_*`); more headers, and compression, by the exporter's.
    ///
    /// # Errors
    /// When an address is none, or the certificates cannot be read.
    pub fn start(wanted: &Wanted) -> Result<Option<Self>, ExportError> {
        let caller = Caller::new(wanted.ca_file.as_deref(), wanted.timeout)
            .map_err(|e| ExportError(vec![format!("OTEL_EXPORTER_OTLP_CERTIFICATE: {e}")]))?;
        let client = Arc::new(Client(caller));
        let resource = resource(wanted);
        let mut problems = Vec::new();
        let metrics = wanted.metrics.as_deref().and_then(|address| {
            let made = configured(MetricExporter::builder().with_http(), address, wanted, &client);
            let exporter = kept(made.build(), "metrics", &mut problems)?;
            let provider = SdkMeterProvider::builder().with_periodic_exporter(exporter);
            Some(provider.with_resource(resource.clone()).build())
        });
        let logs = wanted.logs.as_deref().and_then(|address| {
            let made = configured(LogExporter::builder().with_http(), address, wanted, &client);
            let exporter = kept(made.build(), "logs", &mut problems)?;
            let provider = SdkLoggerProvider::builder().with_batch_exporter(exporter);
            Some(provider.with_resource(resource.clone()).build())
        });
        let traces = wanted.traces.as_deref().and_then(|address| {
            let made = configured(SpanExporter::builder().with_http(), address, wanted, &client);
            let exporter = kept(made.build(), "traces", &mut problems)?;
            let provider = SdkTracerProvider::builder().with_batch_exporter(exporter);
            Some(provider.with_resource(resource.clone()).build())
        });
        if problems.is_empty() {
            Ok(Some(Self { metrics, logs, traces }))
        } else {
            Err(ExportError(problems))
        }
    }

    /// A recorder that tells the metrics to both.
    pub(crate) fn with(&self, shown: PrometheusRecorder) -> Box<dyn Recorder + Send + Sync> {
        let Some(provider) = &self.metrics else { return Box::new(shown) };
        let metrics = OpenTelemetryMetrics::new(provider.meter(SCOPE));
        let mut exported = OpenTelemetryRecorder::new(metrics);
        let histograms = names::ALL.iter().filter(|m| m.kind == names::Kind::Histogram);
        exported.set_histogram_bounds_mut(histograms.map(|m| m.name), &BUCKETS_S);
        Box::new(Both(shown, exported))
    }

    /// What is logged goes to the collector as well, and so do spans.
    pub(crate) fn attach<S>(&self, subscriber: S) -> Box<dyn Subscriber + Send + Sync>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync + 'static,
    {
        // What the exporters say of themselves would feed on itself.
        let logs = self.logs.as_ref().map(|provider| {
            OpenTelemetryTracingBridge::new(provider)
                .with_filter(filter_fn(|m| !m.target().starts_with("opentelemetry")))
        });
        let traces = self.traces.as_ref().map(|provider| {
            tracing_opentelemetry::layer()
                .with_tracer(provider.tracer(SCOPE))
                .with_filter(filter_fn(|m| m.is_span() && m.target().starts_with("detector")))
        });
        Box::new(subscriber.with(traces).with(logs))
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        let ended = [
            self.traces.as_ref().map(|provider| provider.shutdown_with_timeout(END_MAX)),
            self.logs.as_ref().map(|provider| provider.shutdown_with_timeout(END_MAX)),
            self.metrics.as_ref().map(|provider| provider.shutdown_with_timeout(END_MAX)),
        ];
        for error in ended.into_iter().flatten().filter_map(Result::err) {
            tracing::warn!("OpenTelemetry: what was left could not be handed over: {error}");
        }
    }
}

/// Who speaks.
fn resource(wanted: &Wanted) -> Resource {
    let mut resource = Resource::builder()
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    if wanted.names_service {
        resource = resource.with_service_name("detector");
    }
    // Instances must not be taken for one another: the live one and its standbys count alike.
    if wanted.names_instance {
        let id = format!("{:032x}", rand::random::<u128>());
        resource = resource.with_attribute(KeyValue::new("service.instance.id", id));
    }
    resource.build()
}

fn configured<B: WithExportConfig + WithHttpConfig>(
    builder: B,
    address: &str,
    wanted: &Wanted,
    client: &Arc<Client>,
) -> B {
    builder
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(address)
        .with_timeout(wanted.timeout)
        .with_shared_http_client(client.clone())
}

fn kept<T>(
    made: Result<T, ExporterBuildError>,
    what: &str,
    problems: &mut Vec<String>,
) -> Option<T> {
    made.map_err(|e| problems.push(format!("{what}: {e}"))).ok()
}
