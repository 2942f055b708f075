//! The service against a real Kafka and a real Redis, which these tests start by `scripts/stack` and end themselves.

use e2e::{instance, stack, stand_in, support};

mod carry;
mod conservation;
mod erase;
mod faults;
mod foreign;
mod kafka_log;
mod layout;
mod lost;
mod paused;
mod poison;
mod real_time;
mod rebuild;
mod refusals;
mod reload;
mod replay;
mod schemas;
mod secure;
mod standby;
mod telemetry;
mod watch;
