//! The service against a real Kafka and a real Redis, which these tests start by `scripts/stack` and end themselves.

use e2e::{instance, stack, support};

mod conservation;
mod faults;
