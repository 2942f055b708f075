//! What an error of the client means: one table, from code to consequence.

use rdkafka::error::RDKafkaErrorCode::{self, *};

/// What an error is about, and with it what is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing: the client retries by itself.
    Retried,
    /// The next offset of a partition does not exist. The partition stops.
    OutOfRange,
    /// Messages of a partition cannot be read. The partition stops.
    Unreadable,
    /// A topic or partition cannot be used now. Its partitions stop and are tried again; whatever else needs it waits for a person.
    Unusable,
    /// The brokers do not let this client in. A person is needed.
    Refused,
    /// The client as a whole, or something that nobody knows. It is restarted.
    Restarts,
}

impl Outcome {
    /// What an error code means.
    pub fn of(code: RDKafkaErrorCode) -> Self {
        match code {
            // Connections come and go, leaders move, brokers restart.
            PartitionEOF
            | BrokerTransportFailure
            | AllBrokersDown
            | OperationTimedOut
            | TimedOutQueue
            | Resolve
            | NodeUpdate
            | WaitingForCoordinator
            | WaitCache
            | InProgress
            | PreviousInProgress
            | Interrupted
            | Retry
            | Partial
            | UnknownBroker
            | DestroyBroker
            | NoError
            | Noop
            | LeaderNotAvailable
            | NotLeaderForPartition
            | RequestTimedOut
            | BrokerNotAvailable
            | ReplicaNotAvailable
            | NetworkException
            | CoordinatorLoadInProgress
            | CoordinatorNotAvailable
            | NotCoordinator
            | NotController
            | NotEnoughReplicas
            | NotEnoughReplicasAfterAppend
            | ReassignmentInProgress
            | FetchSessionIdNotFound
            | InvalidFetchSessionEpoch
            | ListenerNotFound
            | KafkaStorageError
            | LogDirNotFound
            | UnknownTopicId
            | FencedLeaderEpoch
            | UnknownLeaderEpoch
            | StaleBrokerEpoch
            | StaleControllerEpoch
            | OffsetNotAvailable
            | PreferredLeaderNotAvailable
            | EligibleLeadersNotAvailable
            | UnstableOffsetCommit
            | ThrottlingQuotaExceeded
            | RebootstrapRequired => Self::Retried,

            AutoOffsetReset | NoOffset | OffsetOutOfRange | LogTruncation => Self::OutOfRange,

            // Of a message: its checksum, its codec, its format, its size, or what unpacking it takes.
            BadMessage
            | BadCompression
            | NotImplemented
            | UnsupportedFeature
            | CriticalSystemResource
            | Underflow
            | KeyDeserialization
            | ValueDeserialization
            | InvalidMessage
            | InvalidMessageSize
            | MessageSizeTooLarge
            | MessageBatchTooLarge
            | InvalidTimestamp
            | InvalidRecord
            | InvalidDifferentRecord
            | UnsupportedForMessageFormat
            | UnsupportedCompressionType => Self::Unreadable,

            UnknownPartition
            | UnknownTopic
            | UnknownTopicOrPartition
            | InvalidTopic
            | TopicAuthorizationFailed => Self::Unusable,

            SSL
            | Authentication
            | UnsupportedSASLMechanism
            | IllegalSASLState
            | SaslAuthenticationFailed
            | GroupAuthorizationFailed
            | ClusterAuthorizationFailed
            | TransactionalIdAuthorizationFailed
            | DelegationTokenAuthDisabled
            | DelegationTokenNotFound
            | DelegationTokenOwnerMismatch
            | DelegationTokenRequestNotAllowed
            | DelegationTokenAuthorizationFailed
            | DelegationTokenExpired
            | PrincipalDeserializationFailure
            | SecurityDisabled => Self::Refused,

            // The client's own state, the group, transactions, administration, and codes of later versions.
            _ => Self::Restarts,
        }
    }

    /// What an error code means that the client reports by itself, with its reason. A connection that breaks while the client is
    /// being let in is reported as a refusal.
    pub fn of_reported(code: RDKafkaErrorCode, reason: &str) -> Self {
        match Self::of(code) {
            Self::Refused if is_broken_connection(reason) => Self::Retried,
            outcome => outcome,
        }
    }
}

/// Whether a reason says that the connection broke, whatever was under way.
fn is_broken_connection(reason: &str) -> bool {
    ["Broker transport failure", "Timed out", "Disconnected", "Connection reset"]
        .iter()
        .any(|said| reason.contains(said))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::types::RDKafkaRespErr;

    /// Every code that the client has. One that a later version adds is to be judged here.
    const TABLE: [(Outcome, &[RDKafkaErrorCode]); 6] = [
        (
            Outcome::Retried,
            &[
                BrokerTransportFailure,
                Resolve,
                PartitionEOF,
                AllBrokersDown,
                OperationTimedOut,
                NodeUpdate,
                WaitingForCoordinator,
                InProgress,
                PreviousInProgress,
                TimedOutQueue,
                WaitCache,
                Interrupted,
                Partial,
                Retry,
                UnknownBroker,
                Noop,
                DestroyBroker,
                NoError,
                LeaderNotAvailable,
                NotLeaderForPartition,
                RequestTimedOut,
                BrokerNotAvailable,
                ReplicaNotAvailable,
                StaleControllerEpoch,
                NetworkException,
                CoordinatorLoadInProgress,
                CoordinatorNotAvailable,
                NotCoordinator,
                NotEnoughReplicas,
                NotEnoughReplicasAfterAppend,
                NotController,
                KafkaStorageError,
                LogDirNotFound,
                ReassignmentInProgress,
                FetchSessionIdNotFound,
                InvalidFetchSessionEpoch,
                ListenerNotFound,
                FencedLeaderEpoch,
                UnknownLeaderEpoch,
                StaleBrokerEpoch,
                OffsetNotAvailable,
                PreferredLeaderNotAvailable,
                EligibleLeadersNotAvailable,
                UnstableOffsetCommit,
                ThrottlingQuotaExceeded,
                UnknownTopicId,
                RebootstrapRequired,
            ],
        ),
        (Outcome::OutOfRange, &[NoOffset, AutoOffsetReset, LogTruncation, OffsetOutOfRange]),
        (
            Outcome::Unreadable,
            &[
                BadMessage,
                BadCompression,
                CriticalSystemResource,
                NotImplemented,
                UnsupportedFeature,
                KeyDeserialization,
                ValueDeserialization,
                Underflow,
                InvalidDifferentRecord,
                InvalidMessage,
                InvalidMessageSize,
                MessageSizeTooLarge,
                MessageBatchTooLarge,
                InvalidTimestamp,
                UnsupportedForMessageFormat,
                UnsupportedCompressionType,
                InvalidRecord,
            ],
        ),
        (
            Outcome::Unusable,
            &[
                UnknownPartition,
                UnknownTopic,
                UnknownTopicOrPartition,
                InvalidTopic,
                TopicAuthorizationFailed,
            ],
        ),
        (
            Outcome::Refused,
            &[
                SSL,
                Authentication,
                GroupAuthorizationFailed,
                ClusterAuthorizationFailed,
                UnsupportedSASLMechanism,
                IllegalSASLState,
                TransactionalIdAuthorizationFailed,
                SecurityDisabled,
                SaslAuthenticationFailed,
                DelegationTokenAuthDisabled,
                DelegationTokenNotFound,
                DelegationTokenOwnerMismatch,
                DelegationTokenRequestNotAllowed,
                DelegationTokenAuthorizationFailed,
                DelegationTokenExpired,
                PrincipalDeserializationFailure,
            ],
        ),
        (
            Outcome::Restarts,
            &[
                Begin,
                BrokerDestroy,
                Fail,
                MessageTimedOut,
                FileSystem,
                InvalidArgument,
                QueueFull,
                ISRInsufficient,
                UnknownGroup,
                ExistingSubscription,
                AssignPartitions,
                RevokePartitions,
                Conflict,
                State,
                UnknownProtocol,
                Outdated,
                KeySerialization,
                ValueSerialization,
                ReadOnly,
                NoEnt,
                InvalidType,
                PurgeQueue,
                PurgeInflight,
                Fatal,
                Inconsistent,
                GaplessGuarantee,
                PollExceeded,
                NotConfigured,
                Fenced,
                Application,
                AssignmentLost,
                End,
                Unknown,
                OffsetMetadataTooLarge,
                InvalidRequiredAcks,
                IllegalGeneration,
                InconsistentGroupProtocol,
                InvalidGroupId,
                UnknownMemberId,
                InvalidSessionTimeout,
                RebalanceInProgress,
                InvalidCommitOffsetSize,
                UnsupportedVersion,
                TopicAlreadyExists,
                InvalidPartitions,
                InvalidReplicationFactor,
                InvalidReplicaAssignment,
                InvalidConfig,
                InvalidRequest,
                PolicyViolation,
                OutOfOrderSequenceNumber,
                DuplicateSequenceNumber,
                InvalidProducerEpoch,
                InvalidTransactionalState,
                InvalidProducerIdMapping,
                InvalidTransactionTimeout,
                ConcurrentTransactions,
                TransactionCoordinatorFenced,
                OperationNotAttempted,
                UnknownProducerId,
                InvalidPrincipalType,
                NonEmptyGroup,
                GroupIdNotFound,
                TopicDeletionDisabled,
                MemberIdRequired,
                GroupMaxSizeReached,
                FencedInstanceId,
                ElectionNotNeeded,
                NoReassignmentInProgress,
                GroupSubscribedToTopic,
                ProducerFenced,
                ResourceNotFound,
                DuplicateResource,
                UnacceptableCredential,
                InconsistentVoterSet,
                InvalidUpdateVersion,
                FeatureUpdateFailed,
                FencedMemberEpoch,
                UnreleasedInstanceId,
                UnsupportedAssignor,
                StaleMemberEpoch,
                UnknownSubscriptionId,
                TelemetryTooLarge,
                EndAll,
            ],
        ),
    ];

    #[test]
    fn every_code_of_the_client_has_one_outcome() {
        let mut judged = 0;
        for number in -1000..1000 {
            let Ok(code) = RDKafkaRespErr::try_from(number) else { continue };
            let code = RDKafkaErrorCode::from(code);
            let found: Vec<Outcome> =
                TABLE.iter().filter(|(_, all)| all.contains(&code)).map(|(of, _)| *of).collect();
            assert_eq!(found, [Outcome::of(code)], "{code:?} ({number})");
            judged += 1;
        }
        assert_eq!(judged, TABLE.iter().map(|(_, all)| all.len()).sum::<usize>());
    }

    #[test]
    fn a_connection_that_breaks_while_the_client_is_let_in_is_no_refusal() {
        let table = [
            (
                SSL,
                "ssl://b:9093/1: SSL handshake failed: certificate verify failed",
                Outcome::Refused,
            ),
            (
                SSL,
                "ssl://b:9093/1: SSL handshake failed: Disconnected: connection closed by peer",
                Outcome::Retried,
            ),
            (
                Authentication,
                "b:9092/1: SASL authentication error: invalid credentials",
                Outcome::Refused,
            ),
            (Authentication, "b:9092/1: Failed: Local: Broker transport failure", Outcome::Retried),
            (Authentication, "b:9092/1: Failed: Local: Timed out", Outcome::Retried),
            (BadCompression, "Timed out", Outcome::Unreadable),
        ];
        for (code, reason, expected) in table {
            assert_eq!(Outcome::of_reported(code, reason), expected, "{code:?} {reason}");
        }
    }
}
