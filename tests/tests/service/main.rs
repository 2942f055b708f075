//! The service against a real Kafka and a real Redis, which these tests start by `scripts/stack` and end themselves.

#[path = "../files/support.rs"]
#[allow(dead_code, reason = "every test binary uses its own part of this")]
mod support;

mod carry;
mod conservation;
mod erase;
mod instance;
mod layout;
mod lost;
mod refusals;
mod reload;
mod schemas;
mod secure;
mod stack;
mod standby;
mod watch;
