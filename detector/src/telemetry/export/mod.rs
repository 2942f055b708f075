//! Metrics, logs and spans to an OpenTelemetry collector, where one is named and the program is built for it (cargo feature
//! `otel`). What is exported where is said by OpenTelemetry's own variables, as for any other program; none of them set, nothing
//! is exported. docs/metrics.md has the list.

#[cfg(feature = "otel")]
mod both;
#[cfg(feature = "otel")]
mod http;
#[cfg(feature = "otel")]
mod otlp;
#[cfg(not(feature = "otel"))]
mod without;

#[cfg(feature = "otel")]
pub use otlp::Export;
#[cfg(not(feature = "otel"))]
pub use without::Export;

use std::collections::BTreeMap;
use std::time::Duration;

/// Longest wait for the collector, milliseconds, unless `OTEL_EXPORTER_OTLP_TIMEOUT` says otherwise.
const TIMEOUT_MS: u64 = 10_000;

/// What is wrong with the environment's settings of OpenTelemetry.
///
/// Not a [`std::error::Error`]: `?` must turn it into a refusal (exit code 2), never into a failure at work (1).
#[derive(Debug, PartialEq, Eq)]
pub struct ExportError(pub Vec<String>);

impl std::fmt::Display for ExportError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenTelemetry: {}", self.0.join("\n  "))
    }
}

/// What is to be exported where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Address for metrics.
    pub metrics: Option<String>,
    /// Address for logs.
    pub logs: Option<String>,
    /// Address for spans.
    pub traces: Option<String>,
    /// File with the certificates of authorities that are trusted instead of the system's.
    pub ca_file: Option<String>,
    /// Longest wait for an answer.
    pub timeout: Duration,
    /// The service's name; another one may be named in the environment.
    pub names_service: bool,
    /// A name for this process among those of the service; likewise.
    pub names_instance: bool,
}

impl Wanted {
    /// What the environment asks for; `None` when that is nothing.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn of(env: &BTreeMap<String, String>) -> Result<Option<Self>, ExportError> {
        let get = |name: &str| env.get(name).map(|v| v.trim()).filter(|v| !v.is_empty());
        if get("OTEL_SDK_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let mut problems = Vec::new();
        let mut signal = |signal: &str| {
            let upper = signal.to_uppercase();
            let exporter = format!("OTEL_{upper}_EXPORTER");
            match get(&exporter) {
                Some("none") => return None,
                None | Some("otlp") => {}
                Some(other) => problems
                    .push(format!("{exporter} is {other}\n  hint: otlp and none are known here")),
            }
            let own = format!("OTEL_EXPORTER_OTLP_{upper}_ENDPOINT");
            let common = "OTEL_EXPORTER_OTLP_ENDPOINT";
            let (name, address) = match (get(&own), get(common)) {
                (Some(address), _) => (own.as_str(), address.to_owned()),
                (None, Some(base)) => {
                    (common, format!("{}/v1/{signal}", base.trim_end_matches('/')))
                }
                (None, None) => return None,
            };
            if !["http://", "https://"].iter().any(|scheme| address.starts_with(scheme)) {
                problems.push(format!(
                    "{name} is no address of HTTP\n  hint: {name}=http://collector:4318"
                ));
            }
            // Errors and logs show addresses.
            let host = address.split('/').nth(2).unwrap_or_default();
            if host.contains('@') {
                problems.push(format!(
                    "{name} has a password or a name in it\n  hint: put them into OTEL_EXPORTER_OTLP_HEADERS"
                ));
            }
            let own = format!("OTEL_EXPORTER_OTLP_{upper}_PROTOCOL");
            let common = "OTEL_EXPORTER_OTLP_PROTOCOL";
            let protocol =
                get(&own).map(|v| (own.as_str(), v)).or(get(common).map(|v| (common, v)));
            if let Some((name, other)) = protocol.filter(|(_, v)| *v != "http/protobuf") {
                problems.push(format!(
                    "{name} is {other}\n  hint: http/protobuf is spoken here; the collector's port for it is mostly 4318"
                ));
            }
            Some(address)
        };
        let (metrics, logs, traces) = (signal("metrics"), signal("logs"), signal("traces"));
        if metrics.is_none() && logs.is_none() && traces.is_none() && problems.is_empty() {
            return Ok(None);
        }
        for name in ["CLIENT_CERTIFICATE", "CLIENT_KEY"] {
            let name = format!("OTEL_EXPORTER_OTLP_{name}");
            if get(&name).is_some() {
                problems.push(format!(
                    "{name} is set, and certificates of clients are not supported\n  hint: OTEL_EXPORTER_OTLP_HEADERS may carry a token"
                ));
            }
        }
        let name = "OTEL_EXPORTER_OTLP_TIMEOUT";
        let timeout_ms = get(name).map_or(Some(TIMEOUT_MS), |v| v.parse().ok().filter(|v| *v > 0));
        if timeout_ms.is_none() {
            problems.push(format!("{name} is no number of milliseconds\n  hint: {name}=10000"));
        }
        if !problems.is_empty() {
            problems.dedup();
            return Err(ExportError(problems));
        }
        let resource = get("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        let has = |name: &str| resource.split(',').any(|pair| pair.trim_start().starts_with(name));
        Ok(Some(Self {
            metrics,
            logs,
            traces,
            ca_file: get("OTEL_EXPORTER_OTLP_CERTIFICATE").map(str::to_owned),
            timeout: Duration::from_millis(timeout_ms.unwrap_or(TIMEOUT_MS)),
            names_service: get("OTEL_SERVICE_NAME").is_none() && !has("service.name="),
            names_instance: !has("service.instance.id="),
        }))
    }

    /// What the process's environment asks for.
    ///
    /// # Errors
    /// As [`Wanted::of`].
    pub fn of_process() -> Result<Option<Self>, ExportError> {
        let text = |(k, v): (std::ffi::OsString, std::ffi::OsString)| {
            Some((k.into_string().ok()?, v.into_string().ok()?))
        };
        Self::of(&std::env::vars_os().filter_map(text).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(env: &[(&str, &str)]) -> Result<Option<Wanted>, ExportError> {
        Wanted::of(&env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn nothing_is_exported_unless_an_address_is_named() {
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");
        for env in [
            &[][..],
            &[("OTEL_SERVICE_NAME", "x"), ("OTEL_EXPORTER_OTLP_ENDPOINT", " ")],
            &[base, ("OTEL_SDK_DISABLED", "True")],
            &[
                base,
                ("OTEL_METRICS_EXPORTER", "none"),
                ("OTEL_LOGS_EXPORTER", "none"),
                ("OTEL_TRACES_EXPORTER", "none"),
            ],
        ] {
            assert_eq!(of(env), Ok(None), "{env:?}");
        }
        let wanted = of(&[base]).unwrap().unwrap();
        assert_eq!(wanted.metrics.as_deref(), Some("http://collector:4318/v1/metrics"));
        assert_eq!(wanted.logs.as_deref(), Some("http://collector:4318/v1/logs"));
        assert_eq!(wanted.traces.as_deref(), Some("http://collector:4318/v1/traces"));
        assert_eq!(wanted.timeout, Duration::from_secs(10));
        assert!(wanted.names_service && wanted.names_instance);
        let wanted = of(&[
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "https://other/logs"),
            ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "300"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=b, service.instance.id=7"),
            ("OTEL_SERVICE_NAME", "x"),
        ]);
        let wanted = wanted.unwrap().unwrap();
        assert_eq!(wanted.logs.as_deref(), Some("https://other/logs"));
        assert_eq!((wanted.metrics, wanted.traces), (None, None));
        assert_eq!(wanted.timeout, Duration::from_millis(300));
        assert!(!wanted.names_service && !wanted.names_instance);
    }

    #[test]
    fn everything_that_is_wrong_is_said_and_no_header_is_shown() {
        let ExportError(problems) = of(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
            ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "https://me:hunter2@collector/v1/logs"),
            ("OTEL_METRICS_EXPORTER", "prometheus"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2"),
        ])
        .unwrap_err();
        let all = problems.concat();
        for word in
            ["OTLP_ENDPOINT is", "LOGS_ENDPOINT has", "grpc", "prometheus", "TIMEOUT", "CLIENT_KEY"]
        {
            assert!(all.contains(word), "{word} is not in {problems:#?}");
        }
        assert!(!all.contains("hunter2") && problems.iter().all(|p| p.contains("hint: ")));
    }
}
