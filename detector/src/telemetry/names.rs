//! Every metric, once: name, kind, unit, labels and what it means. `docs/metrics.md` lists the same, and a test
//! compares the two.

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only up, until the process starts anew.
    Counter,
    /// Up and down.
    Gauge,
    /// Counts by size, with sum and count.
    Histogram,
}

impl Kind {
    /// As Prometheus writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// What is counted or measured.
    pub unit: &'static str,
    /// What it is told apart by.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $id:ident: $kind:ident $name:literal $unit:literal [$($label:literal),*] $help:literal;)*) => {
        $($(#[$doc])* #[doc = $help] pub const $id: Metric = Metric {
            name: $name, kind: Kind::$kind, unit: $unit, labels: &[$($label),*], help: $help,
        };)*

        /// All of them, in the order of the document.
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

metrics! {
    EVENTS: Counter "detector_events_total" "events" []
        "Events taken by the line. In a silent replay they count too.";
    LABELS: Counter "detector_labels_total" "labels" []
        "Labels taken by the line.";
    LABELS_UNJOINED: Counter "detector_labels_unjoined_total" "labels" []
        "Labels whose event is not remembered any more, or was never seen.";
    REJECTS: Counter "detector_rejects_total" "messages" ["code"]
        "Messages that could not be taken, by reason code; each is a dead letter.";
    FIELD_FAULTS: Counter "detector_field_faults_total" "messages" ["field", "reason"]
        "Messages taken with a field that could not be read as it is, by field and reason; shown from the first one on.";
    REDELIVERED: Counter "detector_redelivered_total" "events" []
        "Events that were taken before (the same account, id and content): without effect.";
    EVENT_ID_CONFLICTS: Counter "detector_event_id_conflicts_total" "events" []
        "Events taken under a derived id, because their account used theirs before for an event of other content; they are part of the events taken.";
    TOO_LATE: Counter "detector_too_late_total" "events" []
        "Events later than time.lateness_max; they are part of the events taken.";
    AHEAD: Counter "detector_events_ahead_total" "events" []
        "Events with a time ahead of the stream's clock, which counted as of it; they are part of the events taken.";
    ACTIONS: Counter "detector_actions_total" "actions" ["action", "shadow"]
        "Actions asked for, by kind (reverse included) and whether they are shadow actions.";
    DEGRADED: Counter "detector_actions_degraded_total" "actions" []
        "Actions made milder by a cap of policy.caps_per_hour.";
    FORGOTTEN: Counter "detector_actions_forgotten_total" "actions" []
        "Actions in force that an account's record had no room for, after a loss of the state; they cannot be reversed any more.";
    MALFORMED: Counter "detector_malformed_keys_total" "keys" []
        "Keys of entities that do not parse under the form of their kind; they are known as they came.";
    KEYS_NOT_KEPT: Counter "detector_keys_not_kept_total" "keys" []
        "Keys of events that were not kept, or not linked to their account, because the state was near state.memory_max.";
    ACCOUNTS_NOT_KEPT: Counter "detector_accounts_not_kept_total" "events" []
        "Events of unknown accounts that were scored and not kept, because the state was at state.memory_max; they are part of the events taken.";
    IGNORED: Counter "detector_ignored_keys_total" "keys" []
        "Keys of entities that [kinds.NAME] ignore lists; they are absent from their events.";
    SUSPECTED: Counter "detector_suspected_placeholders_total" "reports" []
        "Times that one key was found on far more accounts than the rest of its kind, at most once per doubling; the log names the kind. It may be a placeholder, which [kinds.NAME] ignore takes.";
    EXPIRED: Counter "detector_expired_total" "records" ["what"]
        "Accounts and entities forgotten because they were idle.";
    ERASED: Counter "detector_erased_total" "accounts" []
        "Accounts erased on request.";
    STAGE: Histogram "detector_stage_seconds" "seconds" ["stage"]
        "Time of one batch in decode (bytes to events), step (the engine) and finish (reasons, bytes); publish: of one commit, which may have many batches.";
    END_TO_END: Histogram "detector_end_to_end_seconds" "seconds" []
        "From an event's time of production (its Kafka timestamp) until its action was committed, or acknowledged at least once; one for each action, reversals apart.";
    LAG: Gauge "detector_consumer_lag" "messages" ["topic", "partition"]
        "Messages of a partition that are not taken yet.";
    STOPPED: Gauge "detector_partition_stopped" "0 or 1" ["topic", "partition"]
        "1: the partition cannot be read on; the others are. `/readyz` and the log say why.";
    QUEUE_DEPTH: Gauge "detector_queue_depth" "batches" ["queue"]
        "What waits between two threads: decoded (source to engine), effects (engine to publisher), checkpoint (not durable yet), queries (HTTP to engine).";
    BACK_PRESSURE: Counter "detector_back_pressure_milliseconds_total" "milliseconds" ["queue"]
        "Time in which a thread waited because the queue behind it was full: decoded, effects, checkpoint.";
    TRANSACTION_FAILURES: Counter "detector_kafka_transaction_failures_total" "transactions" []
        "Kafka transactions that did not commit; at least once: messages that were not acknowledged.";
    FOREIGN: Counter "detector_foreign_records_total" "records" ["topic", "reason"]
        "Records of journal and actions that no detector of this state wrote, by reason: unsigned, forged, repeated (copied, or by an instance that was paused), unreadable. They have no effect; each process counts what it meets.";
    START_OVERS: Counter "detector_start_overs_total" "starts" []
        "Times that the service began again from the lease, for a reason that its log has.";
    SOURCE_UP: Gauge "detector_source_up" "0 or 1" []
        "Whether the source (Kafka) answers.";
    STORE_UP: Gauge "detector_redis_up" "0 or 1" []
        "Whether the store (Redis) answers.";
    LEASE_EPOCH: Gauge "detector_lease_epoch" "epoch" []
        "Epoch of the lease that this process holds or follows; 0 before the first.";
    CHECKPOINTS: Counter "detector_checkpoints_total" "checkpoints" ["result"]
        "Checkpoints by how they ended: ok, failed.";
    CHECKPOINT_AGE: Gauge "detector_checkpoint_age_seconds" "seconds" []
        "Time since the newest durable checkpoint; -1 before the first.";
    CHECKPOINT_SECONDS: Gauge "detector_checkpoint_seconds" "seconds" []
        "How long the newest checkpoint took to be written and durable; while events come, four fifths of it are rest.";
    CHECKPOINT_BYTES: Gauge "detector_checkpoint_bytes" "bytes" []
        "Size of the newest checkpoint.";
    CHECKPOINT_RECORDS: Gauge "detector_checkpoint_records" "records" []
        "Records of the newest checkpoint.";
    FRESHNESS: Gauge "detector_feature_freshness_seconds" "seconds" []
        "Event time between the newest event applied and the newest durable checkpoint: how old profiles read from Redis are; -1 before the first checkpoint.";
    REPLAY_LENGTH: Gauge "detector_replay_events" "events" []
        "Events that the start has to replay, or that a start now would have to.";
    REPLAY_DONE: Gauge "detector_replay_done_events" "events" []
        "Of these, replayed.";
    GRAPH: Gauge "detector_graph_size" "records" ["what"]
        "Accounts, entities and links in memory.";
    STATE_BYTES: Gauge "detector_memory_state_bytes" "bytes" []
        "Heap bytes of all state.";
    COUNTED_BYTES: Gauge "detector_state_bytes" "bytes" []
        "Bytes of state by the engine's own count, which state.memory_max bounds; the same on every machine.";
    COUNTED_BYTES_MAX: Gauge "detector_state_bytes_max" "bytes" []
        "state.memory_max. From 90 % of it on keys are not kept, from 98 % on new accounts are not; 0 before the state is known.";
    RESIDENT_BYTES: Gauge "detector_memory_resident_bytes" "bytes" []
        "Memory of the process that lies in RAM, looked at once a minute; -1 where the system does not say.";
    HUGE_BYTES: Gauge "detector_memory_huge_bytes" "bytes" []
        "Of it, what lies in huge pages. Without them the state is slower to reach; -1 where the system does not say.";
    STATE: Gauge "detector_state" "0 or 1" ["state"]
        "1 for what the process is doing: starting, replaying, live, standby, draining.";
    HEARTBEAT: Gauge "detector_heartbeat_age_seconds" "seconds" []
        "Time since the engine's thread last showed that it works.";
    INFO: Gauge "detector_info" "1" ["version", "model", "policy", "features"]
        "1 for the program's version and what decides; 0 for what decided before a reload.";
    RELOADS: Counter "detector_reloads_total" "reloads" ["result"]
        "Reloads of policy and model by how they ended: taken, refused.";
    HTTP: Counter "detector_http_requests_total" "requests" ["status"]
        "Requests over HTTP by status code.";
    QUERIES: Counter "detector_queries_total" "queries" []
        "Questions over HTTP that the engine's thread answered.";
}
