//! The rights in the documents are those of the list, and no others.

use detector::rights::{KafkaRight, quoted, redis, rights};

const OPERATIONS: &str = include_str!("../../docs/operations.md");
const REDIS: &str = include_str!("../../docs/redis.md");

#[test]
fn table_of_kafkas_rights_is_the_list() {
    let (_, behind) = OPERATIONS
        .split_once("| resource | name | operations |\n|---|---|---|\n")
        .expect("the table is there");
    let rows: Vec<&str> = behind.lines().take_while(|line| line.starts_with('|')).collect();
    let row = |KafkaRight { resource, names, operations }: &KafkaRight| {
        format!("| {} | {} | {} |", resource.as_str(), quoted(names), operations.join(", "))
    };
    let listed: Vec<String> = rights().kafka.iter().map(row).collect();
    assert_eq!(rows, listed);
}

#[test]
fn rules_of_the_user_in_redis_are_the_list() {
    assert!(OPERATIONS.contains(&redis()), "docs/operations.md has no `{}`", redis());
    assert!(REDIS.contains(&redis()), "docs/redis.md has no `{}`", redis());
}
