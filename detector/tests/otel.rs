//! What an OpenTelemetry collector gets: a stand-in for one takes what the exporters send.

use detector::health::{Health, Limits, State};
use detector::telemetry::export::{Export, Wanted};
use detector::telemetry::logs::{self, Captured};
use detector::telemetry::{Stage, Telemetry, names};
use engine::config::{LogFormat, LogSection};
use engine::effects::Counts;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost_reflect::prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

struct Request {
    line: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// Takes everything that is posted to it, and says that it is well.
struct Collector {
    url: String,
    taken: Arc<Mutex<Vec<Request>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it has an address"));
        let taken = Arc::new(Mutex::new(Vec::new()));
        let all = taken.clone();
        // It ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let all = all.clone();
                std::thread::spawn(move || while take(&stream, &all).is_some() {});
            }
        });
        Self { url, taken }
    }

    /// The requests for a path, decoded.
    fn of<T: Message + Default>(&self, path: &str) -> Vec<T> {
        let taken = self.taken.lock().expect("nobody panics with it");
        let of_path = taken.iter().filter(|r| r.line == format!("POST {path} HTTP/1.1"));
        let decoded = of_path.map(|request| {
            assert_eq!(request.headers["content-type"], "application/x-protobuf");
            assert!(request.headers["user-agent"].contains('/'), "{:?}", request.headers);
            T::decode(&*request.body).expect("it is well formed")
        });
        decoded.collect()
    }
}

/// One request of a connection that is kept.
fn take(stream: &TcpStream, all: &Mutex<Vec<Request>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            text => lines.push(text.to_owned()),
        }
    }
    let pairs = lines.iter().skip(1).filter_map(|line| line.split_once(": "));
    let headers: BTreeMap<String, String> =
        pairs.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
    let mut body = vec![0; headers["content-length"].parse().expect("a length")];
    reader.read_exact(&mut body).ok()?;
    all.lock().ok()?.push(Request { line: lines[0].clone(), headers, body });
    let mut stream = stream;
    stream
        .write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n",
        )
        .ok()
}

fn wanted(env: &[(&str, &str)]) -> Wanted {
    let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Wanted::of(&env).expect("it is right").expect("it asks for something")
}

fn export(env: &[(&str, &str)]) -> Export {
    Export::start(&wanted(env)).expect("it starts").expect("it is built in")
}

fn text(value: Option<&AnyValue>) -> String {
    match value.and_then(|v| v.value.clone()) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(n)) => n.to_string(),
        other => panic!("{other:?}"),
    }
}

fn attributes(of: &[KeyValue]) -> BTreeMap<&str, String> {
    of.iter().map(|kv| (kv.key.as_str(), text(kv.value.as_ref()))).collect()
}

#[track_caller]
fn is_ours(resource: Option<&Resource>) -> String {
    let of = attributes(&resource.expect("it says who speaks").attributes);
    assert_eq!((&*of["service.name"], &*of["service.version"]), ("detector", "0.1.0"), "{of:?}");
    of["service.instance.id"].clone()
}

/// Everything of a metric's points that is compared: labels, and the value or the histogram's count.
type Points = BTreeMap<(String, Vec<(String, String)>), f64>;

fn points(requests: &[ExportMetricsServiceRequest]) -> Points {
    let mut points = Points::new();
    for metric in requests
        .iter()
        .flat_map(|r| &r.resource_metrics)
        .inspect(|r| drop(is_ours(r.resource.as_ref())))
        .flat_map(|r| &r.scope_metrics)
        .flat_map(|s| &s.metrics)
    {
        let listed = names::ALL.iter().find(|m| m.name == metric.name);
        let listed = listed.unwrap_or_else(|| panic!("{} is not in the list", metric.name));
        assert_eq!(metric.description, listed.help);
        let mut add = |of: &[KeyValue], value| {
            let of = attributes(of).into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
            points.insert((metric.name.clone(), of), value);
        };
        let number = |value: &Option<number_data_point::Value>| match value {
            Some(number_data_point::Value::AsInt(n)) => *n as f64,
            Some(number_data_point::Value::AsDouble(n)) => *n,
            None => panic!("{} has no value", metric.name),
        };
        match (listed.kind, metric.data.as_ref().expect("it has points")) {
            (names::Kind::Counter, Data::Sum(sum)) => {
                assert!(sum.is_monotonic && sum.aggregation_temporality == 2, "{sum:?}");
                sum.data_points.iter().for_each(|p| add(&p.attributes, number(&p.value)));
            }
            (names::Kind::Gauge, Data::Gauge(gauge)) => {
                gauge.data_points.iter().for_each(|p| add(&p.attributes, number(&p.value)));
            }
            (names::Kind::Histogram, Data::Histogram(histogram)) => {
                assert_eq!(metric.unit, "s");
                for point in &histogram.data_points {
                    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
                    assert_eq!(point.explicit_bounds.first(), Some(&0.000_01));
                    assert_eq!(point.explicit_bounds.last(), Some(&60.0));
                    add(&point.attributes, point.count as f64);
                }
            }
            (kind, data) => panic!("{} is a {kind:?} and came as {data:?}", metric.name),
        }
    }
    points
}

#[test]
fn metrics_logs_and_spans_arrive() {
    let collector = Collector::start();
    let export = export(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)]);
    let telemetry = Telemetry::exporting(Some(&export));
    let health = Health::new(Limits::default());
    let lines = Captured::default();
    let section = LogSection { level: "info".into(), format: LogFormat::Json };
    let subscriber = logs::subscriber(&section, lines.clone(), Some(&export)).expect("a level");
    tracing::subscriber::with_default(subscriber, || {
        let span = tracing::info_span!(target: "detector::service", "checkpoint", records = 3);
        let span = span.entered();
        tracing::info!(target: "detector::service", partition = 7, "taken");
        drop(span);
        tracing::debug!(target: "detector::service", "too small to be told");
        tracing::warn!(target: "opentelemetry_sdk", "about itself");
    });
    telemetry.engine_counts(&Counts::default());
    telemetry.engine_counts(&Counts { events: 5, ..Counts::default() });
    telemetry.action("suspend", false);
    telemetry.latency(Stage::Step, Duration::from_micros(30));
    telemetry.latency(Stage::Step, Duration::from_micros(3));
    telemetry.end_to_end(Duration::from_millis(4));
    health.set_state(State::Live);
    health.lag("events", 2, 11);
    telemetry.upkeep(&health);
    let shown = telemetry.render(&health);
    drop(export);

    let found = points(&collector.of("/v1/metrics"));
    let labels = |of: &[(&str, &str)]| -> Vec<(String, String)> {
        of.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    };
    for (name, of, want) in [
        ("detector_events_total", &[][..], 5.0),
        ("detector_actions_total", &[("action", "suspend"), ("shadow", "false")], 1.0),
        ("detector_actions_total", &[("action", "ban"), ("shadow", "false")], 0.0),
        ("detector_stage_seconds", &[("stage", "step")], 2.0),
        ("detector_end_to_end_seconds", &[], 1.0),
        ("detector_consumer_lag", &[("partition", "2"), ("topic", "events")], 11.0),
        ("detector_state", &[("state", "live")], 1.0),
        ("detector_state", &[("state", "standby")], 0.0),
        ("detector_checkpoint_age_seconds", &[], -1.0),
    ] {
        assert_eq!(found.get(&(name.to_owned(), labels(of))), Some(&want), "{name} {of:?}");
    }
    // What Prometheus sees is what the collector gets.
    let told: BTreeSet<&str> = found.keys().map(|(name, _)| name.as_str()).collect();
    let seen: BTreeSet<&str> =
        shown.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    assert_eq!(told, seen);
    assert!(shown.contains("detector_stage_seconds_count{stage=\"step\"} 2"), "{shown}");

    let logs: Vec<ExportLogsServiceRequest> = collector.of("/v1/logs");
    let groups: Vec<_> = logs.iter().flat_map(|r| &r.resource_logs).collect();
    let records: Vec<_> =
        groups.iter().flat_map(|r| &r.scope_logs).flat_map(|s| &s.log_records).collect();
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(
        (text(records[0].body.as_ref()), &*records[0].severity_text),
        ("taken".into(), "INFO")
    );
    assert_eq!(attributes(&records[0].attributes)["partition"], "7");

    let spans: Vec<ExportTraceServiceRequest> = collector.of("/v1/traces");
    let span_groups: Vec<_> = spans.iter().flat_map(|r| &r.resource_spans).collect();
    let spans: Vec<_> =
        span_groups.iter().flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans).collect();
    assert_eq!(spans.len(), 1, "{spans:?}");
    assert_eq!(spans[0].name, "checkpoint");
    assert_eq!(attributes(&spans[0].attributes)["records"], "3");
    assert!(spans[0].trace_id.len() == 16 && spans[0].span_id.len() == 8, "{spans:?}");
    assert!(spans[0].end_time_unix_nano >= spans[0].start_time_unix_nano, "{spans:?}");
    assert_eq!(records[0].trace_id, spans[0].trace_id, "the line belongs to its span");
    assert_eq!(is_ours(groups[0].resource.as_ref()), is_ours(span_groups[0].resource.as_ref()));

    // Lines on standard error are what they are without a collector.
    let lines = lines.text();
    assert!(lines.contains("\"message\":\"taken\"") && lines.contains("about itself"), "{lines}");
    assert!(!lines.contains("too small"), "{lines}");
}

#[test]
fn only_what_is_asked_for_is_sent() {
    let collector = Collector::start();
    let address = format!("{}/somewhere", collector.url);
    let export = export(&[("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", &address)]);
    let telemetry = Telemetry::exporting(Some(&export));
    telemetry.action("ban", false);
    let section = LogSection { level: "warn".into(), ..LogSection::default() };
    let subscriber =
        logs::subscriber(&section, Captured::default(), Some(&export)).expect("a level");
    tracing::subscriber::with_default(subscriber, || {
        let _span = tracing::warn_span!(target: "detector::service", "reload").entered();
        tracing::warn!(target: "detector::service", "taken");
    });
    drop(export);
    assert_eq!(collector.of::<ExportLogsServiceRequest>("/somewhere").len(), 1);
    assert_eq!(collector.taken.lock().expect("nobody panics with it").len(), 1);
}

#[test]
fn a_collector_that_is_away_hinders_nobody() {
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    let address = format!("http://{}", nobody.expect("a free port"));
    let env =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", address.as_str()), ("OTEL_EXPORTER_OTLP_TIMEOUT", "200")];
    let export = export(&env);
    let telemetry = Telemetry::exporting(Some(&export));
    telemetry.action("ban", false);
    drop(export);
    let shown = telemetry.render(&Health::new(Limits::default()));
    assert!(shown.contains("detector_actions_total{action=\"ban\",shadow=\"false\"} 1"), "{shown}");
}

#[test]
fn certificates_that_cannot_be_read_are_refused() {
    let env = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector:4318"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem"),
    ];
    let refused = Export::start(&wanted(&env)).expect_err("it is refused").to_string();
    assert!(refused.contains("OTEL_EXPORTER_OTLP_CERTIFICATE"), "{refused}");
    assert!(refused.contains("/nowhere/ca.pem"), "{refused}");
}
