//! The binary over files, from outside: what it writes, what it refuses, and what a kill cannot break.

mod bad_input;
mod cli;
mod exit_codes;
mod forms;
mod golden;
mod init;
mod outputs;
mod privacy;
mod resume;
mod same;
mod schemas;
mod state;

use e2e::support;
