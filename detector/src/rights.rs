//! The rights that the service needs in Kafka and Redis: `shipped/rights.toml`, from which `scripts/stack --secure`, the documents and
//! the hints are made.

use serde::Deserialize;
use std::sync::LazyLock;

/// The list as it is shipped.
pub const TEXT: &str = include_str!("../shipped/rights.toml");

/// All rights.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rights {
    /// ACLs in Kafka.
    pub kafka: Vec<KafkaRight>,
    /// The user's rules in Redis.
    pub redis: RedisRights,
}

/// What may be done with some resources in Kafka.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaRight {
    /// What sort they are of.
    pub resource: Resource,
    /// Their names.
    pub names: Vec<String>,
    /// The operations, as Kafka names them.
    pub operations: Vec<String>,
}

/// A sort of resource in Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resource {
    /// A topic.
    Topic,
    /// A consumer group.
    Group,
    /// A transactional id.
    TransactionalId,
}

impl Resource {
    /// As it is written in the documents.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Group => "group",
            Self::TransactionalId => "transactional id",
        }
    }
}

/// The rules of the user in Redis.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisRights {
    /// Its keys.
    pub keys: String,
    /// Its commands, in the order in which they are given and taken.
    pub commands: Vec<String>,
}

/// The list. A test reads it, so that it is never the empty one.
static RIGHTS: LazyLock<Rights> = LazyLock::new(|| toml::from_str(TEXT).unwrap_or_default());

static TOPICS: LazyLock<String> = LazyLock::new(|| kafka_hint(Resource::Topic, ""));
static CLUSTER: LazyLock<String> = LazyLock::new(|| {
    kafka_hint(Resource::Topic, "; brokers before 2.8 also want IdempotentWrite on the cluster")
});
static GROUP: LazyLock<String> = LazyLock::new(|| kafka_hint(Resource::Group, ""));
static TRANSACTIONS: LazyLock<String> = LazyLock::new(|| {
    kafka_hint(Resource::TransactionalId, "; or set delivery = \"at_least_once\"")
});
static REDIS: LazyLock<String> = LazyLock::new(|| {
    format!("the user may not do that\nhint: ACL SETUSER ... {} (with your prefix)", redis())
});

/// The list.
#[must_use]
pub fn rights() -> &'static Rights {
    &RIGHTS
}

/// The rules of the user in Redis, as `ACL SETUSER` takes them.
#[must_use]
pub fn redis() -> String {
    let RedisRights { keys, commands } = &RIGHTS.redis;
    format!("resetkeys {keys} resetchannels {}", commands.join(" "))
}

/// What a user who may not use a resource of this sort needs.
#[must_use]
pub fn hint(resource: Resource) -> &'static str {
    match resource {
        Resource::Topic => &TOPICS,
        Resource::Group => &GROUP,
        Resource::TransactionalId => &TRANSACTIONS,
    }
}

/// What a user needs whom the cluster refuses.
#[must_use]
pub fn cluster_hint() -> &'static str {
    &CLUSTER
}

/// What a user needs whom Redis refuses a command or a key.
#[must_use]
pub fn redis_hint() -> &'static str {
    &REDIS
}

fn kafka_hint(resource: Resource, more: &str) -> String {
    let of = RIGHTS.kafka.iter().filter(|right| right.resource == resource);
    let needs: Vec<String> = of
        .map(|KafkaRight { resource, names, operations }| {
            format!("{} on {} {}", operations.join(", "), resource.as_str(), quoted(names))
        })
        .collect();
    format!("\nhint: the user needs {} (with your names){more}", needs.join("; "))
}

/// Names as the documents have them.
#[must_use]
pub fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_right_is_in_the_hint_of_its_refusal() {
        let rights: Rights = toml::from_str(TEXT).expect("the list can be read");
        for right in &rights.kafka {
            let hint = hint(right.resource);
            for word in right.names.iter().chain(&right.operations) {
                assert!(hint.contains(word.as_str()), "{word} is not in {hint}");
            }
        }
        for resource in [Resource::Topic, Resource::Group, Resource::TransactionalId] {
            assert!(rights.kafka.iter().any(|right| right.resource == resource), "{resource:?}");
        }
        for word in rights.redis.commands.iter().chain([&rights.redis.keys]) {
            assert!(redis_hint().contains(word.as_str()), "{word} is not in {}", redis_hint());
        }
    }
}
