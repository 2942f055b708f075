//! The service against a real Kafka and a real Redis, which these tests start by `scripts/stack` and end themselves.

mod conservation;
mod faults;
