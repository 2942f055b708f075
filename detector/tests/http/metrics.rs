//! What `/metrics` shows, against the list and the document.

use crate::service::Service;
use detector::kafka::signature::Foreign;
use detector::telemetry::{CheckpointDone, Queue, Stage, names};
use engine::wire::RejectCode;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// One line of Prometheus' text format: name, labels, value.
fn parsed(text: &str) -> Vec<(String, BTreeMap<String, String>, f64)> {
    let lines = text.lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines
        .map(|line| {
            let (left, value) = line.rsplit_once(' ').expect("a value");
            let (name, labels) = left.split_once('{').unwrap_or((left, ""));
            let labels = labels.trim_end_matches('}').split(',').filter(|l| !l.is_empty());
            let labels = labels.map(|l| {
                let (name, value) = l.split_once('=').expect("a label");
                (name.to_string(), value.trim_matches('"').to_string())
            });
            (name.to_string(), labels.collect(), value.parse().expect("a number"))
        })
        .collect()
}

#[test]
fn the_metrics_are_those_of_the_list_with_what_was_told() {
    let service = Service::start(None, true).live();
    let t = &service.telemetry;
    let mut counts = engine::effects::Counts { events: 1000, ..Default::default() };
    t.engine_counts(&counts);
    counts.events += 5;
    counts.redelivered += 2;
    counts.event_id_conflicts += 4;
    counts.too_late += 1;
    counts.malformed_keys += 4;
    counts.ignored_keys += 7;
    counts.suspected_placeholders += 1;
    counts.forgotten_actions += 1;
    counts.keys_not_kept += 6;
    counts.accounts_not_kept += 2;
    counts.ahead += 2;
    t.engine_counts(&counts);
    t.foreign("actions", Foreign::Forged);
    t.rejected(RejectCode::TsJump, 3);
    t.rejected(RejectCode::Full, 1);
    t.field_fault("entities.device", "too_long", 2);
    t.action("suspend", true);
    t.action("reverse", false);
    t.latency(Stage::Step, Duration::from_micros(30));
    t.end_to_end(Duration::from_millis(4));
    t.queue_depth(Queue::Decoded, 3);
    for _ in 0..30 {
        t.back_pressure(Queue::Effects, Duration::from_micros(400));
    }
    t.back_pressure(Queue::Queries, Duration::from_secs(1));
    t.transaction_failed();
    t.started_over();
    t.started_over();
    t.replay(90, 10);
    t.size(&engine::Size { accounts: 3, entities: 1, links: 4, bytes: 99 });
    t.checkpoint_done(&CheckpointDone { took: Duration::from_millis(500), bytes: 700, records: 8 });
    t.checkpoint_failed();
    service.health.lease_epoch(6);
    service.health.memory(engine::MemoryUse { bytes: 77, max: 8_000 });
    service.clock_ms.fetch_add(2_000, Ordering::SeqCst);
    service.get("/nowhere");

    let answer = service.get("/metrics");
    let text = String::from_utf8(answer.body).expect("text");
    let lines = parsed(&text);
    let value = |name: &str, labels: &[(&str, &str)]| {
        let labels: BTreeMap<String, String> =
            labels.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
        let found = lines.iter().find(|(n, l, _)| n == name && *l == labels);
        found.unwrap_or_else(|| panic!("{name} {labels:?} in\n{text}")).2
    };
    for (name, labels, want) in [
        ("detector_events_total", &[][..], 5.0),
        ("detector_redelivered_total", &[], 2.0),
        ("detector_event_id_conflicts_total", &[], 4.0),
        ("detector_too_late_total", &[], 1.0),
        ("detector_malformed_keys_total", &[], 4.0),
        ("detector_ignored_keys_total", &[], 7.0),
        ("detector_suspected_placeholders_total", &[], 1.0),
        ("detector_actions_forgotten_total", &[], 1.0),
        ("detector_keys_not_kept_total", &[], 6.0),
        ("detector_accounts_not_kept_total", &[], 2.0),
        ("detector_events_ahead_total", &[], 2.0),
        ("detector_foreign_records_total", &[("topic", "actions"), ("reason", "forged")], 1.0),
        ("detector_rejects_total", &[("code", "ts_jump")], 3.0),
        ("detector_rejects_total", &[("code", "full")], 1.0),
        ("detector_rejects_total", &[("code", "not_json")], 0.0),
        (
            "detector_field_faults_total",
            &[("field", "entities.device"), ("reason", "too_long")],
            2.0,
        ),
        ("detector_actions_total", &[("action", "suspend"), ("shadow", "true")], 1.0),
        ("detector_actions_total", &[("action", "suspend"), ("shadow", "false")], 0.0),
        ("detector_actions_total", &[("action", "reverse"), ("shadow", "false")], 1.0),
        ("detector_stage_seconds_count", &[("stage", "step")], 1.0),
        ("detector_stage_seconds_bucket", &[("stage", "step"), ("le", "0.00005")], 1.0),
        ("detector_stage_seconds_bucket", &[("stage", "step"), ("le", "0.000025")], 0.0),
        ("detector_end_to_end_seconds_sum", &[], 0.004),
        ("detector_consumer_lag", &[("topic", "events"), ("partition", "0")], 7.0),
        ("detector_queue_depth", &[("queue", "decoded")], 3.0),
        ("detector_back_pressure_milliseconds_total", &[("queue", "effects")], 12.0),
        ("detector_kafka_transaction_failures_total", &[], 1.0),
        ("detector_start_overs_total", &[], 2.0),
        ("detector_checkpoint_age_seconds", &[], 2.0),
        ("detector_feature_freshness_seconds", &[], 2.0),
        ("detector_checkpoint_bytes", &[], 700.0),
        ("detector_checkpoint_records", &[], 8.0),
        ("detector_checkpoint_seconds", &[], 0.5),
        ("detector_checkpoints_total", &[("result", "ok")], 1.0),
        ("detector_checkpoints_total", &[("result", "failed")], 1.0),
        ("detector_replay_events", &[], 90.0),
        ("detector_replay_done_events", &[], 10.0),
        ("detector_graph_size", &[("what", "links")], 4.0),
        ("detector_memory_state_bytes", &[], 99.0),
        ("detector_state_bytes", &[], 77.0),
        ("detector_state_bytes_max", &[], 8_000.0),
        ("detector_memory_resident_bytes", &[], -1.0),
        ("detector_memory_huge_bytes", &[], -1.0),
        ("detector_state", &[("state", "live")], 1.0),
        ("detector_state", &[("state", "standby")], 0.0),
        ("detector_lease_epoch", &[], 6.0),
        ("detector_redis_up", &[], 1.0),
        ("detector_source_up", &[], 1.0),
        ("detector_heartbeat_age_seconds", &[], 2.0),
        ("detector_http_requests_total", &[("status", "404")], 1.0),
    ] {
        assert_eq!(value(name, labels), want, "{name} {labels:?}");
    }

    // Nothing else is there, and nothing of the list is absent.
    let base = |name: &str| {
        let ends = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        ends.filter(|n| names::ALL.iter().any(|m| m.name == *n)).unwrap_or(name).to_string()
    };
    let shown: BTreeSet<String> = lines.iter().map(|(name, ..)| base(name)).collect();
    let listed: BTreeSet<String> = names::ALL.iter().map(|m| m.name.to_string()).collect();
    assert_eq!(shown, listed);
    for metric in names::ALL {
        let kind = format!("# TYPE {} {}\n", metric.name, metric.kind.as_str());
        assert!(text.contains(&kind), "{kind}");
        assert!(
            text.contains(&format!("# HELP {} {}\n", metric.name, metric.help)),
            "{}",
            metric.name
        );
        for (name, labels, _) in lines.iter().filter(|(n, ..)| base(n) == metric.name) {
            let of: BTreeSet<&str> =
                labels.keys().map(String::as_str).filter(|l| *l != "le").collect();
            assert_eq!(of, metric.labels.iter().copied().collect(), "{name}");
        }
    }
    service.end();
}

#[test]
fn the_document_lists_what_the_code_has() {
    let doc = include_str!("../../../docs/metrics.md");
    let rows = doc.lines().filter(|line| line.starts_with("| `detector_"));
    let documented: Vec<String> = rows.map(String::from).collect();
    let listed: Vec<String> = names::ALL
        .iter()
        .map(|m| {
            let labels: Vec<String> = m.labels.iter().map(|l| format!("`{l}`")).collect();
            let labels = if labels.is_empty() { "none".into() } else { labels.join(", ") };
            format!("| `{}` | {} | {} | {labels} | {} |", m.name, m.kind.as_str(), m.unit, m.help)
        })
        .collect();
    assert!(documented == listed, "docs/metrics.md should list:\n{}", listed.join("\n"));
}
